"""Figures of a report as PNGs of moderate size."""

from matplotlib.figure import Figure

from analyses.report.blocks import Picture
from interp.plots import png_bytes

DPI = 105


def picture(name: str, figure: Figure, description: str, summary: str = "") -> Picture:
    """A figure under the name `report-NAME.png`."""
    return Picture(f"report-{name}.png", png_bytes(figure, DPI), description, summary)
