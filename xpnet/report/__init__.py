"""Reports: one page about a training run, with its figures, findings and settings."""

from xpnet.report.report import Report, write_report

__all__ = ["Report", "write_report"]
