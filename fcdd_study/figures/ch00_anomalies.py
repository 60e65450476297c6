"""Figures of chapter 00."""

from fcdd.figures import image_grid, picture_rows, roc, score_histogram

from .style import lineage, stamp

__all__ = ["image_grid", "lineage", "picture_rows", "roc", "score_histogram", "stamp"]
