"""What a file asks for is checked in its headers, before anything is allocated or computed."""

import bz2
import gzip
import io
import lzma
import tracemalloc

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

import astrofractal
from astrofractal import GasMap
from astrofractal._utils.limits import check_wcs_cards, open_bounded
from astrofractal._utils.tables import read_table
from astrofractal.catalogs.positions import resolve_positions
from astrofractal.mapset import MapSet
from tests.factories import make_column, make_header, make_mapset

SHAPE = (40, 40)
PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def bomb(key, length, packer=bytes, hdu=None):
    """Return a map whose header says that it is ``length`` pixels long on both axes."""
    image = make_column(SHAPE).astype(np.float32)
    hdus = fits.HDUList([fits.PrimaryHDU(), (hdu or fits.ImageHDU)(image, make_header(SHAPE))])
    text = hdus_bytes(hdus)
    for axis in (1, 2):
        old = text.index(f"{key}{axis}".ljust(8).encode() + b"= ", 2880)
        text = text[: old + 10] + str(length).rjust(20).encode() + text[old + 30 :]
    return packer(text)


def hdus_bytes(hdus):
    file = io.BytesIO()
    hdus.writeto(file)
    return file.getvalue()


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_small_file_of_a_huge_map(tmp_path, suffix):
    path = tmp_path / f"bomb.fits{suffix}"
    path.write_bytes(bomb("NAXIS", 300_000, PACKERS[suffix]))
    tracemalloc.start()
    with pytest.raises(OSError, match=r"bomb.fits.*(max_image_size|truncated)"):
        GasMap.read(path, distance=300 * u.pc)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**27


def test_a_small_file_of_a_huge_tiled_map(tmp_path):
    path = tmp_path / "bomb.fits"
    path.write_bytes(bomb("ZNAXIS", 300_000, hdu=fits.CompImageHDU))
    with pytest.raises(OSError, match=r"bomb.fits.*max_image_size"):
        GasMap.read(path, distance=300 * u.pc)


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
@pytest.mark.parametrize("start", [b"SIMPLE  =                    T".ljust(80), b""])
def test_a_header_without_end(tmp_path, suffix, start):
    """Blanks forever: astropy would read them all."""
    path = tmp_path / f"bomb.fits{suffix}"
    path.write_bytes(PACKERS[suffix](start + b" " * 12_000_000))
    with pytest.raises(OSError, match=r"bomb.fits.*(no END|no FITS file)"):
        GasMap.read(path, distance=300 * u.pc)


@pytest.mark.parametrize("suffix", PACKERS)
def test_the_limit_is_a_config_item(tmp_path, suffix):
    path = tmp_path / f"map.fits{suffix}"
    path.write_bytes(PACKERS[suffix](bomb("NAXIS", SHAPE[0])))
    sound = GasMap.read(path, distance=300 * u.pc)
    assert sound.shape == SHAPE
    with (
        astrofractal.conf.set_temp("max_image_size", 1e-6),
        pytest.raises(OSError, match="more than the 1e-06 GiB of astrofractal.conf"),
    ):
        GasMap.read(path, distance=300 * u.pc)


def test_the_limit_holds_for_map_sets_and_tables(tmp_path):
    make_mapset(10).write(tmp_path / "maps.fits.gz")
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(b"ra,dec\n" + b"1,2\n" * 1000))
    assert len(read_table(tmp_path / "table.csv.gz")) == 1000
    with astrofractal.conf.set_temp("max_image_size", 1e-6):
        with pytest.raises(OSError, match=r"maps.fits.gz.*max_image_size"):
            MapSet.read(tmp_path / "maps.fits.gz")
        with pytest.raises(OSError, match=r"table.csv.gz.*max_image_size"):
            read_table(tmp_path / "table.csv.gz")


@pytest.mark.parametrize("packer", PACKERS.values())
@pytest.mark.parametrize(("name", "text"), [
    ("p.reg", b"# Region file format: DS9\nfk5\n#" + b"x" * 3_000_000 + b"\ncircle(1,2,3)\n"),
    ("p.csv", b"ra,dec\n" + b"1,2\n" * 800_000),
    ("p.txt", b"1 2\n" + b" " * 3_000_000),
])  # fmt: skip
def test_the_limit_holds_for_what_parsing_takes(tmp_path, name, text, packer):
    path = tmp_path / name
    path.write_bytes(packer(text))
    with (
        astrofractal.conf.set_temp("max_image_size", 0.02),
        pytest.raises(OSError, match=rf"{name}.*more than the 0.02 GiB"),
    ):
        resolve_positions(path)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x1f\x9d"])
def test_other_archives_are_not_unpacked(tmp_path, start):
    (tmp_path / "map.fits").write_bytes(start + bytes(100))
    with pytest.raises(OSError, match="unpack it first"), open_bounded(tmp_path / "map.fits"):
        pass


@pytest.mark.parametrize(
    "cards",
    [
        {"A_ORDER": 10_000, "B_ORDER": 2},
        {"A_ORDER": 2, "B_ORDER": -10},
        {"A_2_0": "AXIS.1: 1"},  # a record: wcslib crashes
        {"WCSAXES": 10_000},
        {"CRPIX999": 1.0},
        {"PC2_99": 1.0},
        {"CRVAL1": 1e300},
        {"LONPOLE": 1e30},
        {"PV2_1": -1e30},
        {"DP1": "NAXES: 10000"},
        {f"PV1_{m}": 0.0 for m in range(201)},
    ],
    ids=lambda cards: next(iter(cards)),
)
def test_headers_that_would_keep_wcslib_busy(cards):
    header = make_header(SHAPE, **cards)
    with pytest.raises(ValueError, match="more than|must be a number"):
        check_wcs_cards(header)
    with pytest.raises(ValueError, match="cannot read the WCS"):
        GasMap(make_column(SHAPE) / u.cm**2, wcs=header, distance=300 * u.pc)


def test_a_card_that_is_there_twice():
    header = make_header(SHAPE, A_ORDER=2)
    header.append(("A_ORDER", 10_000))
    with pytest.raises(ValueError, match="A_ORDER must be a number within 9, got 10000"):
        check_wcs_cards(header)
