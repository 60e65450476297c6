"""data/published.yml: every value with its source, and means that agree with the paper's own."""

from fcdd import datasets, study


def test_every_value_has_a_source_and_a_known_confidence():
    table = study.published()
    assert table[["source", "citation"]].map(len).to_numpy().min() > 0
    assert set(table["confidence"]) <= {"S1", "S2", "R", "I"}
    assert table["auroc"].between(0, 1).all()
    assert set(table["normal"]) - {"mean"} == set(datasets.classes("fashion-mnist"))


def test_means_are_those_of_the_papers_first_table():
    """FCDD .89 and the autoencoder .82: table 1 of the paper, rounded to two digits there."""
    table = study.published().query("confidence == 'S1'")
    means = table.groupby("method")["auroc"].mean()
    assert abs(means["fcdd"] - 0.89) < 0.01 and abs(means["autoencoder"] - 0.82) < 0.01
