"""CSuite folders: what is read, and what is said about damaged ones."""

from __future__ import annotations

import json

import networkx as nx
import numpy as np
import pandas as pd
import pytest

from causalmix.benchmarks.csuite_data import load_csuite, load_csuite_folder, load_published
from causalmix.errors import DataError

TRUTH = {
    "variables": [{"name": "a"}, {"name": "b"}, {"name": "c"}],
    "adjacency": [[0, 1, 1], [0, 0, 0], [0, 1, 0]],
    "interventions": [
        {
            "treatment": ["c"],
            "treatment_value": [1],
            "reference_value": [0],
            "outcome": ["b"],
            "ate": [0.5],
        }
    ],
}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "tiny"
    path.mkdir()
    frame = pd.DataFrame(
        {
            "c": pd.Categorical(["low", "high", "low"], categories=["low", "high"]),
            "a": [0.1, 0.2, 0.3],
            "b": [1.0, 2.0, 3.0],
        }
    )
    frame.to_parquet(path / "train.parquet")
    frame.iloc[:2].to_parquet(path / "test.parquet")
    (path / "truth.json").write_text(json.dumps(TRUTH))
    return path


def test_a_folder_is_read(folder):
    found = load_csuite(folder)
    assert found.name == "tiny"
    assert set(found.dag.edges) == {("a", "b"), ("a", "c"), ("c", "b")}
    assert list(found.dag) == list(found.train) == list(found.test) == ["a", "b", "c"]
    assert (len(found.train), len(found.test)) == (3, 2)
    assert (found.treatment, found.outcome, found.ate) == ("c", "b", 0.5)
    assert (found.treatment_value, found.reference_value) == ("high", "low")
    assert list(load_csuite_folder(folder.parent)) == ["tiny"]


def test_a_hash_is_of_the_truth_too(folder):
    """Runs that are resumed by it are those of the same graph, effect and meaning of rows."""
    effect = TRUTH["interventions"][0]
    changes = [
        {},
        {"adjacency": [[0, 1, 0], [0, 0, 0], [0, 1, 0]]},
        {"interventions": [effect | {"ate": [0.7]}]},
        {"interventions": [effect | {"treatment_value": [0], "reference_value": [1]}]},
        {"interventions": [effect | {"treatment": ["a"]}]},
        {"variables": [{"name": n} for n in "cba"]},
    ]
    found = []
    for change in changes:
        (folder / "truth.json").write_text(json.dumps(TRUTH | change))
        found.append(load_csuite(folder).content_hash)
    train = pd.read_parquet(folder / "train.parquet")
    train["c"] = train["c"].cat.rename_categories({"low": "high", "high": "low"})
    train.to_parquet(folder / "train.parquet")
    found.append(load_csuite(folder).content_hash)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", ["train.parquet", "test.parquet", "truth.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        load_csuite(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"variables": TRUTH["variables"][:2]}, "not 2 by 2"),
        ({"variables": TRUTH["variables"][:2], "adjacency": [[0, 1], [0, 0]]}, "no node .* c"),
        ({"variables": [{"name": n} for n in "abz"]}, "no column .* z"),
        ({"adjacency": [[0, 1, 0], [0, 0, 1], [1, 0, 0]]}, "cycle"),
        ({"adjacency": None}, "damaged"),
        ({"interventions": []}, "damaged"),
    ],
)
def test_a_damaged_description_is_refused(folder, change, message):
    (folder / "truth.json").write_text(json.dumps(TRUTH | change))
    with pytest.raises(DataError, match=message):
        load_csuite(folder)


def test_other_damage_is_refused(folder, tmp_path):
    (folder / "truth.json").write_text("{")
    with pytest.raises(DataError, match=r"truth\.json"):
        load_csuite(folder)
    with pytest.raises(DataError, match="no CSuite dataset"):
        load_csuite_folder(tmp_path / "nowhere")
    (tmp_path / "published.csv").write_text("dataset,train_size\nx,20\n")
    with pytest.raises(DataError, match="algorithm"):
        load_published(tmp_path)


def test_the_six_datasets(shared_data):
    """Every edge of the true graph shows in the data: the ends depend on each other."""
    found = load_csuite_folder(shared_data / "csuite")
    assert {name: len(each.dag) for name, each in found.items()} == {
        "large_backdoor": 9,
        "mixed_confounding": 12,
        "mixed_simpson": 4,
        "nonlin_simpson": 4,
        "symprod_simpson": 4,
        "weak_arrows": 9,
    }
    backdoor = found["large_backdoor"]
    assert nx.has_path(backdoor.dag, backdoor.treatment, backdoor.outcome)
    assert (backdoor.treatment_value, backdoor.reference_value) == (2.5, 0.5)
    simpson = found["mixed_simpson"]
    assert (simpson.treatment_value, simpson.reference_value) == ("c1", "c0")
    numbers = backdoor.train.corr().abs()
    assert np.mean([numbers.loc[edge] for edge in backdoor.dag.edges]) > 0.2


def test_the_arms_of_the_experiment_have_the_effect(shared_data):
    """The difference of their means is the average treatment effect of the description."""
    for dataset in load_csuite_folder(shared_data / "csuite").values():
        arms = dataset.arms
        assert arms[dataset.treatment].value_counts().to_dict() == {
            "reference": 2000,
            "treated": 2000,
        }
        means = arms.groupby(dataset.treatment, observed=True)[dataset.outcome].mean()
        assert means["treated"] - means["reference"] == pytest.approx(dataset.ate, abs=1e-4)


def test_arms_of_other_names_are_refused(folder):
    frame = pd.read_parquet(folder / "train.parquet")
    frame.assign(arm="high").to_parquet(folder / "interventional.parquet")
    with pytest.raises(DataError, match=r"the column arm holds \{'high'\}, not reference and"):
        load_csuite(folder)
    frame.to_parquet(folder / "interventional.parquet")
    with pytest.raises(DataError, match=r"interventional\.parquet: there is no column .* arm"):
        load_csuite(folder)


def test_published_scores(shared_data):
    published = load_published(shared_data / "csuite")
    assert len(published) == 210
    row = published.query("dataset == 'mixed_simpson' and train_size == 200 and algorithm == 'dag'")
    assert row[["correlation_matrix_difference", "k_marginal_tvd", "nnaa"]].round(
        3
    ).values.tolist() == [[0.114, 0.133, 0.545]]
