"""`write_report`: an audit as one offline HTML page, with report.json and every figure as a PNG."""

from analyses.report.write import report_files, write_report

__all__ = ["report_files", "write_report"]
