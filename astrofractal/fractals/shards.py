"""Flames on disk: files of many images each, and a manifest of their settings."""

import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Literal

import numpy as np

from astrofractal import __version__
from astrofractal._utils.annotations import PathLike, ProgressBar
from astrofractal._utils.atomic import atomic_path, only_writer, remove_dead
from astrofractal._utils.progress import progress, safe_workers
from astrofractal._utils.reading import reading
from astrofractal._utils.validation import one_of, positive_int
from astrofractal.fractals.stream import STREAM_RENDERINGS, FlameStream, Stream

_MANIFEST = "flames.json"

# The layout of the folder, and the version of the generator: the same images for the same number.
_FORMAT = _GENERATOR = 1

# Subtracted before the images are rounded to 16 bits, which are most precise near zero.
_OFFSETS = {"gas": (22.0, 0.0, 0.0), "moments": (0.0, 0.5, 0.0), "palette": (0.5, 0.5, 0.5)}

_SETTINGS = ("seed", "size", "n_points", "rendering", "coverage", "center")


def _read_manifest(folder):
    path = folder / _MANIFEST
    keys = {"n_images", "shard_size", "offset", *_SETTINGS}
    with reading(path):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        is_one = isinstance(manifest, dict) and keys <= manifest.keys()
        if not is_one or manifest.get("format") != _FORMAT:
            msg = f"{str(path)!r} is not a manifest of flames of format {_FORMAT}"
            raise ValueError(msg)
        for name in ("n_images", "shard_size", "size", "n_points"):
            positive_int(name, manifest[name])
        if np.shape(np.asarray(manifest["offset"], float)) != (3,):
            msg = f"offset must be three numbers, got {manifest['offset']!r}"
            raise ValueError(msg)
    return manifest


def _planes(offset):
    """Return the offset of each channel, shaped to be added to images."""
    return np.asarray(offset, np.float32)[:, None, None]


def _path(folder, number):
    return folder / f"flames-{number:06d}.npy"


def _indices(manifest, number):
    """Return the indices of the images of a shard."""
    first = number * manifest["shard_size"]
    return range(first, min(first + manifest["shard_size"], manifest["n_images"]))


def _load(path, size):
    """Return the images of a file, mapped to memory."""
    with reading(path):
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        if images.dtype != "<f2" or images.shape[1:] != (3, size, size):
            msg = f"its images of shape {images.shape[1:]}, {images.dtype}, do not fit the manifest"
            raise ValueError(msg)
        return images


def _unwritten(folder, manifest):
    """Yield the numbers of the shards whose files are missing, cut short or have too few images."""
    for number in range(-(-manifest["n_images"] // manifest["shard_size"])):
        try:
            n_images = len(_load(_path(folder, number), manifest["size"]))
        except (OSError, ValueError):
            n_images = 0
        if n_images < len(_indices(manifest, number)):
            yield number


def _write_shard(path, stream, indices, offset):
    """Render images and write them to a file."""
    images = np.empty((len(indices), 3, stream.size, stream.size), "<f2")
    for image, index in zip(images, indices, strict=True):
        image[...] = stream[index] - _planes(offset)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, images, allow_pickle=False)


def _start(folder, stream, shard_size):
    """Return the manifest to continue: a new one, or that of an interrupted run."""
    wanted = {"format": _FORMAT, "generator": _GENERATOR, "shard_size": shard_size}
    wanted |= {name: getattr(stream, name) for name in _SETTINGS}
    wanted["offset"] = list(_OFFSETS[stream.rendering])
    n_images = len(stream)
    if (folder / _MANIFEST).exists():
        manifest = _read_manifest(folder)
        for name, value in wanted.items():
            if (old := manifest.get(name)) != value:
                msg = f"{name} must be {old!r} to continue the flames in {folder}, got {value!r}"
                raise ValueError(msg)
        if not any(_unwritten(folder, manifest)):
            n_images = max(n_images, manifest["n_images"])
    return {**wanted, "version": __version__, "n_images": n_images}


def write_shards(
    folder: PathLike,
    stream: FlameStream,
    *,
    shard_size: int = 1000,
    n_workers: int = 1,
    progress_bar: ProgressBar = False,
) -> "ShardedFlames":
    """
    Render a stream into a folder of files.

    An interrupted call is resumed by the same call: finished files are kept.  With a longer stream
    of the same settings it adds to the folder; with a shorter one a finished folder stays as it is.

    Parameters
    ----------
    folder : path-like
        The folder; made if it does not exist.
    stream : `FlameStream`
        The images, of which all ``n_images`` are written.
    shard_size : int, optional
        The number of images in a file.
    n_workers : int, optional
        The number of processes.  They are spawned: a script that asks for more than one needs the
        usual ``if __name__ == "__main__":``.
    progress_bar : bool or callable, optional
        Whether to show progress, in files.

    Returns
    -------
    flames : `ShardedFlames`
        The images on disk.

    Raises
    ------
    ValueError
        If the folder has images with other settings.
    BlockingIOError
        If another process is writing to the folder.

    Notes
    -----
    A file is an array of 16-bit floats of shape (n, 3, size, size) in NumPy's format, less the
    ``offset`` of each channel that the manifest ``flames.json`` has.
    """
    folder = Path(folder)
    shard_size = positive_int("shard_size", shard_size)
    n_workers = positive_int("n_workers", n_workers)
    if folder.exists() and not folder.is_dir():
        msg = f"folder must be a folder, got the file {str(folder)!r}"
        raise NotADirectoryError(msg)
    with only_writer(folder):
        manifest = _start(folder, stream, shard_size)
        remove_dead(folder, alone=True)
        with atomic_path(folder / _MANIFEST) as path:
            path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
        todo = [
            (_path(folder, number), stream, _indices(manifest, number), manifest["offset"])
            for number in _unwritten(folder, manifest)
        ]
        done = _render(todo, min(n_workers, len(todo)))
        for _ in progress(done, progress_bar, total=len(todo), desc="shards of flames"):
            pass
    return ShardedFlames(folder)


def _render(todo, n_workers):
    """Write shards in this process or in others; yield after each."""
    if n_workers <= 1:
        for arguments in todo:
            yield _write_shard(*arguments)
        return
    todo[0][1][0]  # compiles the renderer, which the workers then find in the cache
    context = multiprocessing.get_context("spawn")
    with safe_workers(), ProcessPoolExecutor(n_workers, mp_context=context) as pool:
        try:
            futures = [pool.submit(_write_shard, *arguments) for arguments in todo]
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class ShardedFlames(Stream):
    """Images that `write_shards` wrote into a folder, as a map-style dataset of torch."""

    def __init__(self, folder: PathLike) -> None:
        self.folder = Path(folder)
        self.manifest = _read_manifest(self.folder)
        own = {name: self.manifest[name] for name in ("seed", "size", "n_images")}
        super().__init__(**own)
        first = next(_unwritten(self.folder, self.manifest), None)
        if first is not None:
            name = _path(self.folder, first).name
            lacks = f"{str(self.folder)!r} lacks images of {name}"
            msg = f"{lacks}: run the command that wrote it again"
            raise ValueError(msg)

    def _image(self, index):
        number, place = divmod(index, self.manifest["shard_size"])
        # Mapped anew each time, so that a dataset can be pickled and keeps no files open.
        image = _load(_path(self.folder, number), self.size)[place]
        return image.astype(np.float32) + _planes(self.manifest["offset"])


#: How the channels of gas and of moments are colored, and whether about the median.
_MAPS = {"inferno": False, "RdBu_r": True, "viridis": False}

_GAP, _N_COLUMNS = 2, 8


def _grid(tiles):
    """Lay out tiles of shape (size, size, 3) on white."""
    around = ((0, -len(tiles) % _N_COLUMNS), (0, _GAP), (0, _GAP), (0, 0))
    tiles = np.pad(np.asarray(tiles)[:, ::-1], around, constant_values=1.0)
    tiles = tiles.reshape(-1, _N_COLUMNS, *tiles.shape[1:]).swapaxes(1, 2)
    sheet = tiles.reshape(tiles.shape[0] * tiles.shape[1], -1, 3)
    return np.pad(sheet, ((_GAP, 0), (_GAP, 0), (0, 0)), constant_values=1.0)


def _stretch(channel, cmap, *, symmetric):
    """Color a channel between its extreme percentiles."""
    low, high = np.percentile(channel, [0.5, 99.5])
    if symmetric:
        middle = np.median(channel)
        half = max(high - middle, middle - low)
        low, high = middle - half, middle + half
    return cmap(np.clip((channel - low) / max(high - low, 1e-6), 0, 1))[..., :3]


def write_contact_sheet(
    images: Sequence[np.ndarray],
    path: PathLike,
    *,
    rendering: Literal["gas", "moments", "palette"] = "gas",
) -> None:
    """
    Write many flames as one PNG, eight in a row.

    Parameters
    ----------
    images : sequence of 3D `~numpy.ndarray`
        Images of shape (3, size, size).
    path : path-like
        The file to write.
    rendering : {"gas", "moments", "palette"}, optional
        The channels of ``"palette"`` are colors; those of the others are shown side by side, each
        image between its own extremes.
    """
    from matplotlib import colormaps
    from matplotlib.image import imsave

    one_of("rendering", rendering, STREAM_RENDERINGS)
    if not len(images):
        msg = "images must not be empty"
        raise ValueError(msg)
    if rendering == "palette":
        sheets = [[np.moveaxis(image, 0, -1) for image in images]]
    else:
        sheets = [
            [_stretch(image[k], colormaps[name], symmetric=symmetric) for image in images]
            for k, (name, symmetric) in enumerate(_MAPS.items())
        ]
    with atomic_path(path) as temporary:
        imsave(temporary, np.concatenate([_grid(tiles) for tiles in sheets], axis=1), format="png")
