"""Tables are written by the kind of their numbers."""

from __future__ import annotations

import pandas as pd
from made_stores import made_store

from causalmix.benchmarks.analysis import harm_by_arm, normalised_by_arm
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.tabulate import UNBROKEN, tabulate, tabulate_traits


def test_numbers_are_written_by_their_kind():
    gains = {"default": -0.03, "causal_rehearsal": 0.02}
    arms = ("zero_shot", *gains)
    store = made_store(lambda arm, table, split: {"auc": 0.8 + gains.get(arm, 0)}, arms)
    harm = tabulate(harm_by_arm(store.runs(KIND))).set_index("arm")
    assert harm.loc["Default fine-tuning", ["runs", "runs harmed"]].tolist() == ["18", "100%"]
    assert harm.loc["Default fine-tuning", "noise floor"] == "–"
    improvements = tabulate(normalised_by_arm(store.runs(KIND))).set_index("arm")
    median = improvements.loc["CausalMix and rehearsal", "median"]
    assert median == f"+0.100 [+0.100,{UNBROKEN}+0.100]"
    assert not {"low", "high"} & set(improvements)


def test_steps_are_whole_and_truth_is_yes_or_no():
    table = pd.DataFrame({"steps to converge": [26.0, None], "promise": [True, None], "auc": 0.87})
    assert tabulate(table).to_numpy().tolist() == [["26", "yes", "0.870"], ["–", "–", "0.870"]]


def test_heads_are_words():
    names = ["auc", "log_loss_gain", "gap_auc", "gap_log_loss", "worse_runs", "score"]
    table = tabulate(pd.DataFrame([[0.5] * 5 + ["auc"]], columns=names))
    heads = ["ROC-AUC", "log-loss gain", "gap ROC-AUC", "gap log-loss", "worse runs", "score"]
    assert list(table) == heads
    assert table["score"].item() == "ROC-AUC"


def test_a_trait_has_a_column_and_its_p_if_tables_are_enough():
    traits = pd.DataFrame({"arm": "default", "trait": ["zero_shot_error", "rows", "classes"]})
    traits = traits.assign(rho=[0.5, None, 1.0], p_holm=[0.04, None, 0.0], tables=[10, 10, 4])
    table = tabulate_traits(traits)
    assert table.loc["Default fine-tuning"].to_dict() == {
        "classes": "+1.00",
        "rows": "–",
        "zero shot error": "+0.50 (0.04)",
    }
