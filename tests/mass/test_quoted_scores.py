"""The scores that README and pages quote are those of the bundled calibration."""

import re
from pathlib import Path

import pytest

from astrofractal import StellarMassEstimator
from astrofractal.gasmap.moments import CHANNEL_SETS, CHANNELS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def skills():
    return {c: found.skill_ for c, found in StellarMassEstimator().calibrations_.items()}


def quoted(path, pattern):
    """Return what a page quotes, or skip."""
    path = ROOT / path
    found = re.findall(pattern, path.read_text(encoding="utf-8"), re.M) if path.is_file() else ()
    if not found:
        pytest.skip(f"{path.name} is not here, or quotes no such score")
    return found


def same(text, value):
    """Return whether a number in a text is a value, rounded as it is."""
    number = text.replace("\N{MINUS SIGN}", "-")
    digits = len(number.partition(".")[2])
    return abs(float(number) - value) <= 0.5001 * 10.0**-digits


def test_readme(skills):
    for text in quoted("README.rst", r"^ *\**astrofractal\**(?: \(.*\))?  +(0\.\d+)"):
        assert same(text, skills[CHANNELS]["r2_protostar"])


NAMES = (
    "column density", "column density and velocity", "column density and dispersion",
    r"all three \(the default\)",
)  # fmt: skip


@pytest.mark.parametrize(("name", "channels"), list(zip(NAMES, CHANNEL_SETS, strict=True)))
def test_scores_by_channels(skills, name, channels):
    number = r"  +([\d.]+)"
    pattern = rf"^ *\**{name}\**{number}{number}{number}$"
    ((r2, error, factor),) = quoted("docs/understand/accuracy.rst", pattern)
    skill = skills[channels]
    assert same(r2, skill["r2_protostar"])
    assert same(error, skill["r2_protostar_err"])
    assert same(factor, 10 ** skill["rmse_protostar"])


def test_numbers_of_maps_and_coverage(skills):
    skill, page = skills[CHANNELS], "docs/understand/accuracy.rst"
    pattern = r"([\d,]+) maps of (\d+) protostars in (\d+) clouds, those of the bundled"
    ((*numbers,),) = quoted(page, pattern)
    found = [int(text.replace(",", "")) for text in numbers]
    assert found == [skill["n_maps"], skill["n_protostars"], skill["n_clouds"]]
    pattern = r"the 68 % intervals contain (0\.\d+) of the masses, the 90 % intervals (0\.\d+)"
    for low, high in quoted(page, pattern):
        assert same(low, skill["coverage_68_protostar"])
        assert same(high, skill["coverage_90_protostar"])
