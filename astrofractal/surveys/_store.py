"""The folder of a survey: what it is, and the results of its finished tiles."""

import json
import shutil
from pathlib import Path

import astrofractal
from astrofractal._utils.atomic import atomic_path

__all__ = ["SurveyFolder"]

# What differs, in words, where the values of a setting are digests.
_IN_WORDS = {
    "tool": "made with another {tool}: {old}, not {new}",
    "fitted_on": "whose segmenter was fitted on other maps: to add maps later, fit it yourself first",
}


class SurveyFolder:
    """
    A folder that keeps each finished tile, so that a survey can go on after an interruption.

    Parameters
    ----------
    path : path-like
        The folder.

    tool : estimator or segmenter
        What the tiles are made with; its `repr` is for people, its fingerprint is compared.

    settings : dict
        What else the results depend on, as plain values.

    resume : bool
        Whether finished tiles of an earlier run are taken; otherwise they are removed.

    Raises
    ------
    ValueError
        If the folder holds a survey with other settings, or something else.
    """

    def __init__(self, path, tool, settings, *, resume):
        self.path = Path(path)
        self.tiles = self.path / "tiles"
        settings = {**settings, "tool": tool.fingerprint(), "version": astrofractal.__version__}
        settings = json.loads(json.dumps(settings))
        manifest = self.path / "survey.json"
        if manifest.is_file() and resume:
            self._compare(json.loads(manifest.read_text(encoding="utf-8")), settings, tool)
        elif not manifest.is_file() and self.path.exists() and any(self.path.iterdir()):
            msg = f"output folder {str(self.path)!r} is neither empty nor a survey"
            raise ValueError(msg)
        else:
            shutil.rmtree(self.tiles, ignore_errors=True)
        about = {"made_with": repr(tool), "settings": settings}
        with atomic_path(manifest) as temporary:
            temporary.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        self.tiles.mkdir(exist_ok=True)

    def _compare(self, old, new, tool):
        settings = old.get("settings", {})
        for key in sorted(set(settings) | set(new)):
            if settings.get(key) == new.get(key):
                continue
            what = f"with {key}={settings.get(key)!r}, not {new.get(key)!r}"
            if key in _IN_WORDS:
                what = _IN_WORDS[key].format(
                    tool=type(tool).__name__, old=old.get("made_with"), new=repr(tool)
                )
            msg = (
                f"output folder {str(self.path)!r} holds a survey {what}; choose another folder, "
                "or resume=False to start again"
            )
            raise ValueError(msg)

    def tile(self, key, suffix):
        """Return the file of a tile."""
        return self.tiles / f"{key.replace('/', '_')}{suffix}"
