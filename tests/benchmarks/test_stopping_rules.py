"""The benchmark of rules: runs recorded once, judged as defined, resumed where they stopped."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from causalmix.benchmarks import stopping_rules as finetuning_benchmark
from causalmix.benchmarks.rule_summary import (
    ORACLE,
    gains_by_dataset,
    judge_runs,
    read_histories,
    summarise_rules,
)
from causalmix.benchmarks.stopping_rules import benchmark_rules
from causalmix.cli import main
from causalmix.errors import DataError, UnknownNameError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.generation.causal import CausalGenerator


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(190, 3))
    label = np.where(x[:, 0] + 0.5 * rng.normal(size=190) > 0, "p", "n")
    pd.DataFrame(x, columns=list("abc")).assign(target=label).to_csv(
        folder / "table.csv", index=False
    )
    return folder


def test_the_command_records_judges_and_resumes(folder, tmp_path, monkeypatch):
    out = tmp_path / "rules.csv"
    mixings = ["causal", "causal_tasks", "real"]
    small = FinetuneConfig(steps=2, validate_every=1, n_synthetic=200, rows_per_task=40)
    monkeypatch.setattr(finetuning_benchmark, "FinetuneConfig", lambda **kw: replace(small, **kw))
    arguments = ["benchmark-finetuning", "--data", str(folder), "--out", str(out)]
    arguments += ["--n-train", "40", "--seeds", "1", "--workers", "0", "--mixings", *mixings]
    arguments += ["--rules", "log_loss", "augmented", "last"]
    fits, fit = [], CausalGenerator.fit
    monkeypatch.setattr(CausalGenerator, "fit", lambda *a: fits.append(a) or fit(*a))
    shown = CliRunner().invoke(main, arguments)
    assert shown.exit_code == 0, shown.output
    assert len(fits) == 1  # of one split
    runs = pd.read_csv(out)
    assert runs["mixing"].tolist() == mixings
    histories = dict(zip(runs["mixing"], read_histories(runs), strict=True))
    assert all(len(history) == 3 for history in histories.values())
    assert histories["real"]["synthetic_share"].eq(0).all()
    assert histories["causal"]["synthetic_share"].iloc[-1] == 0.5
    # The same start, the same rows to validate and to test with.
    start = pd.DataFrame({name: history.iloc[0] for name, history in histories.items()})
    same = ["val_log_loss", "synthetic_val_log_loss", "test_auc"]
    assert start.loc[same].nunique(axis=1).eq(1).all()
    summary = pd.read_csv(tmp_path / "rules_summary.csv")
    assert {*summary["rule"]} == {"log_loss", "augmented", "last", ORACLE}
    manifest = json.loads((tmp_path / "rules_manifest.json").read_text())
    assert manifest["settings"]["config"]["steps"] == 2
    monkeypatch.setattr(finetuning_benchmark, "finetune", lambda *a, **k: pytest.fail("ran again"))
    before = out.read_text()
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert out.read_text() == before


def test_mistakes_are_named(folder, tmp_path):
    out = tmp_path / "out.csv"
    with pytest.raises(UnknownNameError, match="causal_tasks"):
        benchmark_rules(folder, out, mixings=["causal_task"])
    with pytest.raises(UnknownNameError, match="repeated_splits"):
        benchmark_rules(folder, out, rules=["repeated_split"])
    with pytest.raises(DataError, match="leaves 100 rows to test on beside n_train=80"):
        benchmark_rules(folder, out, n_train=[80])
    assert not out.exists()


@pytest.fixture
def runs():
    """Two datasets of two seeds; validation is right about the first and wrong about the second."""
    curves = {
        "right": {"val_log_loss": [0.7, 0.6, 0.8], "test_log_loss": [0.7, 0.5, 0.9]},
        "wrong": {"val_log_loss": [0.7, 0.8, 0.6], "test_log_loss": [0.7, 0.6, 0.9]},
    }
    auc = {"right": [0.5, 0.75, 0.4], "wrong": [0.6, 0.8, 0.5]}
    rows = [
        {
            "dataset": dataset,
            "n_train": 40,
            "seed": seed,
            "mixing": "real",
            "history": json.dumps(
                curves[dataset]
                | {"step": [0, 4, 8], "val_gain_se": [0.0, 0.09, 0.09], "test_auc": auc[dataset]}
                | {"synthetic_share": [0.0, 0.5, 0.5]}
            ),
        }
        for dataset in curves
        for seed in (0, 1)
    ]
    return pd.DataFrame(rows)


def test_rules_are_judged_by_test_scores_of_what_they_keep(runs):
    judged = judge_runs(runs, rules=["log_loss", "last"], patience=9).set_index(
        ["dataset", "seed", "rule", "level"]
    )
    assert judged.loc[("right", 0, "log_loss", 0.5), "kept"] == 4
    assert judged.loc[("right", 0, "log_loss", 0.05), "kept"] == 0  # .1 against .09 · 1.83
    assert judged.loc[("right", 0, "log_loss", 0.5), "improvement"] == pytest.approx(0.5)
    assert judged.loc[("wrong", 1, "log_loss", 0.5), "auc"] == 0.5
    assert judged.loc[("wrong", 1, "last", 0.5), "kept"] == 8
    assert judged.loc[("right", 1, "last", 0.5), "kept"] == 0
    assert judged.loc[("right", 1, "last", 1.0), "kept"] == 8
    assert judged.loc[("wrong", 1, ORACLE, 0.5), "log_loss"] == 0.6
    impatient = judge_runs(runs, rules=["log_loss"], patience=1)
    wrong = impatient.query("dataset == 'wrong' and rule == 'log_loss' and level == 0.5")
    assert (wrong["kept"] == 0).all()


def test_a_shorter_run_is_the_beginning_of_a_longer_one(runs):
    judged = judge_runs(runs, rules=["last"], steps=(4,), patience=9)
    lengths = judged.set_index(["dataset", "seed", "steps", "rule", "level"])
    assert lengths.loc[("wrong", 0, 4, "last", 1.0), "auc"] == 0.8
    assert lengths.loc[("wrong", 0, 8, "last", 1.0), "auc"] == 0.5


def test_every_dataset_counts_once(runs):
    judged = judge_runs(runs.drop(index=3), rules=["log_loss", "last"], patience=9)
    gains = gains_by_dataset(judged).set_index(["rule", "level", "dataset"])
    assert gains.loc[("log_loss", 0.5, "right"), "auc_gain"] == pytest.approx(0.25)
    assert gains.loc[("log_loss", 0.05, "right"), "untouched"] == 1
    summary = summarise_rules(judged).set_index(["rule", "level"])
    line = summary.loc[("log_loss", 0.5)]
    assert line["auc_gain"] == pytest.approx((0.25 - 0.1) / 2)
    # Student's over two datasets, 0.25 and -0.1
    assert line["auc_gain_low"] == pytest.approx(0.075 - 12.706 * 0.175, abs=1e-3)
    assert (line["datasets"], line["harmed"]) == (2, 1)
    assert line["worst"] == pytest.approx(-0.1)
    assert line["of_oracle"] == pytest.approx((0.2 - 0.2) / (0.2 + 0.1), abs=1e-9)
    assert summary.loc[("last", 1.0), "harmed"] == 2
