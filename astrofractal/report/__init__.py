"""A page for the browser with a result and all that it comes from, in one file."""

from astrofractal.report.report import write_report

__all__ = ["write_report"]
