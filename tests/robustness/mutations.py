"""Damaged files: strategies of hypothesis that change cards, bytes and lengths."""

import copy
from dataclasses import dataclass

from hypothesis import strategies as st

BLOCK, CARD = 2880, 80

#: Keywords that decide what is allocated or computed, and those that a map may have.
KEYWORDS = (
    *("SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT"),
    *("EXTNAME", "EXTVER", "BSCALE", "BZERO", "BLANK", "BUNIT", "BMAJ", "BMIN", "BPA", "UTYPE"),
    *("TFIELDS", "TFORM1", "TTYPE1", "TFORM2", "TTYPE2", "TDIM1", "TUNIT1", "THEAP", "TNULL1"),
    *("ZIMAGE", "ZCMPTYPE", "ZBITPIX", "ZNAXIS", "ZNAXIS1", "ZNAXIS2", "ZTILE1", "ZTILE2", "ZVAL1"),
    *("ZSCALE", "ZZERO", "ZQUANTIZ", "ZBLANK", "ZDITHER0", "ZNAME1", "ZNAXIS3", "ZTILE3"),
    *("CTYPE1", "CTYPE2", "CTYPE3", "CRVAL1", "CRVAL2", "CRVAL3", "CRPIX1", "CRPIX2", "CRPIX3"),
    *("CDELT1", "CDELT2", "CDELT3", "CUNIT1", "CUNIT2", "CUNIT3", "CROTA2", "WCSAXES", "WCSNAME"),
    *("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CD1_1", "CD1_2", "CD2_1", "CD2_2", "PC99_99", "CD999_9"),
    *("PV1_0", "PV1_1", "PV2_1", "PV2_2", "PV2_99", "PV99_1", "PS1_0", "PS3_1", "CRPIX999"),
    *("LONPOLE", "LATPOLE", "RADESYS", "EQUINOX", "EPOCH", "SPECSYS", "RESTFRQ", "RESTFREQ"),
    *("VELREF", "MJD-OBS", "DATE-OBS", "DATE", "OBSGEO-X", "OBSGEO-B", "TIMESYS", "DISTANCE"),
    *("A_ORDER", "B_ORDER", "AP_ORDER", "BP_ORDER", "A_2_0", "B_0_2", "A_9_9", "A_DMAX"),
    *("CPDIS1", "CPDIS2", "DP1", "DQ1", "CPERR1", "D2IMDIS1", "AXISCORR", "D2IMERR1", "WCSAXESA"),
    *("QSCALE", "QBLANK", "PIXSIZE", "CLOUD", "ENCODED", "PLANE1", "PLANE2", "PIXTYPE", "END"),
    *("CONTINUE", "HIERARCH", "COMMENT", "CHECKSUM", "DATASUM", "EXTEND", "GROUPS", "INHERIT", ""),
)  # fmt: skip

#: Values that are wrong for one keyword or another, as they are written in a card.
VALUES = (
    *("T", "F", "0", "1", "2", "3", "5", "7", "-1", "-8", "8", "16", "-32", "-64", "64", "9", "10"),
    *("17", "100", "999", "2000", "10000", "65536", "2147483647", "2147483648", "-2147483648"),
    *("9223372036854775807", "99999999999999999999", "1E300", "-1E300", "1E-300", "1E400", "NAN"),
    *("INF", "-INF", "1E10", "1E18", "0.0", "-0.0", "1D5", "1.5", "(1.0, 2.0)", "", "1e", "--", "'"),
    *("''", "'RA---TAN'", "'DEC--TAN'", "'RA---SIP'", "'RA---TAN-SIP'", "'DEC--TAN-SIP'"),
    *("'RA---TPV'", "'DEC--TPV'", "'RA---ZPN'", "'DEC--ZPN'", "'RA---CAR'", "'RA---TSC'"),
    *("'DEC--COE'", "'RA---COE'", "'GLON-CAR'", "'GLAT-CAR'", "'HPX'", "'RA---HPX'", "'DEC--HPX'"),
    *("'RA---BON'", "'DEC--BON'", "'RA---AZP'", "'DEC--AZP'", "'RA---SZP'", "'XPH'", "'RA---TAB'"),
    *("'RA---PCO'", "'DEC--PCO'", "'VELO-LSR'", "'FREQ'", "'VRAD'", "'FREQ-TAB'", "'WAVE-GRI'"),
    *("'STOKES'", "'deg'", "'arcsec'", "'km/s'", "'cm-2'", "'mag'", "'K km/s'", "'m^1000000000'"),
    *("'10**400 cm-2'", "'Jy/beam'", "'LOOKUP'", "'POLYNOMIAL'", "'TPD'", "'Lookup'", "'RICE_1'"),
    *("'GZIP_1'", "'GZIP_2'", "'PLIO_1'", "'HCOMPRESS_1'", "'NOCOMPRESS'", "'IMAGE'", "'BINTABLE'"),
    *("'TABLE'", "'1PB(10)'", "'1QB(99999999)'", "'1J'", "'99999999D'", "'PA'", "'0X'", "'(9,9)'"),
    *("'MASK'", "'COLUMN_DENSITY'", "'V_LOS'", "'SIGMA_V'", "'SINKS'", "'LOG_NH2'", "'CLOUDS'"),
    *("'NAXIS: 2'", "'AXIS.1: 1'", "'EXTVER: 1E9'", "'ICRS'", "'FK4'", "'FK5'", "'ECLIPTIC'"),
    *("'2000-01-01'", "'99999-99-99'", "'\x00\x01'", "'\xe4\xf6'", "'a' / [pc]", "1 / [pc]"),
)  # fmt: skip


@dataclass(frozen=True)
class Card:
    """Set a card of one of the headers, whether it was there or not; a value of None removes it."""

    keyword: str
    value: str | None
    where: int

    def __call__(self, data):
        cards = [i for i in range(0, len(data) - CARD + 1, CARD) if _is_card(data[i : i + CARD])]
        if not cards:
            return data
        text = self.keyword.ljust(8)[:8] + "= " + (self.value or "").rjust(20)
        text = text.encode("latin-1")[:CARD].ljust(CARD)
        same = [i for i in cards if data[i : i + 8].rstrip() == self.keyword.encode()]
        if same:
            start = same[self.where % len(same)]
            if self.value is None:
                text = b"COMMENT removed".ljust(CARD)
            return data[:start] + text + data[start + CARD :]
        # in the place of the END of a header, which moves into the padding after it
        ends = [i for i in cards if data[i : i + CARD] == b"END".ljust(CARD)]
        if not ends:
            return data
        start = ends[self.where % len(ends)]
        end = b"END".ljust(CARD)
        if (start + CARD) % BLOCK == 0:
            end = end.ljust(BLOCK)
            return data[:start] + text + end + data[start + CARD :]
        return data[:start] + text + end + data[start + 2 * CARD :]


def _is_card(card):
    return (card[8:10] == b"= " and card[:8].strip().isascii()) or card == b"END".ljust(CARD)


@dataclass(frozen=True)
class Bytes:
    """Put bytes over others, in their place, or between them."""

    place: float
    new: bytes
    n_removed: int

    def __call__(self, data):
        start = int(self.place * len(data))
        return data[:start] + self.new + data[start + self.n_removed :]


@dataclass(frozen=True)
class Cut:
    """Keep a part from the start."""

    place: float

    def __call__(self, data):
        return data[: int(self.place * len(data))]


@dataclass(frozen=True)
class Repeat:
    """Repeat a block of the file, or move it to another place."""

    source: float
    place: float
    n_blocks: int

    def __call__(self, data):
        start = int(self.source * len(data)) // BLOCK * BLOCK
        target = int(self.place * len(data)) // BLOCK * BLOCK
        return data[:target] + data[start : start + self.n_blocks * BLOCK] + data[target:]


places = st.floats(0, 1, exclude_max=True, width=32)
cards = st.builds(
    Card,
    st.sampled_from(KEYWORDS),
    st.none() | st.sampled_from(VALUES) | st.integers().map(str) | st.floats().map(repr),
    st.integers(0, 5),
)
flips = st.binary(min_size=1, max_size=8).flatmap(
    lambda new: st.builds(Bytes, places, st.just(new), st.just(len(new)))
)
shifts = st.builds(Bytes, places, st.binary(max_size=8), st.integers(0, 8))
byte_changes = flips | flips | shifts | st.builds(Cut, places)

#: One change of a FITS file.
repeats = st.builds(Repeat, places, places, st.integers(1, 3))
fits_changes = st.integers(0, 19).flatmap(
    lambda n: cards if n < 14 else flips if n < 17 else byte_changes if n < 19 else repeats
)


def mutated(files, changes):
    """
    Return a strategy of damaged files.

    Parameters
    ----------
    files : dict of bytes
        The sound ones, by name.
    changes : strategy
        Of one change, a function of bytes.
    """
    return st.builds(
        lambda name, steps: (name, steps),
        st.sampled_from(sorted(files)),
        st.lists(changes, min_size=1, max_size=4),
    )


def apply(data, steps):
    """Return a file after a list of changes."""
    for step in steps:
        data = step(data)
    return data


#: What stands in a text for people or programs, where something else is meant.
WORDS = (
    *("", " ", "\n", ",", ";", ":", "=", "#", '"', "'", "[", "]", "{", "}", "(", ")", "<", ">", "|"),
    *("nan", "inf", "-1", "0", "1e400", "9" * 30, "true", "null", "None", "\x00", "\ufeff", "ä", "°"),
    *("<!--", "&x;", "-->", "fk5", "galactic", "circle(", "ra", "dec", "[[x]]", "\\", "%", "\t"),
)  # fmt: skip

#: Values that no key of a JSON file expects all of.
PLAIN = (
    *(None, True, -1, 0, 1, 7, 10**6, 10**18, 10**400, 0.5, -0.5, 1e300, float("nan"), "", "x"),
    *(
        "0",
        [],
        [0],
        [[]],
        {},
        {"x": 1},
        [1e300] * 3,
        "svr",
        "ridge",
        "sklearn.svm:SVR",
        ["ridge"] * 9,
    ),
)


@dataclass(frozen=True)
class Word:
    """Put a word over a part of a text, or between two of them."""

    place: float
    word: str
    n_removed: int

    def __call__(self, data):
        return Bytes(self.place, self.word.encode(), self.n_removed)(data)


@dataclass(frozen=True)
class Node:
    """Change, add or remove one value of a JSON document."""

    place: float
    value: object
    key: str | None
    removes: bool

    def __call__(self, document):
        document = copy.deepcopy(document)
        nodes = list(_nodes(document))
        holder, key = nodes[int(self.place * len(nodes))]
        if self.removes:
            del holder[key]
        elif self.key is not None and isinstance(holder, dict):
            holder[self.key] = self.value
        else:
            holder[key] = self.value
        return document


def _nodes(document):
    """Yield the holder and the key of each value."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(items):
        yield document, key
        if isinstance(value, (dict, list)):
            yield from _nodes(value)


words = st.builds(Word, places, st.sampled_from(WORDS), st.integers(0, 12))
text_changes = words | byte_changes
json_changes = st.builds(
    Node, places, st.sampled_from(PLAIN), st.none() | st.just("extra"), st.booleans()
)
