"""Types that many signatures share, for readers and type checkers: import them for checking alone."""

import os
from collections.abc import Callable
from typing import Any, TypeAlias

__all__ = ["PathLike", "ProgressBar"]

#: The path of a file or folder.
PathLike: TypeAlias = str | os.PathLike[str]

#: Whether to show progress, or a callable with the signature of tqdm.
ProgressBar: TypeAlias = bool | Callable[..., Any]
