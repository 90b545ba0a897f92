"""Real maps, as found in the wild, and simulated clouds."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from sklearn.metrics import adjusted_rand_score

from astrofractal import FeatureSegmenter, GasMap
from astrofractal.gasmap import Abundance, Extinction
from tests.factories import make_wcs

REAL = {
    "L1688": lambda folder: GasMap.read(
        folder / "droplets_L1688_N_NH3.fits",
        folder / "droplets_L1688_Vlsr.fits",
        folder / "droplets_L1688_Sigma.fits",
        unit="dex(cm-2)", no_data=0, column=Abundance(1e-8), distance=138 * u.pc,
    ),
    "PerA": lambda folder: GasMap.read(
        folder / "astrodendro_PerA_Extn2MASS_F_Gal.fits", unit="mag",
        column=Extinction(9.4e20 / u.cm**2 / u.mag), distance=300 * u.pc,
    )[20:80, 30:90],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.filterwarnings("ignore::astrofractal.exceptions.AstrofractalWarning")
@pytest.mark.parametrize("name", REAL)
def test_regions_of_real_maps_are_where_the_gas_is(shared_data, encoder, name):
    gas = REAL[name](shared_data / "real")
    result = FeatureSegmenter(4, encoder=encoder).segment(gas)
    labels = result.labels.data
    assert not labels[gas.mask].any()
    column = gas.column_density.value
    level = u.Quantity(result.meta["background"]).to_value(u.cm**-2)
    assert (labels[column > level] > 0).mean() > 0.8
    assert np.nanmean(column[labels == 4]) > 1.5 * np.nanmean(column[labels == 1])
    densest = np.unravel_index(np.nanargmax(np.where(labels > 0, column, np.nan)), gas.shape)
    sky = gas.wcs.pixel_to_world(densest[1], densest[0])
    containing = [region for region in result.regions if region.contains(sky, gas.wcs)]
    assert len(containing) == 1
    assert containing[0].meta["text"].startswith(f"segment {labels[densest]} ")


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
def test_tables_of_distortion_are_written(shared_data, encoder, tmp_path):
    with fits.open(shared_data / "real" / "reproject_image_with_distortion_map.fits") as hdus:
        header, shape = hdus[0].header, hdus[0].data.shape
        header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 52, "CRVAL2": 31})
        header.update({"CDELT1": -0.0015, "CDELT2": 0.0015, "LATPOLE": 31})
        wcs = WCS(header, hdus)
    column = 10 ** np.random.default_rng(0).normal(22, 0.3, shape)
    result = FeatureSegmenter(2, background=None, encoder=encoder).segment(
        GasMap(column / u.cm**2, wcs=wcs)
    )
    paths = result.write(tmp_path / "out")
    assert result.components.data.shape[1:] == shape
    with fits.open(paths["labels"]) as hdus:
        back = WCS(hdus["LABELS"].header, hdus)
    pixels = [3.0, 50.0], [7.0, 40.0]
    np.testing.assert_allclose(
        back.all_pix2world(*pixels, 0), wcs.all_pix2world(*pixels, 0), rtol=0, atol=1e-9
    )


def test_halves_of_a_simulated_cloud(shared_data, encoder):
    gas = GasMap.read(shared_data / "fields" / "cloud04_z.fits")
    fitted = FeatureSegmenter(5, encoder=encoder).fit(gas)
    whole = fitted.segment(gas).labels.data
    lower = fitted.segment(gas[:, :190]).labels.data
    upper = fitted.segment(gas[:, 130:]).labels.data
    assert (lower[:, :128] == whole[:, :128]).mean() > 0.99
    assert (upper[:, 62:] == whole[:, 192:]).mean() > 0.99


@pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")
@pytest.mark.filterwarnings("ignore::astrofractal.exceptions.AstrofractalWarning")
def test_segments_of_a_real_map_stay_where_the_gas_stays(shared_data):
    """The middle of NGC 1333 turned by 90 degrees, its first rows cut off, with other windows."""
    gas = GasMap.read(shared_data / "real" / "ngc1333_SE_H2.fits", distance=293 * u.pc)
    gas = gas[109:328, 96:290]
    labels = FeatureSegmenter().segment(gas).labels.data[8:]
    column = np.rot90(gas.column_density[8:])
    step = np.sqrt(gas.pixel_solid_angle.to_value(u.deg**2))
    wcs = make_wcs(column.shape, step=step)
    turned = GasMap(column, wcs=wcs, beam=gas.beam, distance=gas.distance)
    other = np.rot90(FeatureSegmenter(random_state=5).segment(turned).labels.data, -1)
    both = (labels > 0) & (other > 0)
    assert both.sum() > 0.95 * (labels > 0).sum()
    assert adjusted_rand_score(labels[both], other[both]) > 0.8
