"""Studies: each answers one question about methods or data, and writes its tables to a folder."""

import warnings
from collections.abc import Callable, Iterable
from inspect import signature
from pathlib import Path
from typing import Any

import astrofractal
from astrofractal._utils.annotations import PathLike, ProgressBar
from astrofractal._utils.validation import one_of
from astrofractal.benchmark.defaults import run_defaults
from astrofractal.benchmark.paper import run_paper
from astrofractal.benchmark.run import Journal, run_clouds
from astrofractal.benchmark.segments import run_segments
from astrofractal.benchmark.supervised import run_networks
from astrofractal.benchmark.telescopes import run_telescopes, run_weights
from astrofractal.mapset import MapSet

#: The studies by name.
STUDIES: dict[str, Callable[..., None]] = {
    "clouds": run_clouds,
    "paper": run_paper,
    "defaults": run_defaults,
    "weights": run_weights,
    "networks": run_networks,
    "telescopes": run_telescopes,
    "segments": run_segments,
}


def run_study(
    name: str,
    maps: MapSet | PathLike | Iterable[PathLike] | dict[str, MapSet],
    output: PathLike,
    *,
    overwrite: bool = False,
    progress_bar: ProgressBar = False,
    **options: Any,
) -> Journal:
    """
    Run a study and write its tables.

    Parameters
    ----------
    name : str
        One of ``STUDIES``, which ``astrofractal benchmark --help`` describes.
    maps : `~astrofractal.mapset.MapSet`, path-like or iterable of path-like
        The labeled maps, or a folder or file of them; for ``"paper"`` several, or sets by name.
        For ``"segments"`` and ``"telescopes"`` files of whole clouds with a table ``SINKS``, for
        ``"segments"`` also of observed maps.
    output : path-like
        The folder of the tables, each of which is written anew whenever it grows.
    overwrite : bool, optional
        Whether tables of an existing folder may be replaced, or continued.
    progress_bar : bool or callable, optional
        Whether to show progress.
    **options
        Those of the study, as of ``astrofractal benchmark``.

    Returns
    -------
    journal : `~astrofractal.benchmark.run.Journal`
        With ``tables``, and ``failed``: what raised an error.
    """
    study = STUDIES[one_of("study", name, STUDIES)]
    known = [*signature(study).parameters][2:]
    for option in options:
        if option not in known:
            msg = (
                f"{option} must not be given with the study {name!r}, which has {', '.join(known)}"
            )
            raise ValueError(msg)
    output = Path(output)
    if not overwrite and output.exists() and (not output.is_dir() or any(output.iterdir())):
        msg = f"{str(output)!r} exists and overwrite is False"
        raise FileExistsError(msg)
    if isinstance(maps, (str, Path)):
        maps = MapSet.read(maps)
    journal = Journal(output, {"version": astrofractal.__version__, "study": name})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        study(journal, maps, progress_bar=progress_bar, **options)
    return journal
