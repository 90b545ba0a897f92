"""The map itself: what it takes, what it refuses, what it gives."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import (
    CCDData,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS
from radio_beam import Beam

from astrofractal import GasMap
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.gasmap import H2_MEAN_MOLECULAR_WEIGHT, column_to_mass
from tests.factories import make_column, make_gas, make_wcs

HYDROGEN = 1.6735328e-24 * u.g


def test_units_are_converted():
    number = np.full((4, 5), 1e22)
    mass = (number / u.cm**2 * H2_MEAN_MOLECULAR_WEIGHT * HYDROGEN).to(u.g / u.cm**2)
    for quantity in (number / u.cm**2, mass, mass.to(u.Msun / u.pc**2), number * 1e4 / u.m**2):
        gas = GasMap(quantity, np.full((4, 5), 300.0) * u.m / u.s)
        assert gas.column_density.unit == u.cm**-2
        np.testing.assert_allclose(gas.column_density.value, 1e22, rtol=1e-5)
        np.testing.assert_allclose(gas.velocity.to_value(u.km / u.s), 0.3, rtol=1e-6)


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f4", "f2", ">i2", "i4", "u2"])
def test_number_types(dtype):
    gas = GasMap(np.arange(1, 13).reshape(3, 4).astype(dtype) * (u.Msun / u.pc**2))
    assert gas.column_density.dtype == np.dtype("=f8")
    assert np.isfinite(gas.column_density.std())  # which single precision does not hold
    assert gas.to_array().dtype == np.dtype("=f4")
    assert gas.column_density.value[2, 3] == pytest.approx(12 * 4.458e19, rel=1e-3)


def test_nan_inf_and_nonpositive_are_masked():
    column = np.array([[1e21, np.nan, np.inf], [0.0, -1e21, 2e21]])
    velocity = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, np.inf]])
    gas = GasMap(column / u.cm**2, velocity * u.km / u.s, -np.ones((2, 3)) * u.km / u.s)
    np.testing.assert_array_equal(gas.mask, [[0, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(np.isnan(gas.column_density.value), gas.mask)
    np.testing.assert_array_equal(np.isfinite(gas.velocity.value), [[1, 0, 0], [0, 0, 0]])
    assert np.isnan(gas.dispersion.value).all()  # a negative dispersion is none


def test_masks_are_joined():
    data = NDData(np.full((2, 3), 1e21), unit="cm-2", mask=[[1, 0, 0], [0, 0, 0]])
    extra = np.zeros((2, 3), bool)
    extra[1, 2] = True
    gas = GasMap(data, mask=extra)
    assert gas.mask[0, 0]
    assert gas.mask[1, 2]
    assert gas.mask.sum() == 2


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty])
def test_uncertainties_are_carried(kind):
    array = np.full((2, 3), 4e40 if kind is VarianceUncertainty else 2e20)
    data = CCDData(np.full((2, 3), 1e21), unit="cm-2", uncertainty=kind(array))
    velocity = NDData(
        np.ones((2, 3)), unit="m/s", uncertainty=StdDevUncertainty(np.full((2, 3), 5))
    )
    gas = GasMap(data, velocity)
    np.testing.assert_allclose(gas.column_density_uncertainty.to_value(u.cm**-2), 2e20, rtol=1e-6)
    np.testing.assert_allclose(gas.velocity_uncertainty.to_value(u.m / u.s), 5)
    assert gas.dispersion_uncertainty is None


def test_unknown_uncertainty_is_dropped_with_a_warning():
    data = NDData(
        np.full((2, 3), 1e21), unit="cm-2", uncertainty=UnknownUncertainty(np.ones((2, 3)))
    )
    with pytest.warns(AstrofractalWarning, match="column_density has an uncertainty"):
        assert GasMap(data).column_density_uncertainty is None


def test_uncertainty_of_a_logarithm():
    data = NDData(
        np.full((2, 3), 22.0),
        unit=u.dex(u.cm**-2),
        uncertainty=StdDevUncertainty(np.full((2, 3), 0.1)),
    )
    gas = GasMap(data)
    np.testing.assert_allclose(gas.column_density.value, 1e22, rtol=1e-5)
    expected = 0.1 * np.log(10) * 1e22
    np.testing.assert_allclose(gas.column_density_uncertainty.value, expected, rtol=1e-5)


def test_degenerate_axes_are_dropped():
    gas = GasMap(np.full((1, 1, 3, 4), 1e21) / u.cm**2, np.ones((1, 3, 4)) * u.km / u.s)
    assert gas.shape == (3, 4)
    assert gas.velocity.shape == (3, 4)


@pytest.mark.parametrize(
    ("shape", "match"),
    [
        ((5,), r"column_density must be a 2D map, got 1D data of shape \(5,\)"),
        ((2, 2, 3, 4), r"column_density must be a 2D map, got 4D data of shape \(2, 2, 3, 4\)"),
        ((0, 4), "2D map"),
    ],
)
def test_wrong_dimensions(shape, match):
    with pytest.raises(ValueError, match=match):
        GasMap(np.full(shape, 1e21) / u.cm**2)


def test_errors_name_parameter_and_value(numbers):
    column, velocity, _ = numbers
    column = column / u.cm**2
    with pytest.raises(u.UnitConversionError, match="column_density must be a column density.*'K'"):
        GasMap(numbers[0] * u.K)
    with pytest.raises(u.UnitsError, match="velocity must be a velocity.*'cm'"):
        GasMap(column, velocity * u.cm)
    with pytest.raises(u.UnitsError, match="dispersion.*dispersion_kind=.variance"):
        GasMap(column, None, velocity * u.km**2 / u.s**2)
    with pytest.raises(TypeError, match="column_density has no unit.*ndarray"):
        GasMap(numbers[0])
    with pytest.raises(ValueError, match="column_density has no unit; .*unit="):
        GasMap(NDData(numbers[0]))
    with pytest.raises(ValueError, match=r"velocity has shape \(3, 3\), column_density has"):
        GasMap(column, np.ones((3, 3)) * u.km / u.s)
    with pytest.raises(ValueError, match="no finite positive value"):
        GasMap(np.full((3, 3), np.nan) / u.cm**2)
    with pytest.raises(ValueError, match="mask must be a boolean array of shape"):
        GasMap(column, mask=np.zeros((2, 2), bool))
    with pytest.raises(u.UnitsError, match="distance must be a length.*300.*s"):
        GasMap(column, distance=300 * u.s)
    with pytest.raises(TypeError, match="distance must be a Quantity.*300"):
        GasMap(column, distance=300)
    with pytest.raises(ValueError, match="distance must be one positive.*-3"):
        GasMap(column, distance=-3 * u.pc)
    with pytest.raises(u.UnitsError, match="beam must be an angle"):
        GasMap(column, beam=3 * u.pc)
    with pytest.raises(TypeError, match="real numbers.*complex"):
        GasMap(numbers[0].astype(complex) / u.cm**2)


def test_logarithm_is_suspected():
    values = np.linspace(20.5, 23, 12).reshape(3, 4)
    with pytest.raises(ValueError, match=r"between 20.5 and 23, which looks like log10.*unit=.dex"):
        GasMap(values / u.cm**2)
    gas = GasMap(u.Dex(values, u.dex(u.cm**-2)))
    np.testing.assert_allclose(np.log10(gas.column_density.value), values, rtol=1e-6)


def test_wcs_without_sky_is_refused(numbers):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["OFFSET", "VRAD"]
    with pytest.raises(ValueError, match="wcs is a position-velocity diagram"):
        GasMap(numbers[0] / u.cm**2, wcs=wcs)
    with pytest.raises(ValueError, match="wcs has no celestial WCS"):
        GasMap(numbers[0] / u.cm**2, wcs=WCS(naxis=2))


def test_to_array(gas, numbers):
    array = gas.to_array()
    column, velocity, dispersion = numbers
    np.testing.assert_allclose(array[0], np.log10(column), rtol=1e-6)
    mean = (column * velocity).sum() / column.sum()
    np.testing.assert_allclose(array[1], velocity - mean, atol=1e-6)
    np.testing.assert_allclose(array[2], dispersion, rtol=1e-6)
    array[:] = 0  # a fresh array
    assert gas.to_array().any()
    np.testing.assert_allclose(gas.velocity.value, velocity, rtol=1e-6)


def test_absent_channels_are_nan(numbers):
    gas = GasMap(numbers[0] / u.cm**2)
    assert gas.channels == ("column_density",)
    assert np.isnan(gas.to_array()[1:]).all()


def test_slices_keep_the_sky(gas):
    part = gas[10:40, 20:]
    assert part.shape == (30, 80)
    expected = gas.to_sky(25, 17)
    assert part.to_sky(5, 7).separation(expected).arcsec < 1e-6
    assert part.distance == gas.distance
    np.testing.assert_array_equal(part.velocity, gas.velocity[10:40, 20:])
    for bad in (3, (slice(0, 4, 2),), (slice(5, 5), slice(None))):
        with pytest.raises(IndexError):
            gas[bad]


def test_scale_and_mass(gas, numbers):
    side = (0.001 * u.deg).to_value(u.rad) * 300 * u.pc
    assert gas.pixel_scale.to_value(u.pc) == pytest.approx(side.value, rel=1e-6)
    assert gas.pixel_area.to_value(u.pc**2) == pytest.approx(side.value**2, rel=1e-6)
    expected = (numbers[0].sum() / u.cm**2 * side**2 * 2.8 * HYDROGEN).to_value(u.Msun)
    assert gas.mass.to_value(u.Msun) == pytest.approx(expected, rel=1e-5)
    total = column_to_mass(gas.column_density, gas.pixel_area).sum()
    assert total.to_value(u.Msun) == pytest.approx(expected, rel=1e-3)


def test_scale_needs_wcs_and_distance(numbers, wcs):
    column = numbers[0] / u.cm**2
    with pytest.raises(ValueError, match="pixel_area needs a WCS"):
        _ = GasMap(column, distance=300 * u.pc).pixel_scale
    with pytest.raises(ValueError, match="pixel_area needs the distance.*distance="):
        _ = GasMap(column, wcs=wcs).pixel_scale
    assert GasMap(column, pixel_scale=0.01 * u.pc).pixel_scale == 0.01 * u.pc
    with pytest.raises(u.UnitsError, match="pixel_scale"):
        GasMap(column, pixel_scale=0.01 * u.s)
    with pytest.raises(ValueError, match="pixel_scale is 0.01 pc, but WCS and distance give"):
        GasMap(column, wcs=wcs, distance=300 * u.pc, pixel_scale=0.01 * u.pc)
    assert not GasMap(column, wcs=wcs).has_pixel_scale
    assert GasMap(column, pixel_scale=0.01 * u.pc).meta == {}


def test_replaced_parts(gas):
    near = gas.replace(distance=140 * u.pc, beam=18 * u.arcsec, flags=["edge"])
    assert near.distance == 140 * u.pc
    assert near.beam == Beam(18 * u.arcsec)
    assert near.flags == ("edge",)
    assert gas.flags == ()
    assert near.pixel_scale.value == pytest.approx(gas.pixel_scale.value * 140 / 300)
    scaled = gas.replace(wcs=None, pixel_scale=0.01 * u.pc)
    assert scaled.pixel_scale == 0.01 * u.pc
    assert scaled.replace(wcs=gas.wcs).pixel_scale == gas.pixel_scale
    assert gas.replace(pixel_scale=gas.pixel_scale).pixel_scale == gas.pixel_scale
    for refused in (gas.replace, lambda **scale: GasMap.read(gas, **scale)):
        with pytest.raises(ValueError, match="pixel_scale is 1.0 pc, but WCS and distance give"):
            refused(pixel_scale=1 * u.pc)
    bare = gas.replace(velocity=None, dispersion=None)
    assert bare.channels == ("column_density",)
    empty = gas.replace(column_density=gas.column_density * np.nan)
    assert empty.masked_fraction == 1
    with pytest.raises(TypeError, match="no 'distanz'"):
        gas.replace(distanz=3 * u.pc)
    with pytest.raises(ValueError, match="must have one shape"):
        gas.replace(velocity=gas.velocity[:3])
    with pytest.raises(ValueError, match="flags must be one of .* 'bad'"):
        gas.replace(flags=["bad"])
    with pytest.raises(u.UnitConversionError, match="velocity must be a velocity"):
        gas.replace(velocity=gas.velocity * u.s)


@pytest.mark.parametrize(
    "change",
    [
        lambda gas: {"column_density": gas.column_density * 1.0000001},
        lambda gas: {"velocity": None},
        lambda gas: {"dispersion_uncertainty": gas.dispersion * 0.1},
        lambda gas: {"wcs": None, "pixel_scale": gas.pixel_scale},
        lambda gas: {"distance": 301 * u.pc},
        lambda gas: {"beam": 18 * u.arcsec},
        lambda gas: {"flags": ("masked",)},
    ],
)
def test_fingerprint_is_of_the_content(gas, change):
    assert gas.replace(meta={"note": "not content"}).fingerprint() == gas.fingerprint()
    assert gas.replace(**change(gas)).fingerprint() != gas.fingerprint()


def test_channels_as_nddata(gas):
    gas = gas.replace(column_density_uncertainty=gas.column_density / 10, meta={"a": 1})
    data = gas.to_nddata()
    assert dict(data.meta) == {"A": 1, "DISTANCE": gas.distance.value}
    again = GasMap(
        data, gas.to_nddata("velocity"), gas.to_nddata("dispersion"), distance=gas.distance
    )
    assert again.fingerprint() == gas.fingerprint()
    with pytest.raises(ValueError, match="channel must be one of 'column_density', got 'velocity'"):
        gas.replace(velocity=None, dispersion=None).to_nddata("velocity")


def test_data_cannot_be_changed_by_accident(gas):
    with pytest.raises(ValueError, match="read-only"):
        gas.column_density[0, 0] = 1 / u.cm**2


def test_repr(gas, numbers):
    assert repr(gas).startswith("<GasMap 80 x 100 px, column_density + velocity + dispersion,")
    assert "no WCS" in repr(GasMap(numbers[0] / u.cm**2))


def test_column_to_mass_refuses_wrong_units():
    with pytest.raises(u.UnitsError, match="column_density"):
        column_to_mass(3 * u.K, 1 * u.pc**2)


def test_a_wcs_that_does_not_reach_the_map():
    wcs = make_wcs((20, 20), ctype=("RA---SIN", "DEC--SIN"))
    wcs.wcs.crpix = [1e9, 1e9]
    gas = make_gas(make_column((20, 20)), wcs=wcs)
    assert not gas.has_pixel_scale
    assert repr(gas) == "<GasMap 20 x 20 px, column_density, at 300 pc>"
    with pytest.raises(ValueError, match="does not reach the center"):
        _ = gas.pixel_scale


def test_a_picture_of_what_is_not_there_is_refused():
    gas = make_gas(make_column((8, 9)), beam=20 * u.arcsec)
    with pytest.raises(ValueError, match="channel must be one of 'column_density', got 'velocity'"):
        gas.plot("velocity")
    with pytest.raises(ValueError, match="cmap and norm are those of one channel"):
        gas.plot(cmap="gray")
