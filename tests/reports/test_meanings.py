"""What columns mean is said where the source says it, and nowhere else."""

from __future__ import annotations

import pytest

from causalmix import dataset_names, describe_columns, load_dataset


@pytest.mark.parametrize("name", dataset_names())
def test_every_column_of_an_embedded_table_has_a_meaning(name):
    described = describe_columns(load_dataset(name))
    assert described["meaning"].str.len().min() > 3


def test_meanings_are_those_of_the_documentation():
    table = load_dataset("anes96", drop=["income"]).draw(50, seed=0)
    meaning = describe_columns(table).set_index("column")["meaning"]
    assert "times a week" in meaning["TVnews"]
    assert "thousands" in meaning["popul"]
    assert "income" not in meaning
    meaning = describe_columns(load_dataset("breast_cancer")).set_index("column")["meaning"]
    assert meaning["worst concave points"].startswith("number")


def test_a_file_of_the_same_name_is_not_taken_for_an_embedded_table(tmp_path):
    path = tmp_path / "iris.csv"
    load_dataset("iris").frame().to_csv(path, index=False)
    table = load_dataset(path, target="species")
    assert table.name == "iris"
    assert list(describe_columns(table)) == list(table.summary())
