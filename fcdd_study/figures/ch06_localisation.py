"""Figures of chapter 06."""

from fcdd.figures import picture_rows

from .shared import curves, heatmap_grid, intervals
from .style import lineage, stamp

__all__ = ["curves", "heatmap_grid", "intervals", "lineage", "picture_rows", "stamp"]
