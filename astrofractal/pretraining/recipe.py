"""Recipes: every number of a pretraining run, in one small file each."""

import json
import tomllib
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from astrofractal._utils.reading import reading
from astrofractal._utils.validation import one_of

if TYPE_CHECKING:
    from typing import Any

    from astrofractal._utils.annotations import PathLike


__all__ = ["Recipe", "recipe_names"]

_RECIPES = files("astrofractal.pretraining") / "recipes"

_CHOICES = {
    "source": ("flames", "random_fields", "maps"),
    "rendering": ("gas", "moments", "palette"),
    "center": ("peak", "attractor"),
    "mask_mode": ("drop", "token"),
    "centering": ("sinkhorn", "mean"),
    "pairing": ("independent", "symmetric"),
}

#: Where each number may lie; what depends on the model's patches is checked with the model.
_RANGES = {
    **dict.fromkeys(
        (
            "n_images", "n_points", "n_global", "local_grid", "head_hidden", "head_bottleneck",
            "batch_size", "steps_per_checkpoint",
        ),
        "[1, inf)",
    ),
    **dict.fromkeys(
        (
            "n_distinct", "n_local", "block_side", "max_shift", "jitter", "student_tokens", "noise",
            "predictor_dim", "predictor_depth", "weight_decay", "weight_decay_end",
            "gradient_clip", "dino_weight", "ibot_weight", "koleo_weight", "center_weight",
            "consistency_weight", "hidden_mass_weight", "structure_weight", "class_structure_weight",
        ),
        "[0, inf)",
    ),
    **dict.fromkeys(
        (
            "coverage", "cusp_probability", "blur_probability", "border_probability",
            "drop_velocity_probability", "noise_probability", "zoom_probability",
            "mass_zoom_probability", "scattered_until", "freeze_last_layer", "warmup", "momentum",
            "momentum_end", "learning_rate", "learning_rate_end",
        ),
        "[0, 1]",
    ),
    **dict.fromkeys(("scale_min", "layer_decay", "structure_share"), "(0, 1]"),
    **dict.fromkeys(("drop_path", "beta2"), "[0, 1)"),
    **dict.fromkeys(
        ("student_temperature", "teacher_temperature", "teacher_temperature_warmup"), "(0, inf)"
    ),
    **dict.fromkeys(("zoom_max", "mass_zoom"), "[1, inf)"),
    **dict.fromkeys(("source_size", "image_size"), "[8, inf)"),
    "mask_ratio": "(0, 1)",
    "n_prototypes": "[2, inf)",
    "beam_max": "[0.5, inf)",
    "signal_to_noise_min": "[0, 100]",
    "seed": "[0, 4294967295]",
}  # fmt: skip


def _within(value, interval):
    """Whether a number, not NaN, lies in an interval such as ``"[0, 1)"``."""
    low, high = map(float, interval[1:-1].split(","))
    return low <= value <= high and (
        (value > low or interval[0] == "[") and (value < high or interval[-1] == "]")
    )


def recipe_names() -> list[str]:
    """Return the names of the recipes that the package ships."""
    return sorted(Path(entry.name).stem for entry in _RECIPES.iterdir())


@dataclass(frozen=True)
class Recipe:
    """
    All that defines a pretraining run.

    Every number is part of it, so that a recipe and a seed give the same weights.  `load` reads a
    shipped recipe (`recipe_names`) or your own; the shipped files say why they chose their values.
    Fractions of a run (``warmup``, ``freeze_last_layer``, ``scattered_until``) are of all its steps.

    Parameters
    ----------
    name : str
        The recipe's name, which becomes part of the weights' id.

    model : str
        The architecture: a bundled one or a Vision Transformer of timm, as of
        `~astrofractal.FractalEncoder`.

    n_images : int
        Images seen in the whole run.

    source_size : int
        Side of an image in pixels.

    rendering : {"gas", "moments", "palette"}
        What the channels of a flame are; see `~astrofractal.fractals.FlameStream`.

    center : {"peak", "attractor"}
        What is at the center of a flame; see `~astrofractal.fractals.FlameStream`.

    cusp_probability : float
        Share of flames with the cusp of a protostar at their center.

    image_size : int
        Side of a view in pixels.

    n_global, n_local : int
        Whole views and local crops per image.

    local_grid : int
        Side of a local crop in patches.

    mask_ratio : float
        Share of the patches that the student does not see.

    mask_mode : {"drop", "token"}
        ``"drop"``: hidden patches are left out of the student's input and predicted by a small
        decoder.  ``"token"``: a learned token takes their place, as in iBOT.

    scattered_until : float
        Up to this part of the run the visible patches are scattered, afterwards they are a block.

    block_side : int
        Side of that block in patches.

    max_shift : int
        Largest distance of the center of a view from that of its image in pixels.

    scale_min : float
        Least share of an image's area that a view shows; 1 for views of the images' own pixels.

    blur_probability : float
        Share of views that are seen through a beam.

    noise : float
        Largest standard deviation of white noise, in units of the normalized channels.

    border_probability : float
        Share of views without data beyond a ragged border.

    drop_velocity_probability : float
        Share of views that lack the velocity, the dispersion or both.

    n_prototypes : int
        Outputs of the projection heads.

    head_hidden, head_bottleneck : int
        Widths of the hidden layers and of the bottleneck of the projection heads.

    shared_head : bool
        Whether class and patch tokens share their projection head.

    centering : {"sinkhorn", "mean"}
        How the teacher's outputs are balanced: Sinkhorn-Knopp, or a running mean that is subtracted.

    student_temperature, teacher_temperature, teacher_temperature_warmup : float
        Temperatures of the softmax; the teacher's begins at ``teacher_temperature_warmup``.

    dino_weight, ibot_weight, koleo_weight : float
        Weights of the terms of DINOv2: class tokens, hidden patch tokens, and the spread of the class
        tokens.

    structure_weight : float
        Weight of the term that asks for the structure of the clean gas in each patch.

    predictor_dim, predictor_depth : int
        Width and blocks of the decoder of ``mask_mode="drop"``.

    freeze_last_layer : float
        Up to this part of the run the heads' last layer does not learn.

    batch_size : int
        Images per step over all devices.

    learning_rate, learning_rate_end : float
        Learning rate after the warm-up and, by a cosine, at the end.

    warmup : float
        Part of the run in which the learning rate rises.

    layer_decay : float
        Factor of the learning rate from one block to the one before it.

    weight_decay, weight_decay_end : float
        Weight decay at the beginning and, by a cosine, at the end.

    momentum, momentum_end : float
        Momentum of the teacher's moving average at the beginning and, by a cosine, at the end.

    gradient_clip : float
        Largest norm of the gradient; zero for no limit.

    drop_path : float
        Probability that a block of the student is skipped.

    steps_per_checkpoint : int
        Steps between two checkpoints.

    seed : int
        Seed of the images, the views and the initial weights.

    n_points : int, optional
        Points of a flame; see `~astrofractal.fractals.FlameStream`.

    n_distinct : int, optional
        Distinct images; they repeat when ``n_images`` is larger.  Zero stands for ``n_images``.

    source : {"flames", "random_fields", "maps"}, optional
        What the images are of: `~astrofractal.fractals.FlameStream`,
        `~astrofractal.fractals.RandomFieldStream`, or maps of gas of your own, to which nothing is
        added.  The last two need ``rendering="gas"``.

    coverage : float, optional
        The least share of its frame that a flame covers; see `~astrofractal.fractals.FlameStream`.

    zoom_probability, zoom_max : float, optional
        The share of views that are magnified about their center, and the largest magnification.

    class_structure_weight : float, optional
        Weight of the term that asks the class token for the structure at the center of the view.

    pairing : {"independent", "symmetric"}, optional
        ``"independent"``: both networks see every global view.  ``"symmetric"``: of each pair of
        global views, of the same place but for one of the sky's symmetries and a part of a pixel, the
        student sees one and the teacher the other.

    student_tokens : int, optional
        With symmetric pairs: patches that the student sees, the block in the middle and others at
        random.

    mass_zoom, mass_zoom_probability : float, optional
        The magnification at which masses are read, and the share of magnified views that have it
        exactly.

    jitter : float, optional
        Largest distance of the center of a magnified view from that of the image in pixels of the image.

    local_scaled : bool, optional
        Whether local crops are views of their own at other scales, and not windows of tokens of other
        views.

    degraded_teacher : bool, optional
        Whether the teacher sees degraded views as well.

    beam_max : float, optional
        Largest full width at half maximum of beams in pixels.

    noise_probability, signal_to_noise_min : float, optional
        The share of images with noise of a signal-to-noise ratio between this one and 100.

    hidden_masses : bool, optional
        Whether stars of known mass are put into the flames; see
        `~astrofractal.fractals.add_hidden_masses`.

    hidden_mass_weight : float, optional
        Weight of the term that asks for the mass of the star at the center of the view.

    center_weight, consistency_weight : float, optional
        Weights of the terms by which the central tokens of symmetric views agree: on prototypes, and
        in the values of their mean and spread.

    structure_share : float, optional
        The largest share that the structure terms have of the gradient at the encoder's tokens.

    beta2 : float, optional
        Decay of AdamW's second moments.

    See Also
    --------
    pretrain : runs a recipe.
    recipe_names : names the shipped ones.

    Examples
    --------
    >>> from astrofractal.pretraining import Recipe
    >>> recipe = Recipe.load("compact", n_images=6400)
    >>> recipe.n_steps, recipe.image_size, recipe.batch_size
    (100, 64, 64)
    """

    name: str
    model: str
    n_images: int
    source_size: int
    rendering: str
    center: str
    cusp_probability: float
    image_size: int
    n_global: int
    n_local: int
    local_grid: int
    mask_ratio: float
    mask_mode: str
    scattered_until: float
    block_side: int
    max_shift: int
    scale_min: float
    blur_probability: float
    noise: float
    border_probability: float
    drop_velocity_probability: float
    n_prototypes: int
    head_hidden: int
    head_bottleneck: int
    shared_head: bool
    centering: str
    student_temperature: float
    teacher_temperature: float
    teacher_temperature_warmup: float
    dino_weight: float
    ibot_weight: float
    koleo_weight: float
    structure_weight: float
    predictor_dim: int
    predictor_depth: int
    freeze_last_layer: float
    batch_size: int
    learning_rate: float
    learning_rate_end: float
    warmup: float
    layer_decay: float
    weight_decay: float
    weight_decay_end: float
    momentum: float
    momentum_end: float
    gradient_clip: float
    drop_path: float
    steps_per_checkpoint: int
    seed: int
    n_points: int = 50_000
    n_distinct: int = 0
    source: str = "flames"
    coverage: float = 0.5
    zoom_probability: float = 0.0
    zoom_max: float = 1.0
    class_structure_weight: float = 0.0
    pairing: str = "independent"
    student_tokens: int = 0
    mass_zoom: float = 4.0
    mass_zoom_probability: float = 0.0
    jitter: float = 0.0
    local_scaled: bool = False
    degraded_teacher: bool = False
    beam_max: float = 4.7
    noise_probability: float = 0.0
    signal_to_noise_min: float = 0.0
    hidden_masses: bool = False
    hidden_mass_weight: float = 0.0
    center_weight: float = 0.0
    consistency_weight: float = 0.0
    structure_share: float = 1.0
    beta2: float = 0.98

    def __post_init__(self):
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is float and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif type(value) is not field.type:
                msg = (
                    f"recipe value {field.name} must be of type {field.type.__name__}, "
                    f"got {value!r}"
                )
                raise ValueError(msg)
        for name, choices in _CHOICES.items():
            one_of(f"recipe value {name}", getattr(self, name), choices)
        for name, interval in _RANGES.items():
            if not _within(getattr(self, name), interval):
                msg = f"recipe value {name} must be in {interval}, got {getattr(self, name)}"
                raise ValueError(msg)
        for name in ("name", "model"):
            value = getattr(self, name)
            if not value or value != value.strip() or set(value) & set("/\\"):
                msg = f"recipe value {name} must be a name without slashes, got {value!r}"
                raise ValueError(msg)
        if self.source != "flames" and self.rendering != "gas":
            msg = f"source {self.source!r} needs rendering='gas', got {self.rendering!r}"
            raise ValueError(msg)
        if self.source == "maps" and (self.hidden_masses or self.cusp_probability):
            msg = (
                "source 'maps' needs hidden_masses=false and cusp_probability=0: nothing is put into "
                "maps that have protostars of their own"
            )
            raise ValueError(msg)
        if self.mask_mode == "drop" and self.predictor_depth < 1:
            msg = "mask_mode 'drop' needs a predictor: predictor_depth must be at least 1"
            raise ValueError(msg)
        if self.pairing == "symmetric":
            if self.mask_mode != "drop":
                msg = f"pairing 'symmetric' needs mask_mode='drop', got {self.mask_mode!r}"
                raise ValueError(msg)
            if self.student_tokens < self.block_side**2:
                msg = (
                    f"recipe value student_tokens must be at least block_side**2 = "
                    f"{self.block_side**2}, got {self.student_tokens}"
                )
                raise ValueError(msg)
        elif self.center_weight or self.consistency_weight or self.hidden_mass_weight:
            msg = (
                "center_weight, consistency_weight and hidden_mass_weight need pairing='symmetric'"
            )
            raise ValueError(msg)
        if self.hidden_mass_weight and not self.hidden_masses:
            msg = "hidden_mass_weight needs hidden_masses=true: flames have no other stars"
            raise ValueError(msg)
        if self.cusp_probability and self.rendering != "gas":
            msg = f"cusp_probability needs rendering='gas', got {self.rendering!r}"
            raise ValueError(msg)
        if self.hidden_masses and (self.rendering != "gas" or self.cusp_probability):
            msg = "hidden_masses needs rendering='gas' and takes the place of cusps: cusp_probability=0"
            raise ValueError(msg)
        others = ("dino", "ibot", "koleo", "center", "consistency", "hidden_mass")
        if self.structure_share < 1 and not any(getattr(self, f"{n}_weight") for n in others):
            msg = (
                "structure_share must be 1 where the structure is the only term with a weight, "
                f"got {self.structure_share}"
            )
            raise ValueError(msg)
        if self.class_structure_weight and not self.structure_weight:
            msg = (
                "class_structure_weight needs a structure_weight above zero, got "
                f"{self.class_structure_weight} and {self.structure_weight}"
            )
            raise ValueError(msg)
        if self.structure_weight and (self.mask_mode, self.rendering) != ("drop", "gas"):
            msg = (
                "structure_weight needs mask_mode 'drop' and rendering 'gas', got "
                f"{self.mask_mode!r} and {self.rendering!r}"
            )
            raise ValueError(msg)
        if self.source_size < self.image_size:
            msg = (
                f"recipe value source_size must be at least image_size={self.image_size}, "
                f"got {self.source_size}"
            )
            raise ValueError(msg)

    @classmethod
    def load(cls, name: "PathLike", **overrides: "Any") -> "Recipe":
        """
        Load a shipped recipe or a TOML or JSON file.

        Parameters
        ----------
        name : str or path-like
            One of `recipe_names`, or the path of a ``.toml`` or ``.json`` file.

        **overrides : dict
            Values that replace the file's.

        Returns
        -------
        recipe : `Recipe`
            The checked recipe.

        Raises
        ------
        ValueError
            If the recipe or one of its values is unknown, missing, of the wrong type or out of its
            range.
        """
        path = _RECIPES / f"{name}.toml" if str(name) in recipe_names() else Path(name)
        if not path.is_file():
            shipped = ", ".join(map(repr, recipe_names()))
            msg = f"recipe must be one of {shipped} or the path of a file, got {str(name)!r}"
            raise ValueError(msg)
        with reading(path, "the recipe"):
            text = path.read_text(encoding="utf-8")
            values = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
            return cls.of({"name": path.stem, **values, **overrides})

    @classmethod
    def of(cls, values: "dict[str, Any]") -> "Recipe":
        """
        Make a recipe of its values, each of which is checked.

        Parameters
        ----------
        values : dict
            The values by name, as of `to_dict`.

        Returns
        -------
        recipe : `Recipe`
            The checked recipe.

        Raises
        ------
        ValueError
            If a value is unknown, missing, of the wrong type or out of its range.
        """
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            msg = f"recipe value {unknown[0]!r} is unknown; known are {', '.join(sorted(known))}"
            raise ValueError(msg)
        optional = {field.name for field in fields(cls) if field.default is not MISSING}
        missing = sorted(known - set(values) - optional)
        if missing:
            msg = f"recipe {values.get('name')!r} lacks the value {missing[0]!r}"
            raise ValueError(msg)
        return cls(**values)

    @property
    def n_steps(self) -> int:
        """The number of optimizer steps."""
        return max(1, self.n_images // self.batch_size)

    def to_dict(self) -> "dict[str, Any]":
        """Return the values as a dictionary that `load` can read back as JSON."""
        return asdict(self)
