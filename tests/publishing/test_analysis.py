"""The analysis of a store as a folder, by its command; and its figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from click.testing import CliRunner
from made_stores import made_row, made_store

from causalmix.benchmarks import claims
from causalmix.benchmarks.analysis import paired_differences
from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.store import Store
from causalmix.benchmarks.store_analysis import describe_store
from causalmix.cli import main
from causalmix.plots.analysis import plot_differences, plot_survival, plot_table_gains


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "N_BOOTSTRAP", 100)


GAINS = {"zero_shot": 0.0, "default": 0.01, "mine": 0.03}


def score(arm, table, split):
    return {"auc": 0.8 + GAINS[arm] * (1 + int(table[1:]) / 10) + 0.001 * split}


def saved(store, folder):
    kept = Store(folder)
    for key in store.runs(KIND).index:
        kept.add(store[key])
    kept.flush()
    return str(folder)


def test_the_command_writes_tables_figures_and_a_report(tmp_path):
    store = saved(made_store(score, tuple(GAINS), tables=5), tmp_path / "store")
    (tmp_path / "store" / "plan-1.yml").write_text(
        "arms: {default: , mine: {arm: causal}}\ncontrasts: [[mine, default]]\n"
    )
    out = tmp_path / "out"
    done = CliRunner().invoke(main, ["analyse", store, "--out", str(out)])
    assert done.exit_code == 0, done.output
    tables = {path.stem for path in out.glob("*.csv")}
    assert tables == {
        *("differences", "ranks", "improvements", "gains_by_table", "harm", "power", "traits"),
        *("cost", "gaps", "convergence", "claims", "contrasts"),
    }
    figures = {path.stem for path in out.glob("*.png")}
    assert {"differences_zero_shot_auc", "ranks", "gains_by_table", "convergence_step"} <= figures
    report = (out / "report.md").read_text()
    assert all(f"({figure}.png)" in report for figure in figures)
    assert "45 runs" in report
    planned = pd.read_csv(out / "contrasts.csv")
    assert planned[["arm", "reference", "score"]].to_numpy().tolist() == [
        ["mine", "default", "auc"],
        ["mine", "default", "log_loss"],
    ]
    assert (planned["p"] == planned["p_holm"]).all()  # there is no other
    found = pd.read_csv(out / "differences.csv").query("score == 'auc' and reference == 'default'")
    assert found.set_index("arm")["difference"].to_dict() == pytest.approx(
        {"mine": 0.02 * 1.2, "zero_shot": -0.01 * 1.2}
    )


def test_a_store_says_what_is_in_it(tmp_path):
    store = saved(made_store(score, tuple(GAINS), tables=5), tmp_path / "store")
    plan = "{arms: {default: }, tables: [t0, t1, t9], sizes: [[60, 20]], splits: 2}"
    (tmp_path / "store" / "paper-1.yml").write_text(plan)
    text = describe_store(Store(store))
    assert text.startswith("45 runs, and 0 that failed: 3 arms on 5 tables, 15 splits in all")
    assert "\nPlans: paper-1 (4 of 6 runs).\n" in text
    assert "Failed" not in text
    filled = Store(store)
    for table in ("t0", "t1"):
        failed = made_row("tabebm", table, 0, 0.8)
        filled.add(failed | {"status": "failed", "error": "x.DataError: 109 features. Take some."})
    assert "\nFailed: TabEBM on 2 tables (x.DataError: 109 features).\n" in describe_store(filled)
    assert "none was frozen" in describe_store(made_store(score, tuple(GAINS)))


def test_runs_are_chosen_by_their_settings_and_compared_by_them(tmp_path):
    store = made_store(score, ("zero_shot", "default"), tables=3)
    for table in ("t0", "t1", "t2"):
        for arm in ("zero_shot", "default"):
            store.add(made_row(arm, table, 0, 0.8 + 5 * GAINS[arm], n_train=120))
    folder, out = saved(store, tmp_path / "store"), tmp_path / "out"
    run = CliRunner().invoke
    done = run(main, ["analyse", folder, "--out", str(out)])
    assert done.exit_code == 2
    assert "n_train (120, 60)" in done.output
    done = run(main, ["analyse", folder, "--out", str(out), "--by", "n_train"])
    assert done.exit_code == 0, done.output
    found = pd.read_csv(out / "differences_by.csv")
    own = found[(found["reference"] == "zero_shot") & (found["score"] == "auc")]
    assert own.set_index("n_train")["difference"].to_dict() == pytest.approx({60: 0.011, 120: 0.05})
    done = run(main, ["analyse", folder, "--out", str(out), "--where", "n_train"])
    assert done.exit_code == 2
    assert "--where takes NAME=VALUES" in done.output
    options = ["--by", "n_train", "--where", "n_train=120", "--where", "dataset=t0,t1"]
    done = run(main, ["analyse", folder, "--out", str(out), *options])
    assert done.exit_code == 0, done.output
    found = pd.read_csv(out / "differences_by.csv")
    assert (set(found["n_train"]), set(found["splits"])) == ({120}, {2})


def test_figures_show_what_is_in_their_tables():
    differences = paired_differences(made_store(score, tuple(GAINS), tables=5).runs())
    ax = plot_differences(differences, "zero_shot", "auc")
    named = [text.get_text() for text in ax.get_yticklabels()]
    assert named == ["Default fine-tuning (5 tables)", "mine (5 tables)"]
    points = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    assert points == pytest.approx([0.012, 0.036])
    assert "ROC-AUC better than Zero-shot" in ax.get_xlabel()
    gains = pd.DataFrame({"dataset": ["a", "b"], "arm": "default", "auc_gain": [0.2, 0.1]})
    ax = plot_table_gains(gains)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["b", "a"]
    assert ax.lines[0].get_xdata().tolist() == [0.1, 0.2]
    curves = pd.DataFrame({"arm": "default", "time": [0.0, 5.0], "share": [1.0, 0.25]})
    curves = pd.concat([curves.assign(unit="seconds"), curves.assign(unit="step", share=1.0)])
    ax = plot_survival(curves, "seconds")
    assert ax.lines[0].get_ydata().tolist() == [1.0, 0.25]
    assert "Seconds" in ax.get_xlabel()
    plt.close("all")
