"""Tables from files that may come from strangers, and how their columns are shown."""

from xml.parsers import expat

import numpy as np
from astropy.table import Table

from astrofractal._utils.limits import open_bounded
from astrofractal._utils.reading import reading

__all__ = ["filled", "read_table", "sky_format"]


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
    OSError, ValueError
        If it cannot be read, or unpacked is larger than ``astrofractal.conf.max_image_size``, or is a
        VOTable that names another file or address, or that defines entities.
    """
    with open(path, "rb"):  # a local file: astropy would fetch an address
        pass
    with reading(path), open_bounded(path, only_fits=False) as file:
        start = file.read(256)
        file.seek(0)
        if start.startswith(b"SIMPLE"):
            return cls.read(file, **{"format": "fits", **options})
        if b"<" in start:
            _refuse_references(file)
            file.seek(0)
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


def filled(values, fill_value=np.nan):
    """
    Return values without a mask.

    Parameters
    ----------
    values : `~numpy.ndarray` or `~astropy.units.Quantity`
        Masked or not.
    fill_value : float, optional
        What stands where they are masked, in their unit.

    Returns
    -------
    values : `~numpy.ndarray` or `~astropy.units.Quantity`
        Plain ones.
    """
    if not hasattr(values, "filled"):
        return values
    unit = getattr(values, "unit", None)
    if unit is None or not hasattr(values, "to_value"):
        return values.filled(fill_value)
    return values.filled(fill_value * unit)


def sky_format(sky):
    """
    Return a format for a column of sky positions: degrees with five digits.

    Parameters
    ----------
    sky : `~astropy.coordinates.SkyCoord`
        The column.

    Returns
    -------
    format : str
        For its ``info.format``.
    """
    names = list(sky.representation_component_names)[:2]
    return ",".join(f"{{0.{name}.deg:.5f}}" for name in names)
