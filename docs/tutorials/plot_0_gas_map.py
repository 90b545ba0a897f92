"""
A map of gas
============

Everything begins with a `~astrofractal.gasmap.GasMap`. Here: the bundled example cloud, a
simulated cloud put at 300 pc, and a cutout around one of its protostars as the network sees it.
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
# The three channels, on the sky.

gas.plot()

# %%
# Its protostars are known, because the cloud is simulated.

sinks = QTable.read(path, hdu="SINKS")
sinks["mass"].info.format = ".2f"
sinks["ra", "dec", "mass"]

# %%
# A cutout is 0.5 pc wide on 64 × 64 pixels whatever the map's own pixels are: it is resampled
# through the coordinate system and the distance. `~astrofractal.gasmap.GasMap.to_array` gives the three
# numbers of each pixel that the network is shown.

position = SkyCoord(sinks["ra"][0], sinks["dec"][0])
cutout = gas.cutout(position, size=0.5 * u.pc, shape=(64, 64))
channels = cutout.to_array()
print(channels.shape, channels.dtype)

cutout.plot()
