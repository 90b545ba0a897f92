"""Tables are read from the file alone."""

import bz2
import gzip
import lzma

import pytest
from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.tables import read_table

VOTABLE = """<?xml version="1.0"?>{doctype}
<VOTABLE version="1.3"><RESOURCE><TABLE><FIELD name="ra" datatype="double"/><DATA><BINARY>
<STREAM {href} encoding="base64">AAAAAAAAAAA=</STREAM>
</BINARY></DATA></TABLE></RESOURCE></VOTABLE>"""


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("address", ["http://localhost/x", "file:///etc/hostname"])
def test_streams_are_not_followed(tmp_path, address, encoding, compressed):
    path = tmp_path / "table.vot"
    text = VOTABLE.format(doctype="", href=f'href="{address}"')
    text = text.replace("?>", f' encoding="{encoding}"?>', 1).encode(encoding)
    path.write_bytes(gzip.compress(text) if compressed else text)
    with pytest.raises(ValueError, match="is not followed: only local data"):
        read_table(path)


@pytest.mark.parametrize("first", [gzip, bz2, lzma])
@pytest.mark.parametrize("second", [gzip, bz2, lzma])
def test_files_that_are_packed_twice(tmp_path, first, second):
    """The reader would unpack what was checked once more, and follow what it then finds."""
    path = tmp_path / "table.vot"
    text = VOTABLE.format(doctype="", href='href="http://localhost/x"').encode()
    path.write_bytes(first.compress(second.compress(text)))
    with pytest.raises(OSError, match=r"table\.vot.*packed twice: unpack it first"):
        read_table(path)


@pytest.mark.parametrize("start", [" " * 300, "\n" * 300])
def test_streams_after_blanks_are_not_followed(tmp_path, start):
    path = tmp_path / "table.vot"
    text = VOTABLE.format(doctype="", href='href="http://localhost/x"').partition("?>")[2]
    path.write_text(start + text)
    with pytest.raises(ValueError, match="is not followed: only local data"):
        read_table(path)


def test_entities_are_refused(tmp_path):
    path = tmp_path / "table.vot"
    doctype = '<!DOCTYPE VOTABLE [<!ENTITY bomb SYSTEM "file:///etc/hostname">]>'
    path.write_text(VOTABLE.format(doctype=doctype, href=""))
    with pytest.raises(ValueError, match="an entity"):
        read_table(path)


@pytest.mark.parametrize("address", ["http://localhost/table.vot", "no-such-file.vot"])
def test_addresses_are_not_fetched(address):
    with pytest.raises(FileNotFoundError):
        read_table(address)


@pytest.mark.parametrize("suffix", ["vot", "ecsv", "fits"])
def test_tables_are_read(tmp_path, suffix):
    path = tmp_path / f"table.{suffix}"
    table = QTable({"ra": [1.0, 2.0] * u.deg})
    table.write(path, **({"format": "votable"} if suffix == "vot" else {}))
    assert (read_table(path, cls=QTable)["ra"] == table["ra"]).all()
