"""
A map of gas
============

**Question:** What does the package make of a FITS file?

**Answer:** A `~astrofractal.gasmap.GasMap`: three channels with units, WCS, distance and mask,
from which cutouts of 0.5 pc are taken.

The file is the bundled example, a simulated cloud that was put at 300 pc.
"""

from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from astrofractal import GasMap
from astrofractal.data import data_path

path = data_path("example_cloud.fits")
gas = GasMap.read(path, distance=300 * u.pc)
gas

# %%
# The three channels on the sky:

_ = gas.plot()

# %%
# The cloud is simulated, so its protostars and their masses are known:

sinks = QTable.read(path, hdu="SINKS")
sinks["mass"].info.format = ".2f"
sinks["ra", "dec", "mass"]

# %%
# A cutout is 0.5 pc wide on 64 × 64 pixels, whatever the pixels of the map are. It is resampled
# through the WCS and the distance. `~astrofractal.gasmap.GasMap.to_array` returns the input of
# the network: log N, velocity and velocity dispersion of each pixel.

position = SkyCoord(sinks["ra"][0], sinks["dec"][0])
cutout = gas.cutout(position, size=0.5 * u.pc, shape=(64, 64))
print(cutout.to_array().shape)

_ = cutout.plot()
