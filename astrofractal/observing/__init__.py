"""Making a simulated map look observed: distance, beam, pixels, noise, footprint."""

from astrofractal.observing.beam import beam_kernel
from astrofractal.observing.images import observe_images
from astrofractal.observing.observation import observe

__all__ = ["beam_kernel", "observe", "observe_images"]
