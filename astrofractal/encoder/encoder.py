"""`FractalEncoder`: gas maps in, frozen features out."""

import copy
import os
from pathlib import Path
from typing import Any, Self, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from astropy.nddata import NDData

import astrofractal
from astrofractal._utils.annotations import PathLike, ProgressBar
from astrofractal._utils.identity import Options, fingerprint
from astrofractal._utils.progress import progress
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import at_least, one_of, positive_int
from astrofractal.data import data_path
from astrofractal.encoder.backbone import (
    BUNDLED_MODEL,
    convert_state_dict,
    create_backbone,
    read_checkpoint,
)
from astrofractal.encoder.dense import principal_components
from astrofractal.encoder.pooling import pool_tokens
from astrofractal.encoder.weights import (
    HEADS,
    ChannelNormalization,
    find_pretrained,
    load_weights,
    read_card,
    read_folder,
    save_weights,
)
from astrofractal.gasmap import GasMap
from astrofractal.mapset import MapSet
from astrofractal.mapset.files import is_map_set

Maps: TypeAlias = GasMap | MapSet | PathLike | np.ndarray | list[GasMap]

#: Of the passes of the network.
PRECISIONS = ("float32", "bfloat16")

BUNDLED_WEIGHTS = "astrofractal_vit_tiny_patch8_64.safetensors"


class FractalEncoder(Options):
    """
    A frozen Vision Transformer that turns gas maps into features.

    The bundled model was pretrained by self-distillation (DINOv2) on fractal flames rendered as
    gas, following Hirashima, Nozaki & Harada 2025 (arXiv:2510.24159), without simulations or
    telescope maps.

    Parameters
    ----------
    model : str, optional
        Name of the architecture: the bundled one, or ``"timm:<name>"`` for any timm backbone.
    weights : {"bundled", "random"} or path-like, optional
        ``"bundled"`` weights (only for the bundled architecture), ``"random"`` initial weights
        drawn with ``random_state`` (the baseline of every score), a ``.safetensors`` file with its
        card as `~astrofractal.encoder.save_weights` writes it, or a folder of
        `~astrofractal.encoder.export.export_timm`.  Plain checkpoints (``.safetensors``, ``.pt``,
        ``.pth``; timm, lightly or DINOv2 layout) without a card are accepted too and are read
        without executing code.
    random_state : int, optional
        Seed of ``weights="random"``.
    in_chans, normalization : optional
        The number of channels and their `~astrofractal.encoder.ChannelNormalization`, for ``weights``
        that have no card.
    device, batch_size : optional
        A torch device, by default a GPU where there is one, and the maps of a forward pass.
    precision : {"float32", "bfloat16"}, optional
        The arithmetic of the passes.  Processors with instructions for bfloat16 are nearly twice as
        fast with it, others many times slower; masses change by less than 0.01 dex.  Calibrations
        fitted in 32 bit can be used with either.

    See Also
    --------
    astrofractal.StellarMassEstimator : turns features into masses.
    astrofractal.FeatureSegmenter : turns features into segments.

    Examples
    --------
    >>> from astrofractal import FractalEncoder
    >>> encoder = FractalEncoder()
    >>> encoder.image_size, encoder.patch_size, encoder.embed_dim
    (64, 8, 192)
    """

    def __init__(
        self,
        model: str = BUNDLED_MODEL,
        *,
        weights: PathLike = "bundled",
        random_state: int = 0,
        in_chans: int = 3,
        normalization: ChannelNormalization | None = None,
        device: str | None = None,
        batch_size: int = 64,
        precision: str = "float32",
    ) -> None:
        self.model_name = model.removeprefix("timm:")
        self.batch_size = positive_int("batch_size", batch_size)
        self.precision = one_of("precision", precision, PRECISIONS)
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.card = {
            "architecture": self.model_name,
            "in_chans": positive_int("in_chans", in_chans),
            "normalization": (normalization or ChannelNormalization()).to_dict(),
            "images_seen": 0,
            "recipe": None,
            "seed": random_state,
        }
        state, has_card = None, False
        if isinstance(weights, str) and weights == "random":
            self.weights_id = f"random-{random_state}"
        else:
            state, has_card = self._read(weights)
        self.normalization = ChannelNormalization(**self.card["normalization"])
        if self.normalization.n_channels != self.in_chans:
            msg = f"normalization must be for in_chans={self.in_chans}, got {self.normalization}"
            raise ValueError(msg)
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(random_state)
            self.model = create_backbone(self.model_name, in_chans=self.in_chans)
        #: Linear maps from pretraining, by pooling: ``"structure"``, ``"protostar_mass"``.
        self.heads: dict[str, torch.nn.Linear] = {}
        self._fingerprint: str | None = None
        self._half = None
        if state is not None:
            self._load(state, weights, has_card)
        for network in (self.model, *self.heads.values()):
            network.eval().requires_grad_(False).to(self.device)

    @classmethod
    def from_pretrained(cls, source: PathLike, **options: Any) -> Self:
        """
        Load an encoder with its architecture and normalization.

        The source is a folder or a ``.safetensors`` file with its card as of `FractalEncoder`, or
        ``"owner/name"`` of such a folder on the Hugging Face Hub.  Local files and the cache of the
        hub come first; the network is used only if neither has it.  Options are ``device``,
        ``batch_size`` and ``precision``.
        """
        path = find_pretrained(source)
        card = read_folder(path)[1] if path.is_dir() else read_card(path)
        return cls(card["architecture"], weights=path, **options)

    def _read(self, weights):
        """Return the state in a file of weights, and whether it has a card; set card and weights_id."""
        path = Path(weights)
        if isinstance(weights, str) and weights == "bundled":
            if self.model_name != BUNDLED_MODEL:
                msg = f"weights='bundled' are for {BUNDLED_MODEL!r}: give a path or 'random'"
                raise ValueError(msg)
            path = data_path(BUNDLED_WEIGHTS)
        if path.is_dir():
            state, self.card, self.weights_id = read_folder(path)
        elif not path.is_file():
            msg = f"weights: no file {str(path)!r}"
            raise FileNotFoundError(msg)
        elif path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
            state, self.card = load_weights(path)
            self.weights_id = f"{self.card['recipe']}-{self.card['sha256'][:8]}"
        else:
            self.weights_id = path.stem
            return read_checkpoint(path), False
        if self.card["architecture"] != self.model_name:
            own = self.card["architecture"]
            msg = f"weights: {str(path)!r} are for the model {own!r}, not {self.model_name!r}"
            raise ValueError(msg)
        return state, True

    def _load(self, state, weights, has_card):
        """Load the state of a file into the model and the heads."""
        if has_card:
            self.heads = _heads(state, weights)
        else:
            state = convert_state_dict(state, self.model)
        own = self.model.state_dict()
        missing = sorted(set(own) - set(state))
        wrong = sorted(k for k in own if k in state and own[k].shape != state[k].shape)
        if missing or wrong:
            what = f"lack {missing[0]!r}" if missing else f"have another shape for {wrong[0]!r}"
            msg = f"weights: {str(weights)!r} {what} of the model {self.model_name!r}"
            raise ValueError(msg)
        self.model.load_state_dict({name: state[name] for name in own})

    def _shown(self):
        names = ("model_name", "weights_id", "in_chans", "normalization", "batch_size", "precision")
        shown = {name: getattr(self, name) for name in names}
        return {**shown, "device": str(self.device), "version": astrofractal.__version__}

    def fingerprint(self, *, precision: str | None = None) -> str:
        """
        Return a digest of the architecture, the weights, the normalization and the precision.

        It is equal for encoders that give the same features.  The device and the batch size are left
        out: they change results by rounding alone.

        With ``precision`` it is that of the same encoder in another precision.
        """
        if self._fingerprint is None:
            state = dict(self.model.state_dict())
            for name, head in self.heads.items():
                first = HEADS[name].rpartition("_")[0]  # the name that digests were first made with
                state |= {f"{first}.{part}": value for part, value in head.state_dict().items()}
            arrays = {name: value.cpu().numpy() for name, value in state.items()}
            self._fingerprint = fingerprint(
                self.model_name, self.in_chans, self.normalization.to_dict(), arrays
            )
        precision = one_of("precision", precision or self.precision, PRECISIONS)
        own = self._fingerprint
        return own if precision == "float32" else fingerprint(own, precision)

    def with_weights(self, state: dict[str, torch.Tensor], **card: Any) -> Self:
        """
        Return an encoder of the same model with other weights, such as tuned ones, without heads.

        ``state``, of the whole backbone, is rounded to 16 bit as `save` writes it, so that the encoder
        and its saved copy are the same.  ``card`` has the entries that differ from this encoder's.
        """
        state = {k: v.half().float() if v.is_floating_point() else v for k, v in state.items()}
        new = copy.copy(self)
        new.model = copy.deepcopy(self.model)
        new.model.load_state_dict(state)
        new.model.eval().requires_grad_(False)
        new.heads, new._fingerprint, new._half = {}, None, None
        kept = {k: v for k, v in self.card.items() if k not in ("heads", "sha256")}
        new.card = kept | card
        new.weights_id = f"{new.card['recipe']}-{new.fingerprint(precision='float32')[:8]}"
        return new

    def save(self, path: PathLike) -> dict[str, Any]:
        """Write a ``.safetensors`` file in 16 bit, which `from_pretrained` reads; return its card."""
        return save_weights(self.state_dict(), path, self.card)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return the tensors of the backbone and of the heads, by name."""
        state = dict(self.model.state_dict())
        for name, head in self.heads.items():
            state |= {f"{HEADS[name]}.{k}": v for k, v in head.state_dict().items()}
        return state

    @property
    def in_chans(self) -> int:
        """The number of channels that the model takes."""
        return self.card["in_chans"]

    @property
    def embed_dim(self) -> int:
        """The number of features of one token."""
        return self.model.num_features

    @property
    def n_prefix_tokens(self) -> int:
        """The number of class and register tokens before the patch tokens."""
        return getattr(self.model, "num_prefix_tokens", 0)

    @property
    def patch_size(self) -> int:
        """Side of a patch in pixels."""
        if hasattr(self.model, "patch_embed"):
            return self.model.patch_embed.patch_size[0]
        return self.model.feature_info[-1]["reduction"]

    @property
    def image_size(self) -> int:
        """Side in pixels of the maps that the model was made for."""
        if hasattr(self.model, "patch_embed"):
            return self.model.patch_embed.img_size[0]
        return self.model.default_cfg["input_size"][-1]

    def _forward(self, batch):
        """Tokens (n, n_tokens, d) and grid (height, width) of one normalized torch batch."""
        model, dtype = self.model, torch.float32
        if self.precision == "bfloat16":
            if self._half is None:  # a copy: casting the weights in each pass eats half of the gain
                self._half = copy.deepcopy(self.model).bfloat16()
            model, dtype = self._half, torch.bfloat16
        with torch.inference_mode():
            out = model.forward_features(batch.to(self.device, dtype))
        if out.ndim == 4:  # convolutional, NCHW or NHWC
            if out.shape[1] == self.embed_dim:
                out = out.permute(0, 2, 3, 1)
            grid = tuple(out.shape[1:3])
            return out.flatten(1, 2).float(), grid
        height, width = (-(-side // self.patch_size) for side in batch.shape[-2:])
        return out.float(), (height, width)

    def _batches(self, maps, progress_bar):
        images = _images(maps, self.in_chans)
        starts = range(0, len(images), self.batch_size)
        for start in progress(starts, progress_bar, desc="encode"):
            batch = self.normalization(images[start : start + self.batch_size])
            yield torch.from_numpy(np.ascontiguousarray(batch))

    def tokens(self, maps: Maps, *, progress_bar: ProgressBar = False) -> np.ndarray:
        """
        Return all tokens of the last block: class, registers, and patches in row order.

        For maps as of `encode` the shape is (n_images, n_tokens, embed_dim).
        """
        parts = [self._forward(b)[0].cpu().numpy() for b in self._batches(maps, progress_bar)]
        return np.concatenate(parts) if parts else np.empty((0, 0, self.embed_dim), np.float32)

    def patch_features(self, maps: Maps, *, progress_bar: ProgressBar = False) -> np.ndarray:
        """
        Return the patch tokens on their grid.

        For maps as of `encode` the shape is (n_images, rows, columns, embed_dim).
        """
        parts = []
        for batch in self._batches(maps, progress_bar):
            tokens, grid = self._forward(batch)
            parts.append(tokens[:, self.n_prefix_tokens :].unflatten(1, grid).cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, 0, 0, self.embed_dim), np.float32)

    def encode(
        self,
        maps: Maps,
        *,
        pooling: str | tuple[str, ...] = ("central",),
        zoom: float = 1.0,
        symmetrize: bool = False,
        progress_bar: ProgressBar = False,
    ) -> np.ndarray:
        """
        Return one feature vector per map.

        Parameters
        ----------
        maps : `~astrofractal.GasMap`, `~astrofractal.mapset.MapSet`, path-like or 4D array
            One map or a list of maps of one shape, as `~astrofractal.GasMap.read` accepts them; a
            map set or its path; or physical channels of shape (n_maps, n_channels, height, width),
            NaN where there is no data.  Maps are encoded as they are: take a
            `~astrofractal.GasMap.cutout` of 0.5 pc on 64 x 64 pixels of a larger one.
        pooling : str or tuple of str, optional
            How the tokens become one vector; see `~astrofractal.encoder.pooling.pool_tokens`.
            Several are concatenated.
        zoom : float, optional
            Magnification about the center, at least 1: at 4 the encoder is given the inner quarter
            of the width.  A protostar changes its gas within a few pixels, a fraction of a patch.
        symmetrize : bool, optional
            Average the features over the eight rotations and reflections of the sky and the two
            signs of the line-of-sight velocity, under which a mass does not change.  It costs 16
            times the forward passes, 8 times without velocities.
        progress_bar : bool or callable, optional
            Whether to show progress.

        Returns
        -------
        features : 2D float32 `~numpy.ndarray`, shape (n_images, n_features)
            The features.

        Examples
        --------
        >>> from astropy import units as u
        >>> from astrofractal import FractalEncoder, GasMap
        >>> from astrofractal.data import data_path
        >>> gas = GasMap.read(data_path("example_cloud.fits"))
        >>> cutout = gas.cutout((191, 194), size=0.5 * u.pc, shape=(64, 64))
        >>> encoder = FractalEncoder()
        >>> encoder.encode(cutout).shape
        (1, 192)
        >>> encoder.encode(cutout, pooling=("central", "scatter")).shape
        (1, 384)
        >>> encoder.patch_features(cutout).shape
        (1, 8, 8, 192)
        """
        at_least("zoom", zoom, 1)
        parts = []
        for batch in self._batches(maps, progress_bar):
            batch = magnify(batch, zoom)
            total, n_views = torch.zeros(()), 0
            for view in _symmetric_views(batch) if symmetrize else [batch]:
                n_views += 1
                tokens, grid = self._forward(view)
                total = total + pool_tokens(tokens, grid, self.n_prefix_tokens, pooling, self.heads)
            parts.append((total / n_views).cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def components(self, gas: Maps, n: int = 3, *, progress_bar: ProgressBar = False) -> NDData:
        """
        Return the first ``n`` principal components of the patch tokens of a map, as a picture.

        This is the picture of Hirashima, Nozaki & Harada 2025: nothing is smoothed or clustered.

        Returns
        -------
        components : `~astropy.nddata.NDData`, shape (height, width, n)
            From 0 at the 1st to 1 at the 99th percentile over the map, each constant within a patch
            and with the sign that makes its correlation with the column density positive.  The WCS
            is that of the map, `True` in the mask where it has no data, and
            ``meta["explained_variance_ratio"]`` is the share of each in the variance.

        Examples
        --------
        >>> from astrofractal import FractalEncoder, GasMap
        >>> from astrofractal.data import data_path
        >>> gas = GasMap.read(data_path("example_cloud.fits"))
        >>> FractalEncoder().components(gas[:96, :128]).data.shape
        (96, 128, 3)
        """
        return principal_components(self, GasMap.read(gas), n, progress_bar=progress_bar)


def describe_encoder(encoder: FractalEncoder) -> dict[str, str]:
    """Return what identifies an encoder, without its weights."""
    return {
        "model": encoder.model_name,
        "weights_id": encoder.weights_id,
        "fingerprint": encoder.fingerprint(),
    }


def find_encoder(
    identity: dict[str, str],
    path: PathLike,
    encoder: FractalEncoder | None = None,
    *,
    made: str,
    remedy: str,
) -> FractalEncoder:
    """Return the encoder that a file was made with, or raise an error that names the file."""
    # ``made`` and ``remedy`` are for messages: "calibrated" and "calibrate again".
    model, weights = identity["model"], identity["weights_id"]
    wanted = f"{str(path)!r} was {made} with the weights {weights!r} of {model!r}"
    if encoder is None:
        kind, _, seed = weights.partition("-")
        is_random = kind == "random" and seed.isdigit()
        source, random_state = ("random", int(seed)) if is_random else ("bundled", 0)
        try:
            encoder = FractalEncoder(model, weights=source, random_state=random_state)
        except (ValueError, RuntimeError, FileNotFoundError) as error:
            msg = f"{wanted}, which are not bundled: give encoder="
            raise ValueError(msg) from error
    known = [encoder.fingerprint()]
    if getattr(encoder, "precision", "float32") != "float32":
        known.append(encoder.fingerprint(precision="float32"))
    if identity["fingerprint"] not in known:
        msg = f"{wanted}, the encoder is {encoder!r}: give that encoder, or {remedy}"
        raise ValueError(msg)
    return encoder


def _heads(state, path):
    """Return the linear maps that pretraining leaves with the backbone, from its weights."""
    heads = {}
    for name, prefix in HEADS.items():
        if f"{prefix}.weight" not in state:
            continue
        with reading(path, f"the head {prefix!r}"):
            own = {part: state[f"{prefix}.{part}"] for part in ("weight", "bias")}
            n_outputs, n_inputs = own["weight"].shape
            # Without initial weights, which would come from torch's global generator.
            heads[name] = torch.nn.utils.skip_init(torch.nn.Linear, n_inputs, n_outputs)
            heads[name].load_state_dict(own)
    return heads


def _images(maps, n_channels):
    """Return maps as an array of physical channels, of shape (n_maps, n_channels, height, width)."""
    if isinstance(maps, (str, os.PathLike)):
        maps = MapSet.read(maps) if is_map_set(Path(maps)) else GasMap.read(maps)
    if isinstance(maps, MapSet):
        return maps.images[:, :n_channels]
    if isinstance(maps, np.ndarray):
        return maps
    several = maps if type(maps) is list else [maps]
    return np.stack([GasMap.read(gas).to_array()[:n_channels] for gas in several])


def magnify(batch, zoom):
    """Magnify images about their center, by bicubic interpolation."""
    # batch (batch, n_channels, height, width)
    if zoom == 1:
        return batch
    theta = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]) / zoom
    grid = F.affine_grid(theta, (1, *batch.shape[1:]), align_corners=False).to(batch)
    grid = grid.expand(len(batch), -1, -1, -1)
    return F.grid_sample(batch, grid, mode="bicubic", align_corners=False)


def _symmetric_views(batch):
    """Yield a normalized batch under the 8 symmetries of the square and both velocity signs."""
    signed = bool(batch[:, 1:2].any())  # without velocities the sign changes nothing
    sign = torch.ones(batch.shape[1])[:, None, None]
    sign[1:2] = -1  # channel 1 is the line-of-sight velocity, centered on zero
    for mirrored in (batch, batch.flip(-1)):
        for quarter_turns in range(4):
            view = torch.rot90(mirrored, quarter_turns, (-2, -1))
            yield view
            if signed:
                yield view * sign
