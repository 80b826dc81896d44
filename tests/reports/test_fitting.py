"""From a table in a file to a model, a report and predictions, by the commands."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import log_loss

from causalmix.cli import main
from causalmix.errors import CausalMixError
from causalmix.finetuning.metrics import roc_auc
from causalmix.reports.fitting import VERDICTS, fit_table
from causalmix.reports.folds import BEFORE, TUNED, Folds, _auc_of_counts

QUICK = "steps: 2\nvalidate_every: 1\ntasks_per_step: 1\n"


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """A CSV file as a hospital keeps it: identifiers, two kinds of dates, bounds, gaps."""
    rng, n = np.random.default_rng(0), 80
    age = rng.integers(20, 90, n)
    crp = rng.gamma(2, 10, n).round(1)
    frame = pd.DataFrame(
        {
            "patient": [f"K-{i:04d}" for i in rng.permutation(n)],
            "admitted": pd.Timestamp("2024-01-05") + pd.to_timedelta(rng.integers(0, 300, n), "D"),
            "age": age,
            "ward": rng.choice(["a", "b", "c"], n),
            "crp": np.where(crp < 5, "<5", crp.astype(str)),
            "home": np.where(age + rng.normal(0, 10, n) < 60, "yes", "no"),
        }
    )
    frame["admitted"] = frame["admitted"].dt.strftime("%d.%m.%Y")
    frame.loc[:5, "ward"] = "n.a."
    path = tmp_path_factory.mktemp("patients") / "patients.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def model(patients):
    (patients.parent / "quick.yml").write_text(QUICK)
    out = patients.parent / "models" / "home"
    quick = ["--config", str(patients.parent / "quick.yml"), "--folds", "2", "--generator", "none"]
    done = CliRunner().invoke(
        main, ["fit", str(patients), "--target", "home", "--out", str(out), *quick]
    )
    assert done.exit_code == 0, done.output
    return out, done.output


def test_fit_writes_a_model_and_says_what_it_is_worth(model):
    out, said = model
    assert {path.name for path in out.iterdir()} == {
        *("classifier.json", "weights.safetensors", "context.safetensors", "report.html"),
    }
    verdict = re.search(r"Fine-tuning: ([a-z ]+)\.", said).group(1)
    assert verdict in VERDICTS
    assert "80 rows held out in 2 folds;" in said
    for name in ("fine-tuned", "zero-shot", "Logistic regression", "Random forest"):
        assert f"{name} " in said
    assert "fold 2 of 2 held out" in said


def test_the_report_is_one_file_that_loads_nothing(model):
    page = (model[0] / "report.html").read_text()
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]+", page.replace("xlink:href=", "href="))
    assert not re.findall(r"url\((?!#)", page)
    assert page.count("<svg") == 4  # curves, calibration, importance, graph
    assert "&#39;&lt;5&#39; as 5" in page
    assert re.search(r"2024-01-\d\d to 2024-1\d-\d\d", page)  # dates as dates
    assert page.count("aria-label") == 4


def test_predictions_are_of_every_row_in_order_with_the_ids(patients, model, tmp_path):
    rows = pd.read_csv(patients, dtype=str, keep_default_na=False).drop(columns="home")
    rows = rows.sample(frac=1, random_state=0)
    rows.iloc[:3, rows.columns.get_loc("ward")] = "new ward"
    rows.to_csv(tmp_path / "new.csv", index=False)
    out = tmp_path / "scores.csv"
    command = ["predict", str(model[0]), str(tmp_path / "new.csv"), "--out", str(out)]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "'ward' (3 of 80: 'new ward')" in done.output
    scores = pd.read_csv(out)
    assert list(scores) == ["patient", "class", "probability of no", "probability of yes"]
    assert list(scores["patient"]) == list(rows["patient"])
    assert np.allclose(scores.iloc[:, 2:].sum(axis=1), 1, atol=1e-5)
    truth = pd.read_csv(patients).set_index("patient")["home"]
    assert (scores["class"].to_numpy() == truth.loc[scores["patient"]].to_numpy()).mean() > 0.7
    rows.drop(columns=["age", "crp"]).to_csv(tmp_path / "few.csv", index=False)
    done = CliRunner().invoke(main, [*command[:2], str(tmp_path / "few.csv"), *command[3:]])
    assert done.exit_code == 2
    assert "lacks 2 of the 4 columns that the model uses: 'age', 'crp'" in done.output


def test_a_second_fit_replaces_the_first_and_nothing_else(patients, model):
    (model[0] / "notes.txt").write_text("mine")
    quick = ["--config", str(patients.parent / "quick.yml"), "--time-limit", "0.001"]
    quick += ["--generator", "none"]
    again = ["fit", str(patients), "--target", "home", "--out", str(model[0]), *quick]
    done = CliRunner().invoke(main, again)
    assert done.exit_code == 2
    assert "'notes.txt'" in done.output
    assert "reading the table" not in done.output  # refused before the work
    (model[0] / "notes.txt").unlink()
    done = CliRunner().invoke(main, again)
    assert done.exit_code == 0, done.output
    assert "time is over: 1 of 2" in done.output or "no time for a held-out fold" in done.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f, "say which column is the target"),
        (lambda f: f.assign(target="same"), "only the class same"),
        (lambda f: f.assign(target=[f"row {i}" for i in range(80)]), "80 distinct values"),
        (lambda f: f.iloc[:0].assign(target=""), "no rows"),
    ],
)
def test_what_cannot_be_learned_is_one_sentence(patients, tmp_path, change, message):
    change(pd.read_csv(patients)).to_csv(tmp_path / "bad.csv", index=False)
    done = CliRunner().invoke(
        main, ["fit", str(tmp_path / "bad.csv"), "--out", str(tmp_path / "model")]
    )
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output
    assert not (tmp_path / "model").exists()


def test_a_limit_of_time_is_positive(patients):
    with pytest.raises(CausalMixError, match="time_limit is 0; a number above 0"):
        fit_table(patients, "home", time_limit=0)


# Folds, of made predictions


def made_folds(better: float) -> Folds:
    rng, n = np.random.default_rng(0), 200
    y, p = rng.integers(0, 2, n), rng.uniform(0.3, 0.7, n)
    before = np.stack([1 - p, p], axis=1)
    odds = np.log(p / (1 - p)) + better * np.where(y == 1, 1, -1)
    tuned = 1 / (1 + np.exp(-odds))
    proba = {TUNED: np.stack([1 - tuned, tuned], axis=1), BEFORE: before, "other": before}
    fold = np.repeat([0, 1, -1], [90, 90, 20])
    return Folds(("n", "y"), y, fold, proba, 3)


def test_folds_are_scored_by_their_means():
    folds = made_folds(0.3)
    scores = folds.scores()
    assert folds.finished == 2
    assert scores["log_loss"].idxmin() == TUNED
    parts = [slice(0, 90), slice(90, 180)]
    expected = np.mean([log_loss(folds.y[s], folds.proba[TUNED][s]) for s in parts])
    assert scores.loc[TUNED, "log_loss"] == pytest.approx(expected)
    for name in ("log_loss", "auc", "accuracy"):
        row = scores.loc[TUNED]
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_the_interval_of_an_auc_is_of_the_rows_as_often_as_they_are_drawn():
    rng = np.random.default_rng(1)
    for k in (2, 3):
        y, proba = rng.integers(0, k, 50), rng.dirichlet(np.ones(k), 50).round(2)
        proba[:, -1] = 1 - proba[:, :-1].sum(axis=1)
        counts = rng.multinomial(50, np.full(50, 1 / 50), 5)
        expected = [roc_auc(np.repeat(y, c), np.repeat(proba, c, axis=0)) for c in counts]
        np.testing.assert_allclose(_auc_of_counts(y, proba, counts), expected)


def test_the_verdict_is_that_of_the_interval(patients):
    fit = fit_table(patients, "home", config={"steps": 0}, time_limit=0.001)
    expected = {0.3: "helped", -0.3: "harmed", 0.0: "no difference found"}
    for better, verdict in expected.items():
        judged = replace(fit, folds=made_folds(better))
        assert judged.verdict == verdict
        assert f"Fine-tuning: {verdict}." in judged.sentences()[0]
        value, low, high = judged.folds.difference()
        assert low <= value <= high
