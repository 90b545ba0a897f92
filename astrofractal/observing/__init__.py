"""Making a simulated map look observed: distance, beam, pixels, noise, footprint."""

from .beam import beam_kernel
from .images import observe_images
from .maps import observe

__all__ = ["beam_kernel", "observe", "observe_images"]
