"""Tables from files that may come from strangers."""

from xml.parsers import expat

from astropy.table import Table
from astropy.utils.data import get_readable_fileobj

__all__ = ["read_table"]


def read_table(path, *, cls=Table, **options):
    """
    Read a table from a local file, and from nowhere else.

    Parameters
    ----------
    path : path-like
        The file.
    cls : type, optional
        `~astropy.table.Table` or `~astropy.table.QTable`.
    **options
        Passed to its ``read``.

    Returns
    -------
    table : `~astropy.table.Table`
        The table.

    Raises
    ------
    ValueError
        If it is a VOTable that names another file or address, or that defines entities.
    """
    with open(path, "rb"):  # a local file: astropy would fetch an address
        pass
    with get_readable_fileobj(str(path), encoding="binary") as file:
        if b"<" in file.read(256):
            file.seek(0)
            _refuse_references(file)
    return cls.read(path, **options)


def _refuse_references(file):
    """Raise an error if an XML file would make its reader open something else."""

    def start(name, attributes):
        if name.rpartition(":")[2] == "STREAM" and "href" in attributes:
            msg = f"a STREAM with href={attributes['href']!r} is not followed: only local data are read"
            raise ValueError(msg)

    def entity(name, *_):
        msg = f"a VOTable with an entity ({name!r}) is not read"
        raise ValueError(msg)

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    parser.EntityDeclHandler = entity
    try:
        while block := file.read(1 << 20):
            parser.Parse(block)
    except expat.ExpatError:  # no XML, or broken: its reader says so
        return
