"""What a benchmark knows so far: tables that grow on disk, and what failed."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from astropy import units as u
from astropy.table import QTable

from astrofractal._utils.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from astrofractal._utils.annotations import PathLike


__all__ = ["COLUMNS", "Journal"]

logger = logging.getLogger(__name__)

#: What the columns of the tables mean.
COLUMNS = {
    "protocol": "how the maps were split",
    "method": "what was scored",
    "reference": "what it is compared with",
    "features": "what the regressor was given",
    "regressor": "the regressor",
    "channels": "the channels that the method saw",
    "cloud": "all clouds together, or one",
    "n_maps": "the number of maps that were tested",
    "n_protostars": "the number of their protostars",
    "n_labels": "the number of protostars that the method was calibrated on",
    "n_draws": "draws of the labeled protostars that the row is the mean of",
    "maps": "maps of each labeled protostar",
    "n_effective": "independent maps that the maps are worth",
    "r2_protostar": "R2 of log10 mass, each protostar of the same weight (or the difference)",
    "rmse_protostar": "root-mean-square error of log10 mass, each protostar of the same weight",
    "r2": "R2 of log10 mass, each map of the same weight (or the difference)",
    "rmse": "root-mean-square error of log10 mass, each map of the same weight",
    "level": "FWHM or pixels in pixels, signal-to-noise, masked part, pixels off, channels left",
    "r2_difference": "r2_protostar less that of the reference",
    "fit_time": "time of the fits, without the features",
    "predict_time": "time of the predictions, without the features",
    "row": "the index of the map in the file of its cloud",
    "log_mass": "log10 of the mass in solar masses",
    "predicted": "its prediction, with that cloud held out",
    "half_68": "half the width of the 68 % interval",
    "half_90": "half the width of the 90 % interval",
    "coverage_68": "part of the masses within the 68 % intervals",
}
_DEX = {"rmse", "rmse_protostar", "half_68", "half_90", "bias"}
_SECONDS = {"fit_time", "predict_time"}


class Journal:
    """
    Keeps tables on disk as their rows come, and goes on where one method fails.

    Parameters
    ----------
    folder : path-like, optional
        Where ``<table>.ecsv`` is written anew after each addition; nothing is written without it.

    meta : dict, optional
        What all tables are told about their making.

    Attributes
    ----------
    tables : dict of `~astropy.table.QTable`
        The tables so far.

    failed : list of str
        What failed, and how.
    """

    def __init__(self, folder: PathLike | None = None, meta: dict[str, Any] | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self.meta = dict(meta or {})
        self.tables = {}
        self.failed = []
        self._rows = {}
        self._start = time.perf_counter()

    def add(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        """
        Add rows to a table.

        Parameters
        ----------
        name : str
            The name of the table.

        rows : iterable of dict
            Plain values.
        """
        known = self._rows.setdefault(name, [])
        known += rows
        if known:
            self.keep(name, QTable(rows=known))

    def keep(self, name: str, table: QTable) -> None:
        """
        Keep a whole table.

        Parameters
        ----------
        name : str
            The name of the table.

        table : `~astropy.table.QTable`
            The table; its columns are given units, descriptions and formats.
        """
        for column in table.colnames:
            base = column.removesuffix("_err").removesuffix("_scatter")
            if table[column].dtype.kind == "f":
                table[column] = table[column].round(5)  # the rest would be noise
                table[column].info.format = ".3f"
            if base in _DEX:
                table[column] = u.Quantity(table[column], u.dex)
            if base in _SECONDS:
                table[column] = u.Quantity(table[column], u.s)
            described = COLUMNS.get(base, "")
            if base != column:
                over = "bootstraps" if column.endswith("_err") else "draws"
                described = f"standard deviation over {over}"
            table[column].info.description = described or None
        table.meta |= self.meta | {"failed": list(self.failed)}
        table.meta["minutes"] = round((time.perf_counter() - self._start) / 60, 1)
        self.tables[name] = table
        if self.folder is not None:
            with atomic_path(self.folder / f"{name}.ecsv") as temporary:
                table.write(temporary)

    def attempt(self, what: str, function: Callable[..., Any], *, required: bool = False) -> bool:
        """
        Call a function; if it fails, note that and go on.

        Parameters
        ----------
        what : str
            What is done, for the note.

        function : callable
            Called without arguments.

        required : bool, optional
            Whether the benchmark is worth nothing without it.

        Returns
        -------
        done : bool
            Whether it did not fail.
        """
        start = time.perf_counter()
        try:
            function()
        except Exception as error:  # hours of other methods must not be lost
            if required:
                raise
            logger.exception("%s failed", what)
            self.failed.append(f"{what}: {type(error).__name__}: {error}")
            return False
        logger.info("%s: %.1f s", what, time.perf_counter() - start)
        return True
