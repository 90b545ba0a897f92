"""Making a simulated map look observed: distance, beam, pixels, noise, footprint."""

from astrofractal.observing.beam import beam_kernel
from astrofractal.observing.telescope import Telescope

__all__ = ["Telescope", "beam_kernel"]
