"""One self-contained HTML page about a run."""

from experiments.report.page import render, write_report

__all__ = ["render", "write_report"]
