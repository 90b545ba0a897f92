"""Cubes of fitted parameters and folders of the GBT Ammonia Survey."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from astrofractal import GasMap
from astrofractal.gasmap import Abundance
from tests.factories import make_header

SHAPE = (12, 10)
Y, X = np.mgrid[:12, :10]
FITTED = X > 1  # nothing was fitted in two columns, where the survey writes zeros
PARAMETERS = {
    "TKIN": 12 + 0.1 * Y, "TEX": 6 + 0.1 * X, "COLUMN": 14 + 0.01 * Y, "SIGMA": 0.1 + 0.01 * X,
    "VELOCITY": 3 + 0.02 * Y, "FORTHO": 0 * X, "eCOLUMN": 0.05 + 0 * X, "eSIGMA": 0.01 + 0 * X,
    "eVELOCITY": 0.02 + 0 * X,
}  # fmt: skip
DR1 = {"COLUMN": "N_NH3", "SIGMA": "Sigma", "VELOCITY": "Vlsr", "TKIN": "Tkin"}
NAMES = {
    "L1688_{}_DR1_rebase3_flag": DR1 | {"e" + key: "e" + name for key, name in DR1.items()},
    "L1688_NH3_{}_all_rebase3_masked": {
        "COLUMN": "N", "eCOLUMN": "eN", "SIGMA": "Sigma", "eSIGMA": "eSigma", "VELOCITY": "Vlsr",
        "eVELOCITY": "eVlsr", "TKIN": "Tkin",
    },
}  # fmt: skip


def cube(names=PARAMETERS, values=PARAMETERS, **cards):
    """Return a cube of parameters whose header names its planes."""
    planes = {f"PLANE{number}": name for number, name in enumerate(names, start=1)}
    data = np.where(FITTED, np.stack(list(values.values())), 0).astype(">f4")
    cards = {"BUNIT": "K", "CTYPE3": "FITPAR"} | planes | cards
    return fits.PrimaryHDU(data, make_header(SHAPE, **cards))


def write(folder, pattern="L1688_{}_DR1_rebase3_flag", units=("cm-2", "km/s")):
    """Write one file a quantity, as the releases do."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, quantity in NAMES[pattern].items():
        if name in PARAMETERS:
            data = np.where(FITTED, PARAMETERS[name], 0).astype(">f4")
            unit = units[0] if "COLUMN" in name else units[1]
            header = make_header(SHAPE, BUNIT=unit)
            fits.writeto(folder / f"{pattern.format(quantity)}.fits", data, header)
    return folder


def check(gas, abundance=1e-8):
    """Check that a map holds what was fitted."""
    np.testing.assert_array_equal(gas.mask, ~FITTED)
    column = np.where(FITTED, 10 ** PARAMETERS["COLUMN"] / abundance, np.nan)
    np.testing.assert_allclose(gas.column_density.value, column, rtol=1e-5)
    np.testing.assert_allclose(gas.column_density_uncertainty.value, column * 0.11513, rtol=1e-4)
    for name, parameter in (("velocity", "VELOCITY"), ("dispersion", "SIGMA")):
        for suffix, start in (("", ""), ("_uncertainty", "e")):
            expected = np.where(FITTED, PARAMETERS[start + parameter], np.nan)
            found = getattr(gas, name + suffix).value
            np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("format", [None, "gbt-ammonia"])
def test_planes_by_name(format):
    check(GasMap.read(cube(), column=Abundance(1e-8), format=format))
    linear = PARAMETERS | {"COLUMN": 10 ** PARAMETERS["COLUMN"]}
    linear["eCOLUMN"] = linear["COLUMN"] * 0.11513
    check(GasMap.read(cube(values=linear), column=Abundance(1e-8), format=format))


@pytest.mark.parametrize("pattern", NAMES)
def test_files_by_name(tmp_path, pattern):
    check(GasMap.read(write(tmp_path, pattern), column=Abundance(1e-8)))
    inner = write(tmp_path / "of_the_release" / "L1688" / "parameterMaps", pattern)
    check(GasMap.read(inner.parent.parent, column=Abundance(1e-8)))
    fits.setval(next(inner.glob("*Vlsr*")), "BUNIT", value="km s-1")
    check(GasMap.read(inner, column=Abundance(1e-7)), 1e-7)


def test_a_folder_with_a_cube_of_parameters(tmp_path):
    cube().writeto(tmp_path / "B18_parameter_maps_all_rebase3_masked.fits")
    cube().writeto(tmp_path / "B18_NH3_11_all_rebase3_trim.fits")  # something else
    check(GasMap.read(tmp_path, column=Abundance(1e-8)))


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: GasMap.read(cube()),
        lambda folder: GasMap.read(cube(), format="gbt-ammonia"),
        lambda folder: GasMap.read(write(folder)),
    ],
)
def test_ammonia_is_no_hydrogen(tmp_path, read):
    with pytest.raises(ValueError, match=r"column=Abundance\(...\)"):
        read(tmp_path)


def test_sets_of_maps_are_told_apart(tmp_path):
    for pattern in NAMES:
        write(tmp_path, pattern)
    with pytest.raises(ValueError, match="L1688 DR1_rebase3_flag.*such as L1688_NH3_N_all"):
        GasMap.read(tmp_path, column=Abundance(1e-8))
    file = tmp_path / "L1688_N_NH3_DR1_rebase3_flag.fits"
    check(GasMap.read(file, column=Abundance(1e-8), format="gbt-ammonia"))
    with pytest.raises(ValueError, match="L1688 DR1_rebase3_flag"):
        GasMap.read(tmp_path / "B18_N_NH3_DR1.fits", column=Abundance(1e-8), format="gbt-ammonia")


def test_folders_without_maps(tmp_path):
    with pytest.raises(IsADirectoryError, match="holds no maps of the GBT Ammonia Survey"):
        GasMap.read(tmp_path, column=Abundance(1e-8))
    write(tmp_path)
    next(tmp_path.glob("*_Sigma_*")).unlink()
    with pytest.raises(ValueError, match="no map of the dispersion next to"):
        GasMap.read(tmp_path, column=Abundance(1e-8))
    with pytest.raises(ValueError, match="'gbt-ammonia' cannot use hdu="):
        GasMap.read(tmp_path, column=Abundance(1e-8), hdu=1)


def test_motions_of_another_line():
    """A fit of N2H+ has no column density; its motions go beside that of dust."""
    names = ["TEX", "TAU", "CENTER", "WIDTH", "eTEX", "eTAU", "eCENTER", "eWIDTH"]
    values = {name: 0.1 * (number + 1) + 0 * X for number, name in enumerate(names)}
    fit = cube(names, values)
    column = fits.PrimaryHDU(np.full(SHAPE, 1e22), make_header(SHAPE))
    gas = GasMap.read(column, fit, fit)
    for name, value in (("velocity", 0.3), ("dispersion", 0.4)):
        np.testing.assert_allclose(getattr(gas, name).value, np.where(FITTED, value, np.nan))
        error = getattr(gas, f"{name}_uncertainty").value
        np.testing.assert_allclose(error, np.where(FITTED, value + 0.4, np.nan), rtol=1e-6)
    with pytest.raises(ValueError, match="is a cube of parameters .*TEX, TAU, CENTER"):
        GasMap.read(fit, column=Abundance(1e-8), format="gbt-ammonia")


@pytest.mark.parametrize("start", [0, 1])
def test_planes_are_numbered_from_the_smallest_card(start):
    """pyspeckit's write_fit counts from PLANE0."""
    hdu = cube()
    names = [hdu.header.pop(f"PLANE{number}") for number in range(1, 10)]
    hdu.header.update({f"PLANE{start + index}": name for index, name in enumerate(names)})
    check(GasMap.read(hdu, column=Abundance(1e-8), no_data=0))
    del hdu.header[f"PLANE{start + 1}"]
    with pytest.raises(ValueError, match="9 planes, but 8 cards PLANE1"):
        GasMap.read(hdu, column=Abundance(1e-8))


def test_planes_whose_cards_are_numbers():
    with pytest.raises(ValueError, match=r"is a cube of parameters .*planes 0, 1, 2") as caught:
        GasMap.read(cube(names=range(9)), column=Abundance(1e-8))
    assert "damaged" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"names": [*list(PARAMETERS)[:8], "VELOCITY1"]}, ValueError, "several components"),
        ({"PLANE12": "NTOT", "PLANE3": "OTHER"}, ValueError, "9 planes, but 10 cards"),
        (
            {"values": PARAMETERS | {"SIGMA": 300 + X}}, u.UnitsError, "dispersion has a median of 305.5"
        ),
    ],
)  # fmt: skip
def test_planes_that_are_refused(change, error, match):
    with pytest.raises(error, match=match):
        GasMap.read(cube(**change), column=Abundance(1e-8))
