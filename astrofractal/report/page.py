"""The frame of a page: its style, the script that sorts its tables, and what it may do."""

import base64
import hashlib
import html
from importlib.resources import files
from pathlib import Path

__all__ = ["check_page", "make_page"]


def check_page(path):
    """Raise an error if a page cannot have that name."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        msg = f"path must end in .html or .htm, got {str(path)!r}"
        raise ValueError(msg)


def make_page(title, body, *, footer=""):
    """Return a page that needs nothing else, and that its browser lets load nothing else."""
    folder = files("astrofractal.report")
    style, script = ((folder / f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    title = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"{body}\n<footer>{footer}</footer>\n<script>{script}</script>\n</body>\n</html>\n"
    )
