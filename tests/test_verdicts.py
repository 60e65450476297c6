"""data/published.yml: every value with its source, and means that agree with the paper's own."""

import numpy as np
import yaml

from fcdd import datasets, study
from fcdd.study import verdicts


def test_every_value_has_a_source_and_a_known_confidence():
    table = study.published()
    assert table[["source", "citation"]].map(len).to_numpy().min() > 0
    assert set(table["confidence"]) <= {"S1", "S2", "R", "I"}
    assert table["value"].between(0, 1).all()
    assert set(table["normal"]) - {"mean"} == set(datasets.classes("fashion-mnist"))


def test_means_are_those_of_the_papers_first_table():
    """FCDD .89 and the autoencoder .82: table 1 of the paper, rounded to two digits there."""
    table = study.published().query("confidence == 'S1'")
    means = table.groupby("method")["value"].mean()
    assert abs(means["fcdd"] - 0.89) < 0.01 and abs(means["autoencoder"] - 0.82) < 0.01


def test_mvtec_s_means_are_the_paper_s_and_all_categories_are_there():
    """.92 unsupervised, .96 semi-supervised, .82 for the autoencoder in the paper; .918 and .956 reproduced."""
    entries = [e for e in yaml.safe_load(verdicts.PUBLISHED.read_text(encoding="utf-8")) if e["dataset"] == "mvtec"]
    assert all(set(e["pixel_auroc"]) == set(datasets.classes("mvtec")) for e in entries)
    means = [np.mean(list(e["pixel_auroc"].values())) for e in entries]
    np.testing.assert_allclose(means, [0.92, 0.96, 0.9184, 0.9562, 0.82], atol=0.005)
    images = [np.mean(list(e["image_auroc"].values())) for e in entries if "image_auroc" in e]
    np.testing.assert_allclose(images, [0.851, 0.924], atol=0.001)
