"""Figures of chapter 09."""

from fcdd.figures import picture_rows

from .shared import intervals
from .style import stamp

__all__ = ["intervals", "picture_rows", "stamp"]
