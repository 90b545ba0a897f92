"""Making a simulated map look observed: distance, beam, pixels, noise, footprint."""

from astrofractal.observing.telescope import Telescope

__all__ = ["Telescope"]
