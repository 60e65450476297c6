"""Fresh runs, committed records and published values side by side. Taught in: chapter 08."""

import pandas as pd
import yaml

from . import records

PUBLISHED = records.ROOT / "data" / "published.yml"


def published(measure: str = "auroc") -> pd.DataFrame:
    """data/published.yml as a table: one row a value, ``normal`` is "mean" for means over classes.

    ``measure``: auroc (of images), pixel_auroc or image_auroc, as the file calls them. ``setting`` is empty where the
    paper has one only.
    """
    rows = []
    for entry in yaml.safe_load(PUBLISHED.read_text(encoding="utf-8")):
        values = entry.get(measure, {}) | ({"mean": entry["mean"]} if measure == "auroc" and "mean" in entry else {})
        head = {key: entry[key] for key in ("dataset", "method", "source", "citation", "confidence")}
        head["setting"] = entry.get("setting", "")
        rows += [{**head, "normal": normal, "value": value} for normal, value in values.items()]
    return pd.DataFrame(rows)


def side_by_side(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Two tables of runs by method and class, where both have some: columns method, normal, first, second."""
    keys = ["dataset", "method", "normal"]
    means = [table.groupby(keys, sort=False)["auroc"].mean() for table in (first, second)]
    return pd.concat(means, axis=1, keys=["first", "second"], join="inner").reset_index()
