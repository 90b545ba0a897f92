"""The frame of a page: its style, the script that sorts its tables, and what it may do."""

import base64
import hashlib
import html
from pathlib import Path

__all__ = ["check_page", "make_page"]

_STYLE = """\
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 0 auto;
  max-width: 72rem; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.25rem; margin-top: 2.2rem; }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.pictures img { max-width: 100%; height: auto; flex: 0 1 30rem; min-width: 0; }
.wide { overflow-x: auto; }
.wide img { width: 100%; min-width: 42rem; }
table { border-collapse: collapse; font-size: 0.9rem; }
th, td { padding: 0.25rem 0.7rem 0.25rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid #ddd; }
th { overflow-wrap: normal; }
.sortable th, .sortable td { white-space: nowrap; overflow-wrap: normal; }
td.number { font-variant-numeric: tabular-nums; }
th small { font-weight: normal; color: #555; }
th button { font: inherit; border: 0; background: none; padding: 0; cursor: pointer; color: #005a9c; }
th[aria-sort=ascending] button::after { content: " \\2191"; }
th[aria-sort=descending] button::after { content: " \\2193"; }
.warning { border-left: 4px solid #d55e00; background: #fdf1e8; padding: 0.6rem 1rem; }
pre { background: #f4f4f4; padding: 0.6rem 1rem; white-space: pre-wrap; }
footer { margin-top: 3rem; color: #555; font-size: 0.85rem; }
@media print { th button { color: inherit; } .wide { overflow: visible; } }
"""

# Without it the tables are as they were written; empty cells stay last in either direction.
_SCRIPT = """\
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, index) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.firstElementChild.textContent;
    head.firstElementChild.replaceWith(button);
    button.addEventListener("click", () => {
      const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
      const key = (row) => row.cells[index].dataset.sort;
      const compare = (a, b) => {
        if (a === "" || b === "") return (a === "") - (b === "");
        const order = isNaN(a) || isNaN(b) ? a.localeCompare(b, "en", { numeric: true }) : a - b;
        return sign * order;
      };
      const rows = [...table.tBodies[0].rows];
      table.tBodies[0].append(...rows.sort((a, b) => compare(key(a), key(b))));
    });
  });
}
"""


def check_page(path):
    """Raise an error if a page cannot have that name."""
    if Path(path).suffix.lower() not in (".html", ".htm"):
        msg = f"a report must end in .html or .htm, got {str(path)!r}"
        raise ValueError(msg)


def make_page(title, body, *, footer=""):
    """Return a page that needs nothing else, and that its browser lets load nothing else."""
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    title = html.escape(title)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"{body}\n<footer>{footer}</footer>\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )
