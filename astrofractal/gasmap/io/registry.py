"""The readers of maps: functions with the decorator `register`, by the name of what they read."""

import inspect
import reprlib
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar

from astropy.io import fits
from astropy.table import Table
from astropy.wcs.wcsapi import BaseLowLevelWCS

from astrofractal._utils.validation import one_of
from astrofractal.gasmap.channel import DISPERSION_KINDS
from astrofractal.gasmap.checks import check_beam
from astrofractal.gasmap.column import ColumnConversion
from astrofractal.gasmap.moments import CHANNELS


@dataclass
class MapParts:
    """What a reader finds: the parts that a `~astrofractal.GasMap` is made of."""

    channels: dict  #: the `~astrofractal.gasmap.channel.Channel` of each name in CHANNELS
    wcs: Any = None
    distance: Any = None
    beam: Any = None
    pixel_scale: Any = None
    rest_frequency: Any = None
    meta: dict = field(default_factory=dict)


@dataclass
class ReadOptions:
    """The options of a reader, checked as far as they can be without data."""

    velocity: Any = None
    dispersion: Any = None
    uncertainty: Any = None
    column: Any = None
    distance: Any = None
    beam: Any = None
    pixel_scale: Any = None
    unit: Any = None
    hdu: Any = None
    no_data: Any = None
    dispersion_kind: Any = None
    line_width: Any = None
    wcs: Any = None
    velocity_range: Any = None
    noise: Any = None
    snr: float = 4.0
    progress_bar: Any = False

    @classmethod
    def of(cls, arguments):
        """Return the options among the arguments of a function."""
        names = {one.name for one in fields(cls)}
        return cls(**{name: value for name, value in arguments.items() if name in names})

    def __post_init__(self):
        if not isinstance(self.column, ColumnConversion | None):
            kind = type(self.column).__name__
            msg = f"column must be an XFactor, Extinction, DustEmission or Abundance, got {kind}"
            raise TypeError(msg)
        self.beam = check_beam(self.beam)
        if self.dispersion_kind is not None:
            one_of("dispersion_kind", self.dispersion_kind, DISPERSION_KINDS)
        self.uncertainty = dict(self.uncertainty or {})
        for name in self.uncertainty:
            one_of("uncertainty", name, CHANNELS)

    def given(self):
        """Return the options of `~astrofractal.GasMap.read` that were given."""
        names = [one.name for one in fields(self)]
        values = {name: getattr(self, name) for name in names[: names.index("velocity_range")]}
        values["uncertainty"] = self.uncertainty or None
        return {name: value for name, value in values.items() if value is not None}

    def parts(self):
        """Return the parts of a map that are known before anything is read."""
        return MapParts({}, self.wcs, self.distance, self.beam, self.pixel_scale)


@dataclass(frozen=True)
class Reader:
    """A reader of one format, which is called with a source and `ReadOptions`."""

    name: str
    read: Callable
    identify: Callable
    unused: tuple


_READERS: dict[str, Reader] = {}


def register(name, *, identify, unused=()):
    """Return a decorator that registers a reader; ``unused`` are options that it cannot use."""

    def decorate(function):
        _READERS[name] = Reader(name, function, identify, tuple(unused))
        return function

    return decorate


def list_formats() -> Table:
    """Return the formats that `~astrofractal.GasMap.read` reads, a `~astropy.table.Table`."""
    lines = [(inspect.getdoc(reader.read) or "").partition("\n")[0] for reader in _READERS.values()]
    return Table({"Format": list(_READERS), "Description": lines})


def describe_format(format: str | None = None) -> None:
    """
    Print what a format is and which options it takes.

    Parameters
    ----------
    format : str, optional
        A name of `list_formats`; all of them by default.
    """
    for name in _READERS if format is None else [one_of("format", format, tuple(_READERS))]:
        reader = _READERS[name]
        options = [one.name for one in fields(ReadOptions) if one.name not in reader.unused]
        options[options.index("wcs") :] = []  # given as (data, wcs)
        print(f'format="{name}"\n')
        print(f"{inspect.getdoc(reader.read)}\n\nOptions: {', '.join(options)}\n")


_P = ParamSpec("_P")
_R = TypeVar("_R", covariant=True)

if TYPE_CHECKING:

    class _Read(Generic[_P, _R]):
        """A class method that reads, with the functions about formats as its attributes."""

        list_formats = staticmethod(list_formats)
        help = staticmethod(describe_format)

        def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...

    class with_formats(Generic[_P, _R]):  # noqa: N801
        """The decorator below, for type checkers."""

        def __init__(self, method: Callable[Concatenate[Any, _P], _R]) -> None: ...

        def __get__(self, instance: object, owner: type) -> _Read[_P, _R]: ...

else:

    def with_formats(method):
        """Give a class method that reads the attributes ``list_formats`` and ``help``."""
        method.__func__.list_formats, method.__func__.help = list_formats, describe_format
        return method


def read_source(source, format, options):
    """Return the parts of a map that a source holds, as the first reader that fits finds them."""
    if is_pair(source):
        source, wcs = source
        options = replace(options, wcs=wcs)
    if format is not None:
        reader = _READERS[one_of("format", format, tuple(_READERS))]
    else:
        # the newest first, so that a special layout comes before the general one
        reader = next((one for one in reversed(_READERS.values()) if one.identify(source)), None)
    if reader is None:
        kinds = "a path, a file, HDUs, NDData, a Quantity, a cube, (data, wcs) or a GasMap"
        msg = f"source must be {kinds}, got {type(source).__name__}: {source!r}"
        raise TypeError(msg)
    unused = {name: value for name, value in options.given().items() if name in reader.unused}
    refuse_unused(f"a source of format {reader.name!r}", unused)
    return reader.read(source, options)


def is_pair(source):
    """Return whether a source is (data, wcs) or (data, header)."""
    if not isinstance(source, tuple) or len(source) != 2:
        return False
    has_axes = hasattr(source[1], "low_level_wcs")
    return has_axes or isinstance(source[1], fits.Header | BaseLowLevelWCS)


def refuse_unused(source, options):
    """Refuse options that a source cannot use."""
    given = [
        f"{name}={reprlib.repr(value)}"
        for name, value in options.items()
        if value is not None and value is not False
    ]
    if given:
        msg = f"{source} cannot use {', '.join(given)}: leave it out"
        raise ValueError(msg)
