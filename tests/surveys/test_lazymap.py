"""Lazy maps read what `GasMap.read` reads."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import NDData, StdDevUncertainty, VarianceUncertainty
from radio_beam import Beam

from astrofractal.surveys import LazyMap, write_zarr
from tests.factories import make_column, make_gas

PART = (slice(2, 20), slice(5, 30))


def test_units_are_those_of_nddata():
    gas = LazyMap(NDData(np.full((20, 30), 5e25), unit="m-2")).read(*PART)
    np.testing.assert_allclose(gas.column_density.value, 5e21)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"distance": -5 * u.pc}, ValueError, "distance must be one positive"),
        ({"distance": 5}, TypeError, "distance must be a Quantity"),
        ({"beam": 5 * u.pc}, u.UnitsError, "beam must be an angle"),
    ],
)
def test_wrong_options(options, error, match):
    with pytest.raises(error, match=match):
        LazyMap(np.full((20, 30), 1e22), **options)


def test_a_written_group_is_the_map(tmp_path):
    pytest.importorskip("zarr")
    gas = make_gas(
        make_column((20, 30), [(15, 10, 1e22, 4)]),
        np.ones((20, 30)),
        beam=Beam(20 * u.arcsec, 12 * u.arcsec, 30 * u.deg),
    )
    gas = gas.replace(column_density_uncertainty=gas.column_density / 8)
    write_zarr(gas, tmp_path / "gas.zarr")
    part = LazyMap.open_zarr(tmp_path / "gas.zarr").read(*PART)
    expected = gas[PART]
    assert part.beam == gas.beam
    assert part.distance == gas.distance
    for name in ("column_density", "velocity", "column_density_uncertainty"):
        np.testing.assert_allclose(getattr(part, name), getattr(expected, name), rtol=1e-6)
    assert part.to_sky(0, 0).separation(expected.to_sky(0, 0)).arcsec < 1e-6
    bare = gas.replace(wcs=None, distance=None, pixel_scale=0.02 * u.pc)
    write_zarr(bare, tmp_path / "bare.zarr")
    near = bare.replace(wcs=gas.wcs, distance=None)
    write_zarr(near, tmp_path / "near.zarr")
    near = LazyMap.open_zarr(tmp_path / "near.zarr", distance=140 * u.pc).read(*PART)
    assert near.pixel_scale == gas.replace(distance=140 * u.pc)[PART].pixel_scale
    assert LazyMap.open_zarr(tmp_path / "bare.zarr").read(*PART).pixel_scale == 0.02 * u.pc


@pytest.mark.parametrize(
    "uncertainty",
    [
        StdDevUncertainty(np.full((20, 30), 100.0), unit="m/s"),
        VarianceUncertainty(np.full((20, 30), 0.01)),
        VarianceUncertainty(np.full((20, 30), 1e4), unit="m2/s2"),
    ],
)
def test_uncertainties_have_units(uncertainty):
    velocity = NDData(np.ones((20, 30)), unit="km/s", uncertainty=uncertainty)
    part = LazyMap(np.full((20, 30), 1e22), velocity).read(*PART)
    np.testing.assert_allclose(part.velocity_uncertainty.to_value(u.km / u.s), 0.1, rtol=1e-6)


def test_what_contradicts_is_refused():
    data = NDData(np.full((20, 30), 1e22), unit="cm-2")
    gas = make_gas(data.data)
    lazy = LazyMap(data, wcs=gas.wcs, distance=gas.distance, pixel_scale=1 * u.pc)
    with pytest.raises(ValueError, match="pixel_scale is 1.0 pc, but WCS and distance give"):
        lazy.read(*PART)


def test_uncertainties_of_nddata_are_kept():
    data = NDData(
        np.full((20, 30), 1e22), unit="cm-2", uncertainty=StdDevUncertainty(np.full((20, 30), 1e20))
    )
    part = LazyMap(data, beam=18 * u.arcsec).read(*PART)
    np.testing.assert_allclose(part.column_density_uncertainty.value, 1e20)
    assert part.beam == Beam(18 * u.arcsec)
