"""Tables of positions as catalogs, programs and people write them."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from numpy.testing import assert_allclose

from astrofractal.catalogs.frames import frame_of
from astrofractal.catalogs.positions import resolve_positions

A, B = (52.0, 31.0), (52.01, 31.01)
B1950 = (52.7735, 31.1699)
GALACTIC = SkyCoord(158.35, -20.56, unit="deg", frame="galactic").icrs
ECLIPTIC = SkyCoord(57.0, 12.0, unit="deg", frame="barycentricmeanecliptic").icrs

VIZIER = """#
#   VizieR Astronomical Server vizier.cds.unistra.fr
#Coosys\tJ2000:\teq_FK5 J2000
#INFO\t-out.max=50
#RESOURCE=yCat_1
#Title: Protostars of a cloud, positions of B1950 and J2000
#Column\tRAJ2000\t(F10.6)\tRight ascension (J2000)\t[ucd=pos.eq.ra]
RAJ2000;DEJ2000;Name;Jmag
{units}
-------;-------;----;----
{rows}
"""


def read(tmp_path, text, name="in.txt", encoding="utf-8"):
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    return resolve_positions(path)


def check(places, *expected):
    if isinstance(places.where, SkyCoord):
        found = np.transpose([places.where.icrs.ra.deg, places.where.icrs.dec.deg])
    else:
        found = places.where
    assert_allclose(found, expected, atol=1e-3)


ROWS = "A,52.0,31.0\nB,52.01,31.01\n"


@pytest.mark.parametrize("suffix", ["csv", "CSV", "tsv", "TSV", "txt", "dat", "tbl", "cat", ""])
@pytest.mark.parametrize("delimiter", [",", "\t", ";", "|", " "])
@pytest.mark.parametrize("header", ["id{}ra{}dec\n", "# id{}ra{}dec\n", "#ID{}RA{}Dec\n"])
def test_suffix_and_delimiter(tmp_path, suffix, delimiter, header):
    text = header.format(delimiter, delimiter) + ROWS.replace(",", delimiter)
    places = read(tmp_path, text, f"in.{suffix}")
    check(places, A, B)
    assert places.ids == ["A", "B"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_ends_of_lines(tmp_path, encoding, end):
    text = "ra,dec,id\n52.0,31.0,Größe\n52.01,31.01,B\n".replace("\n", end)
    places = read(tmp_path, text, "in.csv", encoding)
    check(places, A, B)
    assert places.ids == ["Größe", "B"]


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("# name dec ra", "A 31.0 52.0", A),
        ("# l b", "158.35 -20.56", (GALACTIC.ra.deg, GALACTIC.dec.deg)),
        ("# Galactic coordinates", "158.35 -20.56", (GALACTIC.ra.deg, GALACTIC.dec.deg)),
        ("GLON GLAT", "158.35 -20.56", (GALACTIC.ra.deg, GALACTIC.dec.deg)),
        ("ELON,ELAT", "57.0,12.0", (ECLIPTIC.ra.deg, ECLIPTIC.dec.deg)),
        ("# RA(deg) Dec(deg)", "52.0 31.0", A),
        ("# B1950\n# ra dec", "52.0 31.0", B1950),
        ("# two stars", "52.0 31.0", A),
        ("#\n# made by me\n#", "A 52.0 31.0", A),
        ("", "1 52.0 31.0", A),
        ("RA (J2000),Dec (J2000),Name", "03:28:00,+31:00:00,A", A),
        ("RA J2000,DEC J2000", "03 28 00,+31 00 00", A),
        ("RAJ2000,DEJ2000", "52.0,31.0", A),
        ("_RAJ2000\t_DEJ2000\tRAB1950\tDEB1950", "52.0\t31.0\t1\t2", A),
        ("RA1950,DE1950", "52.0,31.0", B1950),
        ("RA_ICRS,DE_ICRS,RA,DEC", "52.0,31.0,1,2", A),
        ("ra_deg dec_deg ID", "52. 31. 7", A),
        ("R.A.,Decl.", "52.0,31.0", A),
        ("Right Ascension,Declination", "3:28:00,31:00:00", A),
        ("ALPHA_J2000 DELTA_J2000", "52.0 31.0", A),
        ("RA [hours],Dec [deg]", "3.4666666667,31.0", A),
        ("ra (rad),dec (rad)", "0.907571211,0.541052068", A),
        ("name ra dec", "A 03 28 00.0 +31 00 00", A),
        ("name,coord", "A,03 28 00.0 +31 00 00", A),
        ("id;ra;dec", "A;52,0;31,0", A),
        ("ra,dec", "5.2D1,3.1d1", A),
        ("name,ra,dec\n,deg,deg", "A,52.0,31.0", A),
        ('name,ra,dec\n,"h:m:s","d:m:s"', "A,3:28:00,31:00:00", A),
        ("ra  dec\n---- ----", "52.0 31.0", A),
        ("+---+----+----+\n| n | ra | dec |\n+---+----+----+", "| A b | 52.0 | 31.0 |", A),
        ("#   1 NUMBER  number\n#   2 ALPHA_J2000 a\n#   3 DELTA_J2000 d", " 1 52.0 31.0", A),
        ("X_IMAGE,Y_IMAGE", "6,5", (5, 4)),
        ("x_peak,y_peak", "6,5", (6, 5)),
        ("ra,dec,radius,ra_err,rad", "52.0,31.0,3,4,5", A),
        ("name,ra,dec,", "A,52.0,31.0,", A),
        ('"id","ra","dec"', '"A, B","52.0","31.0"', A),
        ("|ra    |dec   |\n|double|double|\n|deg   |deg   |", " 52.0   31.0", A),
        ("\\EQUINOX = 'B1950'\n|ra    |dec   |\n|double|double|", " 52.0   31.0", B1950),
    ],
)
def test_names_of_columns(tmp_path, header, row, expected):
    check(read(tmp_path, f"{header}\n{row}\n"), expected)


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        ("3h28m00s", "+31d00m00s"), ("03h 28m 00.0s", "+31d 00m 00s"), ("3 28 0", "31 0 0"),
        ("03:28:00.0", "+31:00:00"), ("3:28", "31:00"), ("3h28m", "31d"), ("3hr28min0sec", "31deg0min"),
        ("03h28m00s", "+31°00′00″"), ("03h28m00s", "+31º00'00\""), ("03:28:00", "31.00.00.0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("sign", ["", "-", "−"])
def test_spellings_of_angles(tmp_path, ra, dec, sign):
    text = f"ra\tdec\n{ra}\t{sign}{dec.lstrip('+') if sign else dec}\n"
    check(read(tmp_path, text), (52.0, -31.0 if sign else 31.0))


@pytest.mark.parametrize(
    ("units", "rows"),
    [
        ("deg;deg; ;mag", "52.0;31.0;A;\n52.01;31.01;B;3.2"),
        ('"h:m:s";"d:m:s"; ;mag', "03 28 00.0;+31 00 00;A;\n03 28 02.4;+31 00 36;B;3.2"),
    ],
)
@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_vizier(tmp_path, units, rows, delimiter):
    text = VIZIER.format(units=units, rows=rows).replace(";", delimiter)
    places = read(tmp_path, text, "in.tsv")
    check(places, A, B)
    assert places.ids == ["A", "B"]
    assert places.columns["Jmag"].mask.tolist() == [True, False]
    assert places.columns["Jmag"].unit == "mag"


VOTABLE = (
    '<?xml version="1.0"?>\n<VOTABLE version="{version}" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
    "<RESOURCE>{system}{first}<TABLE>{fields}<DATA><TABLEDATA><TR><TD>{row[0]}</TD><TD>{row[1]}</TD>"
    "</TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
)
OTHER = (
    '<TABLE><FIELD name="flux" datatype="double"/><DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA>'
    "</DATA></TABLE>"
)


def fields(*names, ref='ref="f"', ucds=("", "")):
    return "".join(
        f'<FIELD ID="c{i}" name="{name}" datatype="double" unit="deg" {ref} ucd="{ucd}"/>'
        for i, (name, ucd) in enumerate(zip(names, ucds))
    )


@pytest.mark.parametrize(
    ("system", "columns", "expected"),
    [
        ('<COOSYS ID="f" system="eq_FK4" equinox="B1950"/>', fields("RA", "DEC"), B1950),
        ('<COOSYS ID="f" system="eq_FK4" equinox="1950.0"/>', fields("RA", "DEC", ref=""), B1950),
        ('<COOSYS ID="f" system="eq_FK5" equinox="J2000"/>', fields("RA", "DEC"), A),
        ('<COOSYS ID="f" system="ICRS" epoch="J2015.5"/>', fields("ra", "dec"), A),
        (
            '<COOSYS ID="f" system="galactic"/>',
            fields("lon", "lat", ucds=("pos.galactic.lon", "pos.galactic.lat")),
            None,
        ),
        (
            '<COOSYS ID="g" system="eq_FK4" equinox="B1950"/><COOSYS ID="f" system="ICRS"/>',
            fields("alpha0", "delta0", ucds=("pos.eq.ra;meta.main", "pos.eq.dec;meta.main")),
            A,
        ),
        (
            '<TIMESYS ID="t" timeorigin="2455197.5" timescale="TCB" refposition="BARYCENTER"/>'
            '<COOSYS ID="f" system="eq_FK4" equinox="B1950" epoch="B1950"/>',
            fields("RA (x)", "DEC (x)", ucds=("POS_EQ_RA_MAIN", "POS_EQ_DEC_MAIN")),
            B1950,
        ),
    ],
)
@pytest.mark.parametrize("several", [False, True])
def test_votables(tmp_path, system, columns, expected, several):
    row = (158.35, -20.56) if expected is None else A
    version = "1.4" if "TIMESYS" in system else "1.3"
    text = VOTABLE.format(
        version=version, system=system, first=OTHER if several else "", fields=columns, row=row
    )
    check(read(tmp_path, text, "in.vot"), expected or (GALACTIC.ra.deg, GALACTIC.dec.deg))
    check(read(tmp_path, text, "in.XML"), expected or (GALACTIC.ra.deg, GALACTIC.dec.deg))


def test_frames_that_are_refused(tmp_path):
    text = VOTABLE.format(version="1.3", system='<COOSYS ID="f" system="geo_app"/>', first="",
                          fields=fields("RA", "DEC"), row=A)  # fmt: skip
    with pytest.raises(ValueError, match=r"in\.vot'.*'geo_app' is not supported"):
        read(tmp_path, text, "in.vot")
    with pytest.raises(ValueError, match="between 1800 and 2100, got '14.5'"):
        frame_of("FK5", 14.5)


def test_tables_of_fits(tmp_path):
    """The table with positions is taken; RADESYS and EQUINOX of its header are its frame."""
    table = QTable({"RA": [52.0], "DEC": [31.0]})
    table.meta.update(RADESYS="FK4", EQUINOX=1950.0)
    from astropy.io import fits

    hdus = [fits.PrimaryHDU(), fits.table_to_hdu(Table({"flux": [1.0]})), fits.table_to_hdu(table)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    check(resolve_positions(tmp_path / "a.fits"), B1950)
    fits.HDUList(hdus[:2]).writeto(tmp_path / "b.fits")
    with pytest.raises(
        ValueError, match=r"no column of positions.*has flux: name them by columns="
    ):
        resolve_positions(tmp_path / "b.fits")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.vot", "<html><body>404</body></html>", "it is a web page"),
        ("a.vot", "<?xml version='1.0'?><VOTABLE>", "not a VOTable"),
        ("a.csv", "id,ra,dec\nA,52.0,31.0\nB,,\n", "row 2 of .* has no 'ra'"),
        ("a.txt", "name ra dec\nIRAS 4 52.0 31.0\n", "row 1 has 4 values, and there are 3 columns"),
        ("a.csv", "ID,RA_peak,Dec_peak\n1,2,3\n", "has ID, RA_peak, Dec_peak: name them by columns="),
        ("a.fits", "ra,dec\n1,2\n", "it is not a FITS file"),
    ],
)  # fmt: skip
def test_files_that_are_refused(tmp_path, name, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text, name)


def test_other_columns_keep_their_kinds(tmp_path):
    text = (
        "id,ra,dec,n,flux,code,note,m\n007,52.0,31.0,3,1.5,012,x,--\n8,52.01,31.01,4,2.5,013,,2\n"
    )
    places = read(tmp_path, text, "in.csv")
    assert places.ids == ["007", "8"]
    kinds = {name: places.columns[name].dtype.kind for name in places.columns.colnames}
    assert kinds == {"n": "i", "flux": "f", "code": "U", "note": "U", "m": "i"}
    assert places.columns["m"].mask.tolist() == [True, False]
