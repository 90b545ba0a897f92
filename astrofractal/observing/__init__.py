"""Making a simulated map look observed: distance, beam, pixels, noise, footprint."""

from astrofractal.observing.beam import beam_kernel
from astrofractal.observing.telescope import observe, observe_images

__all__ = ["beam_kernel", "observe", "observe_images"]
