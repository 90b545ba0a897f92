"""Files of a segmentation."""

import warnings
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

import astrofractal
from astrofractal._utils.atomic import atomic_path
from astrofractal._utils.identity import fields_of, read_archive, write_archive
from astrofractal._utils.limits import open_bounded
from astrofractal._utils.reading import reading
from astrofractal._utils.tables import read_table
from astrofractal.gasmap import GasMap
from astrofractal.segmentation.model import SegmentModel

_NAMES = {
    "labels": "labels.fits",
    "components": "components.fits",
    "map": "map.fits",
    "regions": "regions.reg",
    "regions_crtf": "regions.crtf",
    "segments": "segments.ecsv",
    "islands": "islands.ecsv",
    "correlations": "correlations.ecsv",
    "overview": "overview.png",
}


def write_segmentation(result, directory, *, overwrite):
    """Write a segmentation: all files or none."""
    directory = Path(directory)
    if directory.exists() and not directory.is_dir():
        msg = f"directory must be a folder, {str(directory)!r} is a file"
        raise NotADirectoryError(msg)
    names = dict(_NAMES)
    if result.gas.wcs is None:
        del names["regions_crtf"]
    is_new = not directory.exists()
    try:
        with ExitStack() as stack:
            paths = {
                key: stack.enter_context(atomic_path(directory / name, overwrite=overwrite))
                for key, name in names.items()
            }
            _write_images(result, paths)
            result.gas.write(paths["map"])
            _write_regions(result, paths)
            segments = result.table.copy()
            segments.meta["segmentation"] = result.meta
            for key, table in (
                ("segments", segments),
                ("islands", result.island_table),
                ("correlations", result.correlations),
            ):
                table.write(paths[key], format="ascii.ecsv")
            _write_picture(result, paths["overview"])
    except BaseException:
        if is_new and directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()
        raise
    return {key: directory / name for key, name in names.items()}


def _header(result):
    """Header of an image, and the extensions that hold its WCS's tables of distortion."""
    header, tables = fits.Header(), []
    if result.gas.wcs is not None:
        primary, *tables = result.gas.wcs.to_fits(relax=True)
        header = primary.header.copy(strip=True)
    header["CREATOR"] = f"astrofractal {astrofractal.__version__}"
    header["WEIGHTS"] = (str(result.meta.get("weights_id", "")), "encoder weights")
    header["NSEGMENT"] = (result.n_segments, "number of segments")
    if result.gas.distance is not None:
        header["DISTANCE"] = (float(result.gas.distance.to_value("pc")), "[pc]")
    return header, tables


def _write_images(result, paths):
    header, tables = _header(result)
    files = {
        "labels": {"LABELS": result.labels.data, "ISLANDS": result.islands.data},
        "components": {
            "COMPONENTS": result.components.data,
            "RGB": np.moveaxis(result.rgb.data, -1, 0),
        },
    }
    for key, images in files.items():
        hdus = [fits.ImageHDU(values, header, name=name) for name, values in images.items()]
        hdus += [table.copy() for table in tables]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(paths[key])


def _write_regions(result, paths):
    """Write the outlines; `regions` would transform each vertex by itself, minutes for many islands."""
    is_sky = result.gas.wcs is not None
    lines = ["# Region file format: DS9 astropy/regions", "icrs" if is_sky else "image"]
    crtf = ["#CRTFv0", "global coord=ICRS"]
    for region in result.regions:
        if not is_sky:  # DS9 counts pixels from 1
            vertices = np.stack([region.vertices.x, region.vertices.y], axis=1) + 1
        else:
            icrs = region.vertices.icrs
            vertices = np.stack([icrs.ra.deg, icrs.dec.deg], axis=1)
        text, color = region.meta["text"], region.visual["color"]
        numbers = ",".join(f"{value:.9f}" for value in vertices.ravel().tolist())
        lines.append(f"polygon({numbers}) # text={{{text}}} color={color}")
        pairs = ", ".join(f"[{x:.9f}deg, {y:.9f}deg]" for x, y in vertices.tolist())
        crtf.append(f"poly[{pairs}], label='{text}', color={color}")
    paths["regions"].write_text("\n".join([*lines, ""]), encoding="ascii")
    if is_sky:
        paths["regions_crtf"].write_text("\n".join([*crtf, ""]), encoding="ascii")


def _write_picture(result, path):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 6), layout="constrained")
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        result.plot(figure=figure)
        figure.savefig(path, dpi=150)


def read_segmentation(directory):
    """Return the arguments of a `Segmentation` that was written into a folder."""
    directory = Path(directory)
    paths = {key: directory / name for key, name in _NAMES.items()}
    for key in ("labels", "components", "map", "segments"):
        if not paths[key].is_file():
            msg = f"{str(directory)!r} is no folder of a segmentation: it lacks {_NAMES[key]!r}"
            raise FileNotFoundError(msg)
    gas = GasMap.read(paths["map"])
    table = read_table(paths["segments"], cls=QTable)
    (labels,), n_segments = _read_images(paths["labels"], np.int32, "LABELS")
    (components, rgb), _ = _read_images(paths["components"], np.float32, "COMPONENTS", "RGB")
    rgb = np.moveaxis(rgb, 0, -1)
    if not labels.shape == gas.shape == components.shape[1:] == rgb.shape[:2]:
        msg = f"{str(directory)!r}: labels and map differ in shape, they are of different maps"
        raise ValueError(msg)
    stability = None
    if "stability" in table.colnames:
        stability = np.full(n_segments, np.nan)
        stability[np.asarray(table["label"]) - 1] = table["stability"]
    return {
        "gas": gas,
        "labels": labels,
        "components": components,
        "rgb": rgb,
        "n_segments": n_segments,
        "stability": stability,
        "meta": table.meta.get("segmentation"),
    }


def _read_images(path, dtype, *names):
    """Return images of a file, and the number of segments."""
    with reading(path), open_bounded(path) as file, fits.open(file) as hdus:
        images = [hdus[name].data.astype(dtype) for name in names]
        return images, int(hdus[names[0]].header["NSEGMENT"])


_VERSION = "segmenter-3"


def write_segmenter(options, encoder, model, path, *, overwrite):
    """Write a fitted segmenter."""
    from astrofractal.encoder import describe_encoder

    plain = {
        name: {"value": value.value, "unit": value.unit.to_string()}
        if isinstance(value, u.Quantity)
        else getattr(value, "item", lambda value=value: value)()
        for name, value in options.items()
    }
    card = {"options": plain, "encoder": describe_encoder(encoder)}
    write_archive(path, fields_of(model), card, version=_VERSION, overwrite=overwrite)


def read_segmenter(path, encoder=None):
    """Read a fitted segmenter."""
    from astrofractal.encoder import find_encoder

    arrays, card = read_archive(path, version=_VERSION, what="a segmenter", remedy="fit it again")
    with reading(path):
        options = {
            name: value["value"] * u.Unit(value["unit"]) if isinstance(value, dict) else value
            for name, value in card["options"].items()
        }
        options["encoder"] = find_encoder(
            card["encoder"], path, encoder, made="fitted", remedy="fit again"
        )
        return options, SegmentModel(**arrays)
