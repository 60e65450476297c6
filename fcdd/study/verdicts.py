"""Fresh runs, committed records and published values side by side. Taught in: chapter 08."""

import pandas as pd
import yaml

from . import records

PUBLISHED = records.ROOT / "data" / "published.yml"


def published() -> pd.DataFrame:
    """data/published.yml as a table: one row a value, ``normal`` is "mean" for means over classes."""
    rows = []
    for entry in yaml.safe_load(PUBLISHED.read_text(encoding="utf-8")):
        values = entry.get("auroc", {}) | ({"mean": entry["mean"]} if "mean" in entry else {})
        head = {key: entry[key] for key in ("dataset", "method", "source", "citation", "confidence")}
        rows += [{**head, "normal": normal, "auroc": value} for normal, value in values.items()]
    return pd.DataFrame(rows)
