"""Effects of a setting: paired by its values, with the untouched model on the same rows."""

from __future__ import annotations

import pandas as pd
import pytest
from made_stores import made_row

from causalmix.benchmarks.factors import (
    beside_usual,
    by_training_rows,
    by_validation_rows,
    effects_by,
)
from causalmix.benchmarks.store import Store
from causalmix.errors import UnknownNameError

AUC = {  # by arm and number of validation rows, on every split
    ("zero_shot", 30): 0.80,
    ("default", 30): 0.81,
    ("causal", 30): 0.82,
    ("zero_shot", 10): 0.79,
    ("default", 10): 0.77,
    ("default_all_rows", 30): 0.84,
}


def runs(*arms: tuple[str, int], tables: int, splits: int, **settings: object) -> pd.DataFrame:
    store = Store()
    for arm, n_val in arms:
        for k in range(tables * splits):
            rows = {"n_val": n_val, "all_rows": arm.endswith("_all_rows")} | settings
            auc = AUC[arm, n_val]
            store.add(made_row(arm, f"t{k // splits}", k % splits, auc, 1 - auc, **rows))
    return store.runs()


@pytest.fixture
def both() -> pd.DataFrame:
    """Three tables with two splits as usual, and one split of two tables with other numbers."""
    usual = runs(("zero_shot", 30), ("default", 30), ("causal", 30), tables=3, splits=2)
    other = [("zero_shot", 10), ("default", 10), ("zero_shot", 30), ("default_all_rows", 30)]
    return by_validation_rows(usual, runs(*other, tables=2, splits=1))


def test_runs_without_validation_rows_have_zero_of_them_and_the_arms_own_name(both):
    assert set(both["dataset"]) == {"t0", "t1"}
    none = both[both["n_val"] == 0].set_index(["arm", "dataset"])["auc"]
    assert none["default"].tolist() == [0.84, 0.84]
    assert none["zero_shot"].tolist() == [0.80, 0.80]
    assert not both.duplicated(["dataset", "split", "arm", "n_val"]).any()


def test_effects_are_paired_on_the_splits_that_have_all_values(both):
    found = effects_by(both, "n_val").set_index("n_val")
    assert list(found.index) == [0, 10, 30]
    assert set(found["arm"]) == {"default"}  # others have a single value
    assert found["auc_gain"].tolist() == pytest.approx([0.04, -0.02, 0.01])
    assert found["log_loss_low"].tolist() == pytest.approx([0.04, -0.02, 0.01])
    assert found["splits"].tolist() == [2, 2, 2]  # of four with 30 rows
    assert found["runs_harmed"].tolist() == [0, 1, 0]


def test_runs_with_one_value_have_no_effects(both):
    assert effects_by(both[both["n_val"] == 30], "n_val").empty
    assert list(effects_by(both.head(0), "n_val")) == list(effects_by(both, "n_val"))


def test_a_setting_that_is_none_is_named(both):
    with pytest.raises(UnknownNameError, match="n_vals"):
        effects_by(both, "n_vals")


def test_only_what_differs_in_the_named_settings_stands_beside_the_usual_runs():
    usual = runs(("zero_shot", 30), ("default", 30), tables=3, splits=2)
    changed = {"n_train": {"n_train": 300}, "seed": {"seed": 7}}
    changed = {
        name: runs(("default", 30), tables=2, splits=1, **own) for name, own in changed.items()
    }
    both = pd.concat([*changed.values(), usual[usual["split"] == 0]])
    for name, own in changed.items():
        found = beside_usual(usual, both, [name])
        assert set(found[name]) == {*usual[name], *own[name]}
        assert found.groupby(["dataset", "split", "arm", "n_train", "seed"]).size().max() == 1
        other = next(each for each in changed if each != name)
        assert not found[other].isin(changed[other][other]).any()
    with pytest.raises(UnknownNameError, match="rows"):
        beside_usual(usual, both, ["rows"])


def test_other_numbers_of_training_rows_leave_out_what_validates_otherwise():
    usual = runs(("zero_shot", 30), ("default", 30), tables=3, splits=2)
    more = runs(("zero_shot", 30), ("default", 30), tables=2, splits=1, n_train=300)
    validated = runs(("zero_shot", 10), ("default", 10), tables=2, splits=1)
    found = by_training_rows(usual, pd.concat([more, validated]))
    assert set(found["dataset"]) == {"t0", "t1"}
    assert set(found.loc[found["n_train"] == 60, "n_val"]) == {30}
    assert effects_by(found, "n_train")["n_train"].tolist() == [60, 300]


def test_a_model_as_it_was_counts_with_every_value_where_it_has_none():
    usual = runs(("zero_shot", 30), tables=2, splits=1)
    moved = [
        runs(("default", 30), tables=2, splits=1, config={"trained": parts}).assign(auc=auc)
        for parts, auc in (("all", 0.7), ("columns", 0.9))
    ]
    found = effects_by(pd.concat([usual, *moved]), "config.trained").set_index("config.trained")
    assert found["auc_gain"].tolist() == pytest.approx([-0.1, 0.1])
    assert found["splits"].tolist() == [2, 2]
