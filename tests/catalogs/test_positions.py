"""Tests of positions: what is understood, and what is refused rather than guessed."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Column, MaskedColumn, QTable, Table
from numpy.testing import assert_allclose
from regions import (
    CirclePixelRegion,
    CircleSkyRegion,
    LineSkyRegion,
    PixCoord,
    PointPixelRegion,
    PolygonPixelRegion,
    PolygonSkyRegion,
    Regions,
)

from astrofractal.catalogs.positions import Places, resolve_positions
from tests.factories import make_column, make_gas

PIXELS = np.array([(60.0, 80.0), (140.0, 90.0)])


@pytest.fixture(scope="module")
def gas():
    return make_gas(make_column((160, 200)))


@pytest.fixture(scope="module")
def sky(gas):
    return gas.to_sky(*PIXELS.T).icrs


def in_parts(sky):
    """Return positions as the CDS writes them."""
    ra, dec = sky.ra.hms, sky.dec.signed_dms
    table = Table({"RAh": ra.h.astype(int), "RAm": ra.m.astype(int), "RAs": ra.s})
    table["DE-"] = np.where(dec.sign < 0, "-", "+")
    table["DEd"], table["DEm"], table["DEs"] = dec.d.astype(int), dec.m.astype(int), dec.s
    return table


def test_kinds_of_positions(tmp_path, gas, sky):
    circles = [CircleSkyRegion(s, 3 * u.arcsec, meta={"text": f"s{i}"}) for i, s in enumerate(sky)]
    Regions(circles).write(tmp_path / "a.reg", format="ds9")
    points = Regions([CirclePixelRegion(PixCoord(*p), 2) for p in PIXELS])
    points.write(tmp_path / "regions.fits", format="fits")
    ra_dec = Table({"Name": ["p", "q"], "RAJ2000": sky.ra.deg, "DEJ2000": sky.dec.deg})
    ra_dec.write(tmp_path / "a.csv")
    QTable({"coord": sky}).write(tmp_path / "cds.mrt", format="ascii.mrt")
    text = {"ra": sky.ra.to_string(u.hour, sep=":"), "dec": sky.dec.to_string(sep=":")}
    radians = {"ra": sky.ra.rad * u.rad, "dec": Column(sky.dec.rad, unit="rad")}
    cases = [
        sky,
        PIXELS.tolist(),
        Places(sky),
        QTable({"position": sky}),
        ra_dec,
        tmp_path / "a.csv",
        str(tmp_path / "a.reg"),
        tmp_path / "regions.fits",
        Regions(circles),
        Table({"l": sky.galactic.l.deg, "b": sky.galactic.b.deg}),
        Table(text),
        Table({"ra": sky.ra.to_string(u.deg), "dec": sky.dec.to_string()}),
        QTable(radians),
        Table({"ra": Column(sky.ra.hour, unit="h"), "dec": sky.dec.deg}),
        Table(
            {"ra": [f" {v:.7f}" for v in sky.ra.deg], "dec": [f"+{v:.7f} " for v in sky.dec.deg]}
        ),
        in_parts(sky),
        tmp_path / "cds.mrt",
        Table({"x": [60, 140], "y": [80, 90]}),
        Regions([PointPixelRegion(PixCoord(*p)) for p in PIXELS]),
    ]
    for case in cases:
        places = resolve_positions(case)
        assert_allclose(np.transpose(gas.to_pixel(places.where)), PIXELS, atol=0.01)
        assert places.ids in (None, ["p", "q"], ["s0", "s1"])


@pytest.mark.parametrize(
    "text",
    [
        "56.1 -0.5\n56.2 -0.25\n",
        "# ra dec\n5.61e1,-0.5\n56.2,-0.25\n",
        "a\t56.1\t-0.5\nb\t56.2\t-0.25\n",
        "03:44:24 -00:30:00\n03:44:48 -00:15:00\n",
        "03 44 24 -00 30 00\n03 44 48 -00 15 00\n",
        "3h44m24s -0d30m00s a\n3h44m48s -0d15m00s b\n",
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.csv", "stars"])
def test_lists_without_a_header(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    places = resolve_positions(tmp_path / name)
    assert_allclose(places.where.ra.deg, [56.1, 56.2])
    assert_allclose(places.where.dec.deg, [-0.5, -0.25])
    assert places.ids in (None, ["a", "b"])


def test_declinations_just_south_of_the_equator():
    table = in_parts(SkyCoord([10.0, 20.0], [-0.5, 0.5], unit="deg"))
    assert_allclose(resolve_positions(table).where.dec.deg, [-0.5, 0.5])


def test_a_polygon_is_where_its_centroid_is(tmp_path, gas):
    corners = [(0, 0), (6, 0), (6, 2), (2, 2), (2, 6), (0, 6)]  # an L, with a vertex repeated
    x, y = np.transpose([*corners, corners[-1]]).astype(float)
    pixels = PolygonPixelRegion(PixCoord(x + 100, y + 50))
    center = [(100 + 2.2, 50 + 2.2)]  # two rectangles of 6 x 2 and 2 x 4
    assert_allclose(resolve_positions(Regions([pixels])).where, center)
    on_sky = PolygonSkyRegion(gas.to_sky(x + 100, y + 50), meta={"text": "segment 3"})
    Regions([on_sky]).write(tmp_path / "regions.reg", format="ds9")
    places = resolve_positions(tmp_path / "regions.reg")
    assert_allclose(np.transpose(gas.to_pixel(places.where)), center, atol=1e-3)
    assert places.ids == ["segment 3"]
    thin = PolygonPixelRegion(PixCoord([1, 3, 5], [1, 1, 1]))
    assert_allclose(resolve_positions(Regions([thin])).where, [(3, 1)])


def test_names_and_other_columns(sky):
    table = QTable({"flux": [1, 2] * u.Jy, "RA": sky.ra, "Dec": sky.dec, "Source_ID": ["a", "b"]})
    places = resolve_positions(table)
    assert places.ids == ["a", "b"]
    assert places.columns.colnames == ["flux"]
    assert places.columns["flux"].unit == u.Jy
    table.rename_columns(["RA", "Dec", "flux"], ["alpha", "delta", "core"])
    named = resolve_positions(table, columns={"dec": "delta", "ra": "alpha", "id": "core"})
    assert_allclose(named.where.separation(sky).arcsec, 0, atol=1e-6)
    assert named.columns.colnames == ["Source_ID"]
    assert places[1:].ids == ["b"]
    assert places[[False, True]].fingerprint() == places[1:].fingerprint() != places.fingerprint()
    for columns, message in [
        ({"ra": "alpha"}, "must name ra and dec"),
        ({"ra": "alpha", "dec": "d"}, r"no column 'd'; it has core, alpha"),
        ({"r": "alpha"}, "got 'r'"),
    ]:
        with pytest.raises(ValueError, match=message):
            resolve_positions(table, columns=columns)
    with pytest.raises(ValueError, match="columns are for a table"):
        resolve_positions(sky, columns={"id": "core"})


GOOD = Column([1.0, 2.0], unit="deg")


@pytest.mark.parametrize(
    ("lon", "lat", "message"),
    [
        (MaskedColumn([56.1, 0.0], mask=[False, True]), GOOD, "row 2 of the table has no 'ra'"),
        (GOOD, [np.nan, 1.0], "row 1 of the table has no 'dec'"),
        (["56.1", " "], GOOD, "row 2 of the table has no 'ra'"),
        (
            ["56.10", "3:44:24"],
            GOOD,
            "'ra' of the table mixes .* '56.10' in row 1, '3:44:24' in row 2",
        ),
        (["3h44m24s", "56d06m"], GOOD, "one meaning: '3h44m24s' in row 1, '56d06m' in row 2"),
        (
            ["3:44:24", "25:00:00"],
            GOOD,
            "row 2 of the table: 'ra' is '25:00:00', which is no angle",
        ),
        (["3:44:24", "3:77:10"], GOOD, "row 2 of the table: 'ra' is '3:77:10', which is no angle"),
        (["3:44:24", "n/a"], GOOD, "row 2 of the table: 'ra' is 'n/a', which is no angle"),
        (GOOD, [10.0, 100.0], "row 2 of the table: 'dec' is 100.0, which is beyond 90 degrees"),
    ],
)
def test_cells_that_are_not_understood(lon, lat, message):
    with pytest.raises(ValueError, match=message):
        resolve_positions(Table({"ra": lon, "dec": lat}))


def test_other_tables_that_are_not_understood(tmp_path, sky):
    (tmp_path / "a.csv").write_text("x,y\n60,80\n,90\n")
    with pytest.raises(ValueError, match=r"row 2 of '.*a\.csv' has no 'x'"):
        resolve_positions(tmp_path / "a.csv")
    (tmp_path / "a.txt").write_text("1.0 2.0 3.0\n")
    with pytest.raises(ValueError, match="no header, and 3 columns"):
        resolve_positions(tmp_path / "a.txt")
    with pytest.raises(u.UnitsError, match="'x' of the table must be in pixels, its unit is deg"):
        resolve_positions(Table({"x": GOOD, "y": GOOD}))
    with pytest.raises(u.UnitsError, match="'ra' of the table must be an angle, its unit is pc"):
        resolve_positions(Table({"ra": Column([1.0], unit="pc"), "dec": [2.0]}))
    parts = in_parts(sky)
    parts["RAm"][1] = 75
    with pytest.raises(ValueError, match="row 2 of the table: 'RAm' is 75.* not within 0 to 60"):
        resolve_positions(parts)
    masked = QTable(in_parts(sky), masked=True)
    masked["DEd"].mask[0] = True
    with pytest.raises(ValueError, match="row 1 of the table has no 'DEd'"):
        resolve_positions(masked)
    with pytest.raises(ValueError, match=r"no column of positions.*has mass, color"):
        resolve_positions(Table({"mass": [1], "color": [2]}))
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        resolve_positions("none.csv")
    (tmp_path / "a.fits").write_text("no")
    with pytest.raises(ValueError, match="not a FITS file"):
        resolve_positions(tmp_path / "a.fits")
    with pytest.raises(ValueError, match="shape"):
        resolve_positions([1, 2, 3])
    with pytest.raises(TypeError, match="positions must be"):
        resolve_positions(3 * u.pc)
    with pytest.raises(ValueError, match="LineSkyRegion"):
        resolve_positions(Regions([LineSkyRegion(sky[0], sky[1])]))
