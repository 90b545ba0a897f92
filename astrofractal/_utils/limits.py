"""What a file may ask for: memory, axes, distortions; checked before anything is allocated."""

import bz2
import gzip
import lzma
import math
import os
import re
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from astropy import config
from astropy.io import fits

_BLOCK = 2880
#: Blocks of a header: 130,000 cards.
_MOST_BLOCKS = 3600
#: The standard's largest number of columns of a table.
_MOST_COLUMNS = 999
#: More axes than any image has; the memory for a WCS grows with their square.
_MOST_AXES = 15
#: The highest order of SIP polynomials, and more parameters than any projection takes.
_MOST_ORDER, _MOST_PARAMETERS = 9, 200
#: Loops that bring an angle into a circle step by step must end.
_LARGEST_ANGLE = 1e6

_PACKED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
_NOT_UNPACKED = {b"PK\x03\x04": "a ZIP archive", b"\x1f\x9d": "packed by compress (.Z)"}

_AXIS_CARD = re.compile(
    r"(?:CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CROTA|CNAME)(\d+)[A-Z]?|(?:PC|CD)(\d+)_(\d+)[A-Z]?|"
    r"(?P<parameter>P[VS](\d+)_\d+|D[PQ](\d+))[A-Z]?"
)
_RECORD_CARD = re.compile(r"D[PQ]\d+[A-Z]?")
_NUMBER_CARD = re.compile(r"[AB]P?_(?:\d+_\d+|DMAX|ORDER)|WCSAXES[A-Z]?|NAXIS\d*|RESTFR.*|MJD.*")

#: Cards whose numbers are limited, and by what.
_LIMITED = {
    re.compile(r"(?:WCSAXES.*|NAXIS)(?:\..*)?|.*\.NAXES"): _MOST_AXES,
    re.compile(r"[AB]P?_ORDER"): _MOST_ORDER,
    re.compile(r"[AB]P?_(?:\d+_\d+|DMAX)"): math.inf,
    re.compile(r"(?:LONPOLE|LATPOLE|PV\d+_\d+|CROTA\d+)[A-Z]?(?:\..*)?"): _LARGEST_ANGLE,
}
_CELESTIAL = re.compile(r"(?:RA|DEC|.LON|.LAT|..LN|..LT)-", re.I)
_PER_TURN = {"deg": 360.0, "arcmin": 2.16e4, "arcsec": 1.296e6, "mas": 1.296e9, "rad": 2 * math.pi}


class Conf(config.ConfigNamespace):
    """What cannot change a result."""

    rootname = "astrofractal"

    max_image_size = config.ConfigItem(
        4.0,
        "The largest image, and the largest packed file when unpacked, that is read into memory, "
        "in GiB.",
        cfgtype="float(min=0)",
        module="astrofractal",
    )


#: The configuration of the package.
conf = Conf()


def check_size(n_bytes, what):
    """Refuse what would need more memory than the user allows."""
    if n_bytes > conf.max_image_size * 2**30:
        limit = f"more than the {conf.max_image_size:g} GiB of astrofractal.conf.max_image_size"
        msg = f"{what} takes {n_bytes / 2**30:.3g} GiB, {limit}: raise that, or cut the map out"
        raise OSError(msg)


@contextmanager
def open_bounded(path):
    """Open a file, unpacked once, after checking what its headers ask for if it is a FITS file."""
    with ExitStack() as stack:
        file = stack.enter_context(Path(path).open("rb"))
        unpack = _unpacker(file)
        if unpack is None:
            _walk(file)
        else:
            copy = stack.enter_context(tempfile.TemporaryFile())
            packed = stack.enter_context(unpack(file))
            while part := packed.read(1 << 20):
                copy.write(part)
                check_size(copy.tell(), "unpacked, it")
            copy.seek(0)
            if _unpacker(copy) is not None:  # its reader would unpack it again
                msg = "it is packed twice: unpack it first"
                raise OSError(msg)
            copy.truncate(_walk(copy))
            # A file object that carries the name of the packed one, for messages.
            file = stack.enter_context(open(path, "rb", opener=lambda *_: os.dup(copy.fileno())))
        file.seek(0)
        yield file


def _unpacker(file):
    """Return what unpacks an open file, or `None` if it is not packed."""
    start = file.read(6)
    file.seek(0)
    for mark, kind in _NOT_UNPACKED.items():
        if start.startswith(mark):
            msg = f"it is {kind}: unpack it first"
            raise OSError(msg)
    return next((opener for mark, opener in _PACKED.items() if start.startswith(mark)), None)


def read_bounded(path):
    """Return the bytes of a table or of regions, unpacked once, if there is memory to parse them."""
    with open_bounded(path) as file:
        is_text = not file.peek(6).startswith((b"SIMPLE", b"\x89HDF", b"PAR1"))
        size = os.fstat(file.fileno()).st_size
        # while it is parsed, each value of a text is an object
        check_size(size * (20 if is_text else 4), "what is read of it")
        return file.read()


def _walk(file):
    """Check the headers of a FITS file; return where it ends, or the length of another file."""
    length, end, mark = os.fstat(file.fileno()).st_size, 0, b"SIMPLE"
    while (text := _header_text(file, mark)) is not None:
        size = _data_size(fits.Header.fromstring(text), text)
        if size > length:  # astropy says that it is truncated
            return length
        end = file.seek(size + -size % _BLOCK, os.SEEK_CUR)
        mark = b"XTENSION"
    return min(end or length, length)


def _header_text(file, mark):
    """Return the blocks of a header, or `None` where none begins, or the file ends."""
    text = b""
    for _ in range(_MOST_BLOCKS):
        block = file.read(_BLOCK)
        if len(block) < _BLOCK or not (text or block.startswith(mark)):
            return None
        text += block
        if re.search(rb"^(?:.{80})*END {5}", block, re.S):
            return text
    msg = f"a header has no END in its first {_MOST_BLOCKS * _BLOCK // 2**20} MiB"
    raise OSError(msg)


def _data_size(header, text):
    """Return the bytes of an HDU's data, after checking what it would be unpacked to."""
    shape = _shape(header, "NAXIS")
    groups = len(shape) > 0 and shape[0] == 0 and header.get("GROUPS") is True
    n_pixels = math.prod(shape[1:] if groups else shape) if shape else 0
    n_columns = _integer(header, "TFIELDS", 0)
    if n_columns > _MOST_COLUMNS:
        msg = f"TFIELDS must be at most {_MOST_COLUMNS}, got {n_columns}"
        raise OSError(msg)
    if b"ZIMAGE" in text:
        bits = abs(_integer(header, "ZBITPIX", 8, least=-64))
        image = _shape(header, "ZNAXIS")
        tile = [_integer(header, f"ZTILE{axis}", 1) for axis in range(1, len(image) + 1)]
        n_most = max(math.prod(image), math.prod(tile))
        check_size(n_most * max(bits // 8, 4), "a compressed image")
    bits = abs(_integer(header, "BITPIX", 8, least=-64))
    pcount, gcount = _integer(header, "PCOUNT", 0), _integer(header, "GCOUNT", 1)
    return bits * gcount * (pcount + n_pixels) // 8 if shape else 0


def _shape(header, key):
    n_axes = _integer(header, key, 0)
    if n_axes > _MOST_AXES:
        msg = f"{key} must be at most {_MOST_AXES}, got {n_axes}"
        raise OSError(msg)
    return [_integer(header, f"{key}{axis}", 0) for axis in range(1, n_axes + 1)]


def _integer(header, key, default, *, least=0):
    value = header.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        msg = f"{key} must be an integer of at least {least}, got {value!r}"
        raise OSError(msg)
    return value


def check_wcs_cards(header):
    """Refuse what would keep a reader of a WCS busy, or its memory full."""
    n_parameters = 0
    kinds = {str(card.keyword): str(card.value) for card in header.cards["C*"]}
    for card in header.cards:  # also those that are there twice
        # Records, such as "DP1 = 'AXIS.1: 2'", have the keyword DP1.AXIS.1.
        key, _, field = str(card.keyword).partition(".")
        found = _AXIS_CARD.fullmatch(key)
        if found and any(int(n) > _MOST_AXES for n in found.groups() if n and n.isdigit()):
            msg = f"{key} is of more than {_MOST_AXES} axes"
            raise ValueError(msg)
        n_parameters += found is not None and found["parameter"] is not None
        if field and not _RECORD_CARD.fullmatch(key) and (found or _NUMBER_CARD.fullmatch(key)):
            msg = f"{key} must be a number, got the record {field!r}"
            raise ValueError(msg)
        limits = [n for keys, n in _LIMITED.items() if keys.fullmatch(str(card.keyword))]
        if key.startswith("CRVAL") and _CELESTIAL.match(kinds.get(f"CTYPE{key[5:]}", "")):
            unit = kinds.get(f"CUNIT{key[5:]}", "deg").strip().lower()
            limits = [_PER_TURN.get(unit, 360.0) * _LARGEST_ANGLE / 360]
        if limits:
            _check_number(key, card.value, limits[0])
    if n_parameters > _MOST_PARAMETERS:
        msg = f"it has {n_parameters} parameters of projections, more than {_MOST_PARAMETERS}"
        raise ValueError(msg)


def _check_number(key, value, largest):
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= largest:
        within = "" if largest == math.inf else f" within {largest:g}"
        msg = f"{key} must be a number{within}, got {value!r}"
        raise ValueError(msg)
