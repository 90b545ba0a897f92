"""Region files as DS9, CASA, CARTA and CIAO write them, and as people do."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.testing import assert_allclose
from regions import (
    CircleAnnulusSkyRegion,
    CirclePixelRegion,
    CircleSkyRegion,
    EllipseSkyRegion,
    LineSkyRegion,
    PixCoord,
    PolygonSkyRegion,
    Regions,
    TextSkyRegion,
)

from astrofractal.catalogs.positions import resolve_positions
from astrofractal.exceptions import AstrofractalWarning

DS9 = "# Region file format: DS9\n"
CRTF = "#CRTFv0 CASA Region Text Format version 0\n"
A, B = (52.0, 31.0), (52.01, 31.01)
B1950 = (52.7735, 31.1699)  # 52.0 +31.0 of the equinox B1950


def read(tmp_path, text, name="in.reg", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return resolve_positions(path)


def check(places, expected):
    if isinstance(places.where, SkyCoord):
        found = np.transpose([places.where.icrs.ra.deg, places.where.icrs.dec.deg])
    else:
        found = places.where
    assert_allclose(found, np.reshape(expected, (-1, 2)), atol=1e-3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('fk5\ncircle(52.0,31.0,5")\n-circle(52.01,31.01,5")\n', [A]),
        ('fk5\ncircle(52.0,31.0,5")\n!ellipse(52.01,31.01,5",3",0)\n', [A]),
        ("fk5\npoint(52.0,31.0) # point=x\n# text(52.01,31.01) text={North}\n", [A]),
        ("fk5\npoint(52.0,31.0)\ntext(52.01,31.01) # text={North}\n", [A]),
        ('fk5\ncircle(52.0,31.0,0")\npoint(52.01,31.01)\n', [A, B]),
        ('fk5;circle(3:28:00,+31:00:00,5") # color=red;point(52.01d,31.01d)\n', [A, B]),
        ('icrs\nbox 52.0 31.0 5" 5" 0\npoint(3h28m02.4s,+31d00m36s)\n', [A, B]),
        ('fk5\nannulus(52.0,31.0,5",10",15")\nannulus(52.0,31.0,15",20")\n', [A]),
        ('fk5\ncircle(52.0,31.0,5")\nannulus(52.0,31.0,5",10") # background\n', [A]),
        ('fk5\nellipse(52.0,31.0,5",3",6",4",30)\n', [A]),
        ('fk5\ncircle(52.0,31.0,5") && !circle(52.01,31.01,3")\npoint(52.01,31.01)\n', [A, B]),
        (
            "fk5\n# composite(52.0,31.0,0) || composite=1\n"
            'circle(52.001,31,5") ||\n-circle(52.001,31,2")\npoint(52.01,31.01)\n',
            [A, B],
        ),
        ("fk4\npoint(52.0,31.0)\n", [B1950]),
        ("b1950;point(52.0,31.0)\n", [B1950]),
        ("galactic\npoint(159.15,-20.65)\n", [(52.8945, 30.7359)]),
        ("image\ncircle(10,20,3)\n", [(9, 19)]),
        ("image\nrectangle(10,20,14,26)\n", [(11, 22)]),
        ("fk5\npoint(10i,20i)\n", [(9, 19)]),
        ("fk5\npolygon(52,31,52.02,31,52.02,31.02,52,31.02)\n", [B]),
        ("global color=green\nfk5\npoint(52.0,31.0)\nfk4\npoint(52.0,31.0)\n", [A, B1950]),
        ("fk5\n", []),
    ],
)
def test_ds9(tmp_path, text, expected):
    check(read(tmp_path, DS9 + text), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("circle [[52.0deg, 31.0deg], 5arcsec] coord=J2000\n", [A]),
        ("circle [[3h28m00s, 31.00.00.0], 0arcsec], coord=ICRS, label='x'\n", [A]),
        ("symbol [[03:28:00, 31d00m00s], .], coord=FK5\n", [A]),
        ("global coord=B1950\ncircle [[52.0deg, 31.0deg], 5arcsec]\n", [B1950]),
        ("symbol [[6.0pix, 4.0pix], .] coord=ICRS, corr=[I], color=#2EE6D6\n", [(6, 4)]),
        ("annulus [[52.0deg, 31.0deg], [2arcsec, 5arcsec]] coord=J2000\n", [A]),
        (
            "circle [[52.0deg, 31.0deg], 5arcsec] coord=J2000\n"
            "-circle [[52.1deg, 31deg], 1arcsec] coord=J2000\n"
            "ann circle [[52.1deg, 31deg], 1arcsec] coord=J2000\n"
            "ann text [[52.1deg, 31deg], 'x'] coord=J2000\n",
            [A],
        ),
        ("box [[52.0deg, 31.0deg], [52.02deg, 31.02deg]] coord=J2000\n", [B]),
        ("box [[359.98deg, 31.0deg], [0.04deg, 31.02deg]] coord=J2000\n", [(0.01, 31.01)]),
        ("rotbox [[52.0deg, 31.0deg], [5arcsec, 3arcsec], 30deg] coord=J2000\n", [A]),
        ("ellipse [[0.907571211rad, 0.541052068rad], [5arcsec, 3arcsec], 0deg] coord=J2000\n", [A]),
        (
            "poly [[52deg, 31deg], [52.02deg, 31deg], [52.02deg, 31.02deg], [52deg, 31.02deg]] "
            "coord=J2000\n",
            [B],
        ),
        ("circle [[159.15deg, -20.65deg], 5arcsec] coord=GALACTIC\n", [(52.8945, 30.7359)]),
    ],
)
def test_crtf(tmp_path, text, expected):
    check(read(tmp_path, CRTF + text, "in.crtf"), expected)


def test_frames_of_the_examples():
    """The numbers above are of astropy."""
    old, lb = (
        SkyCoord(*A, unit="deg", frame="fk4"),
        SkyCoord(159.15, -20.65, unit="deg", frame="galactic"),
    )
    assert_allclose([old.icrs.ra.deg, old.icrs.dec.deg], B1950, atol=1e-4)
    assert_allclose([lb.icrs.ra.deg, lb.icrs.dec.deg], (52.8945, 30.7359), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("in.crtf", CRTF + "circle [[52deg, 31deg], 5arcsec]\n", "no frame: add coord="),
        ("in.reg", DS9 + 'circle(52,31,5")\n', "no coordinate system before 'line 2.*'fk5'"),
        ("in.reg", DS9 + "wcsa\npoint(52,31)\n", "line 3.*'wcsa' is not supported"),
        ("in.crtf", CRTF + "circle [[52deg, 31deg], 1deg] coord=AZEL\n", "'AZEL' is not supported"),
        ("in.reg", DS9 + "fk5\nline(52,31,53,32)\n", "line 3: line"),
        ("in.reg", DS9 + "image\npoint(1,2)\nfk5\npoint(1,2)\n", "mixes sky and pixel regions"),
    ],
)
def test_files_without_a_position(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text, name)


@pytest.mark.parametrize(
    "odd",
    ['circle(nan,31,5")', "vector(52,31,5,0)", 'circle(52,100,5")', "circle(52", "spiral(1,2)"],
)
def test_one_odd_region_does_not_ruin_the_file(tmp_path, odd):
    text = f'{DS9}fk5\ncircle(52.0,31.0,5") # text={{IRS 1}}\n{odd}\npoint(52.01,31.01)\n'
    with pytest.warns(AstrofractalWarning, match=r"1 region is left out of .*line 4"):
        places = read(tmp_path, text)
    check(places, [A, B])
    assert places.ids == ["IRS 1", "region 2"]
    text = CRTF + "point [[nandeg, 31deg]] coord=J2000\nsymbol [[52deg, 31deg], .] coord=J2000\n"
    with pytest.warns(AstrofractalWarning, match="line 2"):
        check(read(tmp_path, text, "in.crtf"), [A])


def test_physical_pixels_are_taken_with_a_warning(tmp_path):
    with pytest.warns(AstrofractalWarning, match="physical pixels"):
        check(read(tmp_path, DS9 + "physical\ncircle(10,20,3)\n"), [(9, 19)])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", ["IN.REG", "a.txt", "regions"])
def test_names_and_encodings_of_files(tmp_path, name, encoding):
    check(read(tmp_path, DS9 + "fk5\r\npoint(52.0,31.0)\r\n", name, encoding), [A])
    symbol = "symbol [[52.0deg, 31.0deg], .] coord=J2000\n"
    if name != "IN.REG":
        check(read(tmp_path, CRTF + symbol, name, encoding), [A])


def test_tables_of_fits(tmp_path):
    """FITS counts pixels from 1, files of `regions` from 0."""
    table = Table({"SHAPE": ["CIRCLE", "!CIRCLE", "ANNULUS", "PIE"]})
    table["X"], table["Y"] = [10.0, 11.0, 30.0, np.nan], [20.0, 21.0, 40.0, 1.0]
    table["COMPONENT"] = [1, 1, 2, 3]
    table.write(tmp_path / "a.fits")
    with pytest.warns(AstrofractalWarning, match="row 4: pie"):
        check(resolve_positions(tmp_path / "a.fits"), [(9, 19), (29, 39)])
    circle = CirclePixelRegion(PixCoord(10, 20), 3)
    Regions([circle]).write(tmp_path / "b.fits", format="fits")
    check(resolve_positions(tmp_path / "b.fits"), [(10, 20)])
    table["X"].unit = "deg"
    table.write(tmp_path / "c.fits")
    with pytest.raises(ValueError, match="states no frame"):
        resolve_positions(tmp_path / "c.fits")


def test_objects():
    one, two = (SkyCoord(*place, unit="deg") for place in (A, B))
    small, large = (CircleSkyRegion(one, r * u.arcsec) for r in (2, 5))
    excluded = CircleSkyRegion(two, 1 * u.arcsec, meta={"include": False})
    text = TextSkyRegion(two, "North")
    check(resolve_positions(Regions([large, excluded, text])), [A])
    check(resolve_positions([large ^ small][0]), [A])
    check(
        resolve_positions(Regions([CircleAnnulusSkyRegion(one, 1 * u.arcsec, 2 * u.arcsec)])), [A]
    )
    with pytest.warns(AstrofractalWarning, match="region 2, a LineSkyRegion without a center"):
        check(resolve_positions(Regions([large, LineSkyRegion(one, two)])), [A])


@pytest.mark.parametrize(("kind", "name"), [("ds9", "a.reg"), ("crtf", "a.crtf")])
def test_files_of_the_package_regions(tmp_path, kind, name):
    one, two = (SkyCoord(*place, unit="deg") for place in (A, B))
    corners = SkyCoord([52, 52.02, 52.02, 52], [31, 31, 31.02, 31.02], unit="deg")
    regions = Regions(
        [EllipseSkyRegion(one, 5 * u.arcsec, 3 * u.arcsec, 30 * u.deg), PolygonSkyRegion(corners)]
    )
    regions.write(tmp_path / name, format=kind)
    check(resolve_positions(tmp_path / name), [A, (two.ra.deg, two.dec.deg)])
