import pickle
import random
import tracemalloc
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import parse as parse_votable
from astropy.io.votable.ucd import check_ucd
from astropy.table import QTable, Table, vstack
from numpy.testing import assert_allclose
from regions import Regions

from astrofractal import GasMap, StellarMassEstimator
from astrofractal._utils.tables import read_table
from astrofractal.catalogs import (
    Catalog,
    find_protostars,
    write_catalog,
    write_regions,
)
from astrofractal.catalogs.columns import describe, verdict
from astrofractal.catalogs.positions import resolve_positions
from astrofractal.exceptions import AstrofractalWarning
from astrofractal.flags import FLAGS
from tests.factories import make_column, make_gas, make_wcs

ALL = ("column_density", "velocity", "dispersion")
PEAKS = [(60.0, 80.0), (140.0, 90.0)]


@pytest.fixture(scope="module")
def gas():
    y, x = np.mgrid[:160, :200]
    column = np.full((160, 200), 3e21)
    for px, py in PEAKS:
        column += (1e23 + 1e20 * px) * np.exp(-np.hypot(x - px, y - py) / 8)
    rng = np.random.default_rng(0)
    velocity = rng.standard_normal((20, 25)).repeat(8, 0).repeat(8, 1) * 0.3
    return make_gas(column, velocity, 0.3 + column / 1e24)


def test_detection(gas):
    found = find_protostars(gas)
    assert_allclose(found, PEAKS[::-1], atol=1)
    assert len(find_protostars(gas, max_sources=1)) == 1
    assert len(find_protostars(gas, min_separation=1 * u.pc)) == 1
    assert_allclose(find_protostars(gas, threshold=5.0), found)
    assert len(find_protostars(gas, threshold=3e22 / u.cm**2)) == 2
    assert_allclose(find_protostars(gas, threshold="3e22 cm-2"), found)
    assert_allclose(find_protostars(gas, threshold="5"), found)
    with pytest.raises(ValueError, match="threshold must be a number or .* got 'high'"):
        find_protostars(gas, threshold="high")
    high = (1.12e23 / u.cm**2).to(u.m**-2)
    with pytest.warns(AstrofractalWarning, match="lower threshold"):
        assert len(find_protostars(gas, threshold=100 * high)) == 0
    with pytest.raises(u.UnitConversionError, match="min_separation"):
        find_protostars(gas, min_separation=3 * u.K)
    with pytest.raises(u.UnitConversionError, match="threshold"):
        find_protostars(gas, threshold=3 * u.K)


@pytest.mark.parametrize("scale", [1e-4, 1e-6, 1e-9])
def test_small_pixels_take_no_more_memory_than_the_map(scale):
    """The separation of peaks is more than the map, and so was the footprint of their search."""
    rng = np.random.default_rng(0)
    column = 10 ** rng.normal(22, 0.3, (64, 64))
    column[32, 32] = 1e24
    gas = GasMap(column / u.cm**2, pixel_scale=scale * u.pc)
    tracemalloc.start()
    found = find_protostars(gas)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_allclose(found, [(32, 32)])
    assert peak < 2**24


def test_noise_and_borders_are_no_sources():
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(300), np.arange(240))
    cores = [(80, 100, 3e22, 4), (200, 150, 5e22, 4), (150, 239, 9e22, 3)]  # the last on the border
    column = make_column((240, 300), cores, background=0)
    column += 2e22 * np.exp(
        -(((x - 150) / 90.0) ** 2) - ((y - 120) / 70.0) ** 2
    )  # an extended cloud
    column += 1e21 * rng.standard_normal(column.shape) * (1 + 4 * (x > 280))  # noisy at one side
    for scale in (1, 1e-3):  # an X factor that is off
        found = find_protostars(make_gas(scale * np.maximum(column, 1e18)))
        assert_allclose(found, [(200, 150), (80, 100)], atol=2)


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_catalog(gas, estimator):
    table = estimator.catalog(gas)
    assert isinstance(table, QTable)
    assert table.colnames == [
        "id", "position", "mass", "mass_lower", "mass_upper", "trust", "ood_score", "velocity_known",
        "x", "y", "channels", "flags",
    ]  # fmt: skip
    assert table["mass"].unit == u.solMass
    assert np.all((table["mass_lower"] <= table["mass"]) & (table["mass"] <= table["mass_upper"]))
    assert all(table[name].info.description for name in table.colnames)
    assert_allclose(np.transpose(gas.wcs.world_to_pixel(table["position"])), PEAKS[::-1], atol=1)
    assert table["channels"][0] == "N+v+sigma"
    assert table.meta["reference_id"] == estimator.reference_id_
    assert table.meta["fingerprint"] == estimator.fingerprint()
    assert {"weights_id", "version", "level"} <= set(table.meta)
    cut = gas.cutout(PEAKS[1])
    assert_allclose(estimator.predict(cut), table["mass"][0], rtol=0.02)


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_positions_off_the_map(gas, estimator):
    table = estimator.catalog(gas, [(60, 80), (5, 5), (900, 80)])
    assert np.isfinite(table["mass"][:2]).all()
    assert table["mass"].mask.tolist() == table["ood_score"].mask.tolist() == [False, False, True]
    assert table["flags"][2] == "outside"
    assert "edge" in table["flags"][1]


@pytest.mark.parametrize(
    ("ra", "span"), [(52.0, r"51\.93 to 52\.07"), (0.0, r"-0\.069\d+ to 0\.069\d+")]
)
def test_nothing_to_measure_is_told(estimator, tmp_path, ra, span):
    gas = make_gas(make_column((80, 80)), wcs=make_wcs((80, 80), crval=(ra, 31.0)))
    with pytest.warns(AstrofractalWarning, match=r"x from 0 to 79.* 2 given span x from 90 to 900"):
        table = estimator.catalog(gas, [(90, 8), (900, 80)])
    assert list(table["flags"]) == ["outside"] * 2
    given = r"span right ascension 82 to 82 and declination 31 to 31 deg"
    with pytest.warns(AstrofractalWarning, match=rf"spans right ascension {span} and.*{given}"):
        estimator.catalog(gas, SkyCoord([82.0], [31.0], unit="deg"))
    (tmp_path / "a.reg").write_text("# Region file format: DS9\n")
    for empty in (np.empty((0, 2)), tmp_path / "a.reg", Table({"ra": [], "dec": []})):
        with pytest.warns(AstrofractalWarning, match="no position is given"):
            assert len(estimator.catalog(gas, empty)) == 0


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_what_is_printed_fits_into_80_columns(gas, estimator):
    given = QTable({"source": ["IRAS 1", "IRAS 2"], "position": gas.to_sky(*np.transpose(PEAKS))})
    given["period"] = [3, 4] * u.yr
    table = estimator.catalog(gas, given)
    lines = str(table).split("\n")
    names = ["id", "position", "mass", "mass_lower", "mass_upper", "trust"]
    assert lines[0].split()[:6] == names
    assert max(map(len, lines)) <= 80
    assert "..." not in lines[0]
    assert lines[3].startswith("IRAS 1 52.06876,31.00073 ")
    assert table["period"][1] == 4 * u.yr
    table["flags"] = ["other-pixel-scale,no-velocity,no-dispersion,no-skill"] * 2
    assert "flags" not in str(describe(table, 0.68))
    assert "ood_score" in str(table["id", "ood_score"])  # hidden, and asked for
    table["id"] = ["a protostar whose name is quite long"] * 2
    lines = str(describe(table, 0.68)).split("\n")
    assert lines[0].split() == ["id", "mass", "mass_lower", "mass_upper", "trust"]
    assert max(map(len, lines)) <= 80
    assert all(table[name].info.format for name in ("position", "mass", "ood_score", "x"))


def trusted(*flags, **columns):
    """Return a catalog of protostars with these flags."""
    n = len(flags)
    table = QTable({"id": np.arange(1, n + 1), "mass": np.ones(n) * u.solMass})
    table["mass_lower"], table["mass_upper"] = table["mass"] / 2, table["mass"] * 2
    table["ood_score"], table["flags"] = np.full(n, 0.5), list(flags)
    for name, values in columns.items():
        table[name] = values
    return describe(table, 0.68)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["", "", "unlike-references", "unlike-references,edge", "unlike-references", "no-skill"],
         "2 of 6 masses can be used: 3 are out of distribution, 1 is from a calibration without "
         "predictive power."),
        (["", "edge", "other-pixel-scale,no-velocity", "outside"],
         "2 of 4 masses can be used, 1 is doubtful: 1 is at the border of the map, 1 is "
         "outside the map."),
        (["weak-skill,edge", "weak-skill"],
         "None of 2 masses can be used, 2 are doubtful: 2 are from a calibration with little "
         "predictive power."),
        (["", ""], "2 of 2 masses can be used."),
        ([], ""),
    ],
)  # fmt: skip
def test_a_printed_catalog_ends_with_what_can_be_used(flags, sentence):
    table = trusted(*flags)
    found, present = verdict(table)
    assert found == sentence
    text = " ".join(str(table).split())
    assert sentence in text
    assert sentence in table._repr_html_()
    names = {name for own in flags for name in own.split(",") if name}
    assert {flag.name for flag in present} == names
    for name in names:
        assert f"{name}: {FLAGS[name].description}. To do: {FLAGS[name].remedy}." in text
    assert "can be used" not in str(table["id", "mass"])


def test_a_score_or_an_interval_that_is_not_finite_is_not_trusted():
    table = trusted("", "", "", ood_score=[0.5, np.nan, np.inf])
    assert table["trust"].tolist() == ["yes", "no", "no"]
    assert "2 are without a finite score or interval" in verdict(table)[0]
    table["mass_upper"][0] = np.inf
    assert describe(table, 0.68)["trust"].tolist() == ["no"] * 3


@pytest.mark.parametrize("suffix", ["ecsv", "vot", "fits", "csv"])
def test_trust_is_written(tmp_path, suffix):
    table = trusted("", "unlike-references")
    write_catalog(table, tmp_path / f"a.{suffix}")
    back = read_table(tmp_path / f"a.{suffix}", cls=Catalog)
    assert [str(value) for value in back["trust"]] == ["yes", "no"]
    assert verdict(back) == verdict(table)
    assert pickle.loads(pickle.dumps(table))["trust"].tolist() == ["yes", "no"]
    assert type(table[:1]) is type(vstack([table, table])) is Catalog


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_no_scale(gas, estimator):
    flat = GasMap(gas.column_density)
    with pytest.raises(ValueError, match=r"wcs|WCS"):
        estimator.catalog(flat)
    with pytest.raises(ValueError, match="not for given positions"):
        estimator.catalog(gas, PEAKS, threshold=3.0)
    with pytest.raises(
        TypeError, match="catalog has no parameter 'radius': the detection takes min_s"
    ):
        estimator.catalog(gas, radius=0.1 * u.pc)


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_written_tables(tmp_path, gas, estimator):
    table = estimator.catalog(gas, [*PEAKS[::-1], (900, 80)])
    for suffix in (".ecsv", ".vot", ".fits", ".csv"):
        path = tmp_path / f"masses{suffix}"
        write_catalog(table, path)
        kind = {".vot": "votable", ".csv": "ascii.csv"}.get(suffix)
        back = QTable.read(path, format=kind) if kind else QTable.read(path)
        assert_allclose(u.Quantity(back["mass"][:2]).value, table["mass"][:2].value)
        assert back["mass"].mask.tolist() == [False, False, True]
        where = (
            back["position"] if suffix == ".ecsv" else SkyCoord(back["ra"], back["dec"], unit="deg")
        )
        assert_allclose(where.separation(table["position"]).deg, 0, atol=1e-9)
        assert np.all(resolve_positions(path).where.separation(where).deg < 1e-9)
        if suffix != ".csv":
            assert estimator.reference_id_ in path.read_bytes().decode(errors="ignore")
        with pytest.raises(FileExistsError):
            write_catalog(table, path)
    assert fits.getval(tmp_path / "masses.fits", "REFMAPS", 1) == estimator.reference_id_
    assert QTable.read(tmp_path / "masses.ecsv").meta["version"] == table.meta["version"]
    assert "__attributes__" not in QTable.read(tmp_path / "masses.ecsv").meta
    votable = parse_votable(tmp_path / "masses.vot")
    fields = {field.name: field for field in votable.get_first_table().fields}
    for name, field in fields.items():
        assert check_ucd(field.ucd, check_controlled_vocabulary=True), name
    assert fields["mass"].ucd == "phys.mass"
    assert fields["mass_lower"].ucd == "phys.mass;stat.min"
    assert fields["ra"].ucd == "pos.eq.ra;meta.main"
    (system,) = votable.iter_coosys()
    assert system.system == "ICRS"
    assert fields["ra"].ref == fields["dec"].ref == system.ID
    write_regions(table, tmp_path / "masses.reg")
    regions = Regions.read(tmp_path / "masses.reg")
    assert len(regions) == len(table)
    assert "Msun" in regions[0].meta["text"]
    with pytest.raises(ValueError, match="output must end in"):
        write_catalog(table, tmp_path / "masses.doc")


NAMES = ["Größe α", "a\x1bb", "=cmd|' /C calc'!A0", "a\nb", "x}", "+31", "-12.5", "@home", "it's"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["fits", "vot", "ecsv", "csv"])
def test_names_of_others_come_back(tmp_path, suffix, name):
    table = trusted("", "")
    table["id"] = [name, "b"]
    table.meta["source"] = "Größe\n\x1b"
    table["position"] = SkyCoord([52, 53], [31, 32], unit="deg")
    path = tmp_path / f"a.{suffix}"
    write_catalog(table, path)
    assert str(read_table(path)["id"][0]) == name
    if suffix == "csv":  # what a spreadsheet would compute
        assert not path.read_text().splitlines()[1].startswith(("=", "@"))
    if suffix == "fits":  # what FITS allows in a header
        assert b"\x1b" not in path.read_bytes()[:5760]


@pytest.mark.parametrize("name", [*NAMES, "a}\nicrs;circle(1,2,3) # text={x"])
def test_names_add_no_regions(tmp_path, name):
    table = trusted("", "")
    table["id"] = [name, "b"]
    table["position"] = SkyCoord([52, 53], [31, 32], unit="deg")
    write_regions(table, tmp_path / "a.reg")
    assert len(Regions.read(tmp_path / "a.reg")) == len(resolve_positions(tmp_path / "a.reg")) == 2


def test_names_do_not_control_the_terminal(tmp_path):
    table = Table({"id": ["a\x1b[2Jb", "c"], "ra": [52.0, 53.0], "dec": [31.0, 32.0]})
    assert resolve_positions(table).ids == ["a\\x1b[2Jb", "c"]
    text = "# Region file format: DS9\nfk5\npoint(52,31) # text={a\x1b[2J}\nfoo\x1b(1,2)\n"
    (tmp_path / "a.reg").write_text(text)
    with pytest.warns(AstrofractalWarning) as caught:
        assert resolve_positions(tmp_path / "a.reg").ids == ["a\\x1b[2J"]
    assert "\x1b" not in str(caught[0].message)


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_generators_of_the_user_are_left_alone(gas):
    torch = pytest.importorskip("torch")

    def state():
        numbers = np.random.mtrand._rand.get_state()[1:3]
        return [str(n) for n in numbers], random.getstate(), torch.get_rng_state().tolist()

    estimator, before = StellarMassEstimator(), state()
    estimator.catalog(gas, PEAKS)
    estimator.catalog(gas)
    assert state() == before


def test_positions_in_columns(tmp_path):
    table = trusted("", "")
    table["position"] = SkyCoord([52, 53], [31, 32], unit="deg")
    write_catalog(table, tmp_path / "a.vot")
    back = QTable.read(tmp_path / "a.vot")
    assert "position" not in back.colnames
    assert_allclose(back["ra"].to_value("deg"), [52, 53])
    galactic = table.copy()
    galactic["position"] = table["position"].galactic
    write_catalog(galactic, tmp_path / "b.vot")
    assert_allclose(QTable.read(tmp_path / "b.vot")["ra"].to_value("deg"), [52, 53])


@pytest.mark.filterwarnings("ignore::astrofractal.mass.NoSkillWarning")
def test_positions_beside_the_peak_are_flagged(gas, estimator):
    scale = (0.5 * u.pc / 64 / gas.pixel_scale).to_value(u.one)
    true = estimator.catalog(gas, PEAKS)
    assert not any("off-center" in flags for flags in true["flags"])
    beside = np.array(PEAKS) + [2 * scale, 0]
    missed = estimator.catalog(gas, beside)
    assert all("off-center" in flags for flags in missed["flags"])
    assert_allclose(missed["x"], beside[:, 0])


@pytest.mark.parametrize("suffix", ["vot", "fits", "csv"])
def test_glue_reads_tables(tmp_path, suffix):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        factories = pytest.importorskip("glue.core.data_factories")
    position = SkyCoord([52.1, 52.2] * u.deg, [31.1, 31.2] * u.deg)
    table = QTable({"id": ["a", "b"], "position": position, "mass": [1, 2] * u.solMass})
    path = tmp_path / f"masses.{suffix}"
    write_catalog(table, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = factories.load_data(str(path))
    (data,) = data if isinstance(data, list) else (data,)
    assert [component.label for component in data.main_components] == ["id", "ra", "dec", "mass"]
    assert_allclose(data["ra"], position.ra.deg)
    assert_allclose(data["dec"], position.dec.deg)
    assert_allclose(data["mass"], [1, 2])
