"""The folder of a survey: what it is, and the results of its finished tiles."""

import json
import shutil
from pathlib import Path

import astrofractal
from astrofractal._utils.atomic import atomic_path

__all__ = ["SurveyFolder", "fingerprint"]


def fingerprint(item):
    """Tell the state of an input file, so that a changed file is worked on again."""
    if isinstance(item, (str, Path)) and Path(item).is_file():
        stat = Path(item).stat()
        return f"{stat.st_size}-{stat.st_mtime_ns}"
    return ""


class SurveyFolder:
    """
    A folder that keeps each finished tile, so that a survey can go on after an interruption.

    Parameters
    ----------
    path : path-like
        The folder.

    settings : dict
        What the results depend on, as plain values.

    resume : bool
        Whether finished tiles of an earlier run are taken; otherwise they are removed.

    Raises
    ------
    ValueError
        If the folder holds a survey with other settings, or something else.
    """

    def __init__(self, path, settings, *, resume):
        self.path = Path(path)
        self.tiles = self.path / "tiles"
        settings = json.loads(json.dumps({**settings, "version": astrofractal.__version__}))
        manifest = self.path / "survey.json"
        if manifest.is_file() and resume:
            self._compare(json.loads(manifest.read_text(encoding="utf-8")), settings)
        elif not manifest.is_file() and self.path.exists() and any(self.path.iterdir()):
            msg = f"output folder {str(self.path)!r} is neither empty nor a survey"
            raise ValueError(msg)
        else:
            shutil.rmtree(self.tiles, ignore_errors=True)
        with atomic_path(manifest) as temporary:
            temporary.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
        self.tiles.mkdir(exist_ok=True)

    def _compare(self, old, new):
        for key in sorted(set(old) | set(new)):
            if old.get(key) != new.get(key):
                msg = (
                    f"output folder {str(self.path)!r} holds a survey with {key}="
                    f"{old.get(key)!r}, not {new.get(key)!r}: choose another folder, or "
                    "resume=False to start again"
                )
                raise ValueError(msg)

    def tile(self, key, suffix):
        """Return the file of a tile."""
        return self.tiles / f"{key.replace('/', '_')}{suffix}"
