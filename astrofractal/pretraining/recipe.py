"""Recipes: every number of a pretraining run, in tables of one small file."""

import json
import re
import tomllib
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from astrofractal._utils.annotations import PathLike
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import one_of, refuse

_RECIPES = Path(__file__).with_name("recipes")

# Names and values of earlier versions, which runs and cards contain.
_RENAMED = {"hidden_masses": "protostars", "hidden_mass_weight": "protostar_mass_weight"}
_CONSTANT = {
    "student_temperature": 0.1,
    "dino_weight": 1.0,
    "ibot_weight": 1.0,
    "momentum_end": 1.0,
    "gradient_clip": 3.0,
    "mass_zoom": 4.0,
    "beta2": 0.98,
}


def _value(allowed, description, default=MISSING):
    """Declare a value of a recipe: an interval such as ``"[0, 1)"`` or the choices, and what it is."""
    metadata = {"allowed": allowed, "description": description}
    return field(default=default, metadata=metadata)


def _within(value, interval):
    """Whether a number, not NaN, lies in an interval such as ``"[0, 1)"``."""
    low, high = map(float, interval[1:-1].split(","))
    above = value >= low if interval[0] == "[" else value > low
    return above and (value <= high if interval[-1] == "]" else value < high)


class _Table:
    """Values of a recipe, each of which is checked by what its field declares."""

    def __post_init__(self):
        for entry in fields(self):
            value, name = getattr(self, entry.name), f"recipe value {entry.name}"
            if entry.type is float and type(value) is int:
                object.__setattr__(self, entry.name, float(value))
            elif type(value) is not entry.type:
                msg = f"{name} must be of type {entry.type.__name__}, got {value!r}"
                raise ValueError(msg)
            allowed = entry.metadata.get("allowed")
            if isinstance(allowed, tuple):
                one_of(name, value, allowed)
            elif allowed is not None and not _within(value, allowed):
                msg = f"{name} must be in {allowed}, got {getattr(self, entry.name)}"
                raise ValueError(msg)


def _documented(cls):
    """Complete a table's docstring by the parameters that its fields declare."""
    text = f"{cls.__doc__.rstrip()}\n\n    Parameters\n    ----------"
    for entry in fields(cls):
        allowed, kind = entry.metadata.get("allowed"), entry.type.__name__
        if isinstance(allowed, tuple):
            kind = "{" + ", ".join(f'"{choice}"' for choice in allowed) + "}"
        optional = "" if entry.default is MISSING else ", optional"
        description = entry.metadata.get("description", "A table of values.")
        text += f"\n    {entry.name} : {kind}{optional}\n        {description}\n"
    cls.__doc__ = f"{text}    "
    return cls


@_documented
@dataclass(frozen=True)
class Images(_Table):
    """The images of a run."""

    source_size: int = _value("[8, inf)", "Side of an image in pixels.")
    rendering: str = _value(("gas", "moments", "palette"), "The channels, as of ``FlameStream``.")
    center: str = _value(("peak", "attractor"), "What is at the center of a flame.")
    cusp_probability: float = _value("[0, 1]", "Share of flames with a cusp at their center.", 0.0)
    n_points: int = _value("[1, inf)", "Points of a flame.", 50_000)
    n_distinct: int = _value("[0, inf)", "Distinct images; 0 for no repetition.", 0)
    source: str = _value(("flames", "random_fields", "maps"), "What the images are of.", "flames")
    coverage: float = _value("[0, 1]", "The least share of its frame that a flame covers.", 0.5)
    protostars: bool = _value(None, "Whether protostars are added to the flames.", False)


@_documented
@dataclass(frozen=True)
class Views(_Table):
    """What student and teacher are given of an image."""

    image_size: int = _value("[8, inf)", "Side of a view in pixels: a multiple of the patch.")
    n_global: int = _value("[1, inf)", "Whole views of an image.")
    n_local: int = _value("[0, inf)", "Local crops of an image.")
    local_grid: int = _value("[1, inf)", "Side of a local crop in patches.")
    mask_ratio: float = _value("(0, 1)", "Share of the patches that the student is not given.")
    mask_mode: str = _value(("drop", "token"), "A decoder or a learned token for hidden patches.")
    scattered_until: float = _value("[0, 1]", "Part of the run until visible patches are a block.")
    block_side: int = _value("[0, inf)", "Side of that block in patches.")
    max_shift: int = _value("[0, inf)", "Largest distance of the centers of view and image in px.")
    scale_min: float = _value("(0, 1]", "Least share of an image's area that a view shows.")
    blur_probability: float = _value("[0, 1]", "Share of views through a beam.")
    noise: float = _value("[0, inf)", "Largest deviation of white noise in normalized units.")
    border_probability: float = _value("[0, 1]", "Share of views with a ragged border of data.")
    drop_velocity_probability: float = _value("[0, 1]", "Share of views without v, sigma or both.")
    zoom_probability: float = _value("[0, 1]", "Share of views magnified about their center.", 0.0)
    zoom_max: float = _value("[1, inf)", "The largest magnification.", 1.0)
    pairing: str = _value(
        ("independent", "symmetric"),
        "Both networks are given every global view, or each one of a symmetric pair.",
        "independent",
    )
    student_tokens: int = _value("[0, inf)", "Patches of such a pair for the student.", 0)
    mass_zoom_probability: float = _value("[0, 1]", "Share of these at 4 times, for masses.", 0.0)
    jitter: float = _value("[0, inf)", "Largest shift of a magnified view in pixels.", 0.0)
    local_scaled: bool = _value(None, "Whether local crops are views at other scales.", False)
    degraded_teacher: bool = _value(None, "Whether the teacher's views are degraded too.", False)
    beam_max: float = _value("[0.5, inf)", "Largest FWHM of beams in px.", 4.7)
    noise_probability: float = _value("[0, 1]", "Share of images with noise by ratio.", 0.0)
    signal_to_noise_min: float = _value("[0, 100]", "The least such signal-to-noise ratio.", 0.0)


@_documented
@dataclass(frozen=True)
class Terms(_Table):
    """The terms of the loss with their heads; a weight of zero leaves a term out."""

    n_prototypes: int = _value("[2, inf)", "Outputs of the projection heads.")
    head_hidden: int = _value("[1, inf)", "Width of their hidden layers.")
    head_bottleneck: int = _value("[1, inf)", "Width of their bottleneck.")
    shared_head: bool = _value(None, "Whether class and patch tokens share their head.")
    centering: str = _value(("sinkhorn", "mean"), "How the teacher's outputs are balanced.")
    teacher_temperature: float = _value("(0, inf)", "Temperature of the teacher's softmax.")
    teacher_temperature_warmup: float = _value("(0, inf)", "The same at the beginning.")
    koleo_weight: float = _value("[0, inf)", "Weight of the entropy of class tokens.")
    structure_weight: float = _value("[0, inf)", "Weight of the structure of each patch's gas.")
    predictor_dim: int = _value("[0, inf)", "Width of the decoder of hidden patches.")
    predictor_depth: int = _value("[0, inf)", "Blocks of the decoder of hidden patches.")
    freeze_last_layer: float = _value("[0, 1]", "Part of the run before heads' last layers learn.")
    class_structure_weight: float = _value("[0, inf)", "The same of the center, by class.", 0.0)
    protostar_mass_weight: float = _value("[0, inf)", "Weight of the mass of the protostar.", 0.0)
    center_weight: float = _value("[0, inf)", "Weight of a pair's central tokens.", 0.0)
    consistency_weight: float = _value("[0, inf)", "Weight of their mean and scatter.", 0.0)
    structure_share: float = _value("(0, 1]", "Largest share of the structure in gradients.", 1.0)


@_documented
@dataclass(frozen=True)
class Optimizer(_Table):
    """AdamW, its schedules and the teacher's moving average."""

    learning_rate: float = _value("[0, 1]", "Learning rate after the warm-up.")
    learning_rate_end: float = _value("[0, 1]", "Learning rate at the end, by a cosine.")
    warmup: float = _value("[0, 1]", "Part of the run in which the learning rate rises.")
    layer_decay: float = _value("(0, 1]", "Learning rate of a block over that of the next one.")
    weight_decay: float = _value("[0, inf)", "Weight decay at the beginning.")
    weight_decay_end: float = _value("[0, inf)", "Weight decay at the end, by a cosine.")
    momentum: float = _value("[0, 1]", "Momentum of the teacher at the beginning; 1 at the end.")
    drop_path: float = _value("[0, 1)", "Probability that a block of the student is skipped.")


@_documented
@dataclass(frozen=True, kw_only=True)
class Recipe(_Table):
    """
    All that defines a pretraining run: a recipe and a seed give the same weights.

    `load` reads a shipped recipe (`recipe_names`) or your own, a file of the same tables; the shipped
    files explain their values.  Parts of a run are of all its steps.

    See Also
    --------
    pretrain : runs a recipe.

    Examples
    --------
    >>> from astrofractal.pretraining import Recipe
    >>> recipe = Recipe.load("compact", n_images=6400)
    >>> recipe.n_steps, recipe.views.image_size, recipe.batch_size
    (100, 64, 64)
    """

    name: str = _value(None, "The recipe's name, which becomes part of the weights' id.")
    model: str = _value(None, "A bundled architecture or a Vision Transformer of timm.")
    n_images: int = _value("[1, inf)", "Images seen in the whole run.")
    batch_size: int = _value("[1, inf)", "Images per step over all devices.")
    steps_per_checkpoint: int = _value("[1, inf)", "Steps between two checkpoints.")
    seed: int = _value("[0, 4294967295]", "Seed of the images, the views and the initial weights.")
    images: Images
    views: Views
    terms: Terms
    optimizer: Optimizer

    def __post_init__(self):
        super().__post_init__()
        for name in ("name", "model"):
            value = getattr(self, name)
            if not value or value != value.strip() or set(value) & set("/\\"):
                msg = f"recipe value {name} must be a name without slashes, got {value!r}"
                raise ValueError(msg)
        images, views, terms = self.images, self.views, self.terms
        gas_alone = {
            "source": images.source != "flames",
            "cusp_probability": images.cusp_probability,
            "protostars": images.protostars,
            "structure_weight": terms.structure_weight,
        }
        pair = (terms.center_weight, terms.consistency_weight, terms.protostar_mass_weight)
        symmetric, drop = views.pairing == "symmetric", views.mask_mode == "drop"
        added = bool(images.protostars) + bool(images.cusp_probability) + (images.source == "maps")
        block = views.block_side**2
        refuse({
            f"{name} needs rendering='gas', got {images.rendering!r}":
                used and images.rendering != "gas"
            for name, used in gas_alone.items()
        } | {
            "protostars=true needs cusp_probability=0, source 'maps' needs both to be off": added > 1,
            f"source_size must be at least image_size={views.image_size}, got {images.source_size}":
                images.source_size < views.image_size,
            "pairing 'symmetric' and structure_weight need mask_mode='drop', got 'token'":
                not drop and (symmetric or terms.structure_weight),
            "mask_mode 'drop' needs a predictor_depth of at least 1":
                drop and not terms.predictor_depth,
            f"student_tokens must be at least block_side**2 = {block}, got {views.student_tokens}":
                symmetric and views.student_tokens < block,
            "center_weight, consistency_weight and protostar_mass_weight need pairing='symmetric'":
                any(pair) and not symmetric,
            "protostar_mass_weight needs protostars=true":
                terms.protostar_mass_weight and not images.protostars,
            "class_structure_weight needs a structure_weight above zero":
                terms.class_structure_weight and not terms.structure_weight,
        }, "recipe value ")  # fmt: skip
        patch = re.search(r"patch(\d+)", self.model)
        if patch:
            self.check_patches(int(patch[1]))

    def check_patches(self, patch_size: int) -> None:
        """Reject values that patches of so many pixels leave no room for."""
        views, size, grid = self.views, self.views.image_size, self.views.image_size // patch_size
        drop, n_hidden = views.mask_mode == "drop", round(views.mask_ratio * grid**2)
        has_block = views.scattered_until < 1 or views.pairing == "symmetric"
        refuse({
            f"image_size must be a multiple of the {patch_size} px of a patch, got {size}":
                size % patch_size,
            f"local_grid must be at most {grid} patches, got {views.local_grid}":
                views.local_grid > grid,
            f"block_side must be at least 1 and less than {grid} patches, got {views.block_side}":
                drop and has_block and not 1 <= views.block_side < grid,
            f"student_tokens must be less than the {grid**2} patches of a view, "
            f"got {views.student_tokens}":
                drop and views.student_tokens >= grid**2,
            "mask_ratio must be a share that leaves and hides some of "
            f"{grid**2} patches, got {views.mask_ratio}":
                drop and views.scattered_until and not 1 <= n_hidden < grid**2,
        }, "recipe value ")  # fmt: skip

    @classmethod
    def load(cls, name: PathLike, **overrides: Any) -> "Recipe":
        """
        Load one of `recipe_names`, or a ``.toml`` or ``.json`` file.

        ``overrides`` of any table replace the file's values.
        """
        path = _RECIPES / f"{name}.toml" if str(name) in recipe_names() else Path(name)
        if not path.is_file():
            shipped = ", ".join(map(repr, recipe_names()))
            msg = f"recipe must be one of {shipped} or the path of a file, got {str(name)!r}"
            raise ValueError(msg)
        with reading(path, "the recipe"):
            text = path.read_text(encoding="utf-8")
            values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
            return cls.of({"name": path.stem, **values}, **overrides)

    @classmethod
    def of(cls, values: dict[str, Any], **overrides: Any) -> "Recipe":
        """
        Make a recipe of its values, each of which is checked.

        They are those of `to_dict`, or without tables as runs of earlier versions have them;
        ``overrides`` of any table replace them.
        """
        flat = {}
        for name, value in {**values, **overrides}.items():
            if name in _TABLES and not isinstance(value, dict):
                msg = f"recipe value {name} must be a table, got {value!r}"
                raise ValueError(msg)
            for key, entry in (value if name in _TABLES else {name: value}).items():
                flat[_RENAMED.get(key, key)] = entry
        for name, constant in _CONSTANT.items():
            if flat.pop(name, constant) != constant:
                msg = f"recipe value {name} is {constant} in all recipes and can no longer be set"
                raise ValueError(msg)
        known = {entry.name for table in (cls, *_TABLES.values()) for entry in fields(table)}
        known -= set(_TABLES)
        for name in sorted(set(flat) - known):
            msg = f"recipe value {name!r} is unknown; known are {', '.join(sorted(known))}"
            raise ValueError(msg)
        tables = {name: _made(table, flat) for name, table in _TABLES.items()}
        return _made(cls, flat | tables)

    @property
    def n_steps(self) -> int:
        """The number of optimizer steps."""
        return max(1, self.n_images // self.batch_size)

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a dictionary of tables that `load` can read back as JSON."""
        return asdict(self)


_TABLES = {"images": Images, "views": Views, "terms": Terms, "optimizer": Optimizer}


def _made(table, values):
    """Make a table of those of the values that are its own."""
    own = {entry.name: values[entry.name] for entry in fields(table) if entry.name in values}
    for entry in fields(table):
        if entry.default is MISSING and entry.name not in own:
            msg = f"recipe {values.get('name')!r} lacks the value {entry.name!r}"
            raise ValueError(msg)
    return table(**own)


def recipe_names() -> list[str]:
    """Return the names of the recipes that the package ships."""
    return sorted(Path(entry.name).stem for entry in _RECIPES.iterdir())
