"""Fractal flames and random fields: systems, renderer, the deterministic streams of images, shards."""

from astrofractal._utils.optional import require

require("numba", extra="pretrain")

from astrofractal.fractals.gas import GasAmplitude, as_gas, draw_amplitude  # noqa: E402
from astrofractal.fractals.protostars import Protostar, add_protostars  # noqa: E402
from astrofractal.fractals.renderer import frame_system, render  # noqa: E402
from astrofractal.fractals.shards import ShardedFlames, write_contact_sheet, write_shards  # noqa: E402
from astrofractal.fractals.stream import FlameStream, RandomFieldStream  # noqa: E402
from astrofractal.fractals.systems import VARIATIONS, FlameSystem, random_system  # noqa: E402

__all__ = [
    "VARIATIONS",
    "FlameStream",
    "FlameSystem",
    "GasAmplitude",
    "Protostar",
    "RandomFieldStream",
    "ShardedFlames",
    "add_protostars",
    "as_gas",
    "draw_amplitude",
    "frame_system",
    "random_system",
    "render",
    "write_contact_sheet",
    "write_shards",
]
