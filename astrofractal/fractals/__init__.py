"""Fractal flames: random systems, their renderer, the deterministic stream of images, shards."""

from astrofractal.fractals.gas import GasAmplitude, as_gas, draw_amplitude
from astrofractal.fractals.renderer import render
from astrofractal.fractals.stream import FlameStream
from astrofractal.fractals.systems import VARIATIONS, FlameSystem, random_system

__all__ = [
    "VARIATIONS",
    "FlameStream",
    "FlameSystem",
    "GasAmplitude",
    "as_gas",
    "draw_amplitude",
    "random_system",
    "render",
]
