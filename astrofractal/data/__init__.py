"""Files that the package ships: weights, reference maps, the example cloud."""

from pathlib import Path

__all__ = ["data_path"]


def data_path(name: str) -> Path:
    """Return the path of a bundled file."""
    folder = Path(__file__).parent
    path = folder / name
    if not path.is_file():
        have = ", ".join(sorted(p.name for p in folder.iterdir() if p.suffix not in {".py", ""}))
        msg = f"no bundled file {name!r}; there are: {have or 'none'}"
        raise FileNotFoundError(msg)
    return path
