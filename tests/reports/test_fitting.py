"""From a table in a file to a model, a report and predictions, by the commands."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from sklearn.metrics import log_loss

from causalmix.cli import main
from causalmix.data.dataset import load_dataset
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.finetuning.metrics import roc_auc
from causalmix.generation.causal import CausalGenerator
from causalmix.reports.drawing import generate_table
from causalmix.reports.fitting import VERDICTS, TableFit, _moved, fit_table
from causalmix.reports.folds import BEFORE, GUESS, TUNED, Folds, _auc_of_counts
from causalmix.reports.given import read_structure
from causalmix.reports.inspection import inspect_table
from causalmix.reports.page import _curves, _rises

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
    quick = ["--config", str(patients.parent / "quick.yml"), "--folds", "2"]
    quick += ["--generator", "smote_nc", "--keep-generator"]
    done = CliRunner().invoke(
        main, ["fit", str(patients), "--target", "home", "--out", str(out), *quick]
    )
    assert done.exit_code == 0, done.output
    return out, done.output


def test_fit_writes_a_model_and_says_what_it_is_worth(model):
    out, said = model
    assert {path.name for path in out.iterdir()} == {
        *("classifier.json", "weights.safetensors", "context.safetensors"),
        *("generator.parquet", "report.html"),
    }
    verdict = re.search(r"Fine-tuning: ([a-z ]+)\.", said).group(1)
    assert verdict in VERDICTS
    assert "80 rows held out in 2 folds;" in said
    for name in ("fine-tuned", "zero-shot", "Logistic regression", "Random forest"):
        assert f"{name} " in said
    told = re.findall(
        r"reading the table|fine-tuning$|step . of .|fold . of . held out", said, re.M
    )
    steps, folds = ["step 1 of 2", "step 2 of 2"], ["fold 1 of 2 held out", "fold 2 of 2 held out"]
    assert told == ["reading the table", "fine-tuning", *steps, *folds]


def test_a_causal_generator_logs_its_stages(caplog):
    caplog.set_level("INFO", "causalmix")
    table = load_dataset("wine").draw(60, 0)
    CausalGenerator(n_bootstraps=1, n_dags=1).fit(table.X.iloc[:, :3], table.y)
    assert caplog.messages == ["discovering the graph", "fitting models"]


def test_the_report_is_one_file_that_loads_nothing(model):
    page = (model[0] / "report.html").read_text()
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]+", page.replace("xlink:href=", "href="))
    assert not re.findall(r"url\((?!#)", page)
    assert page.count("<svg") == 5  # curves, calibration, importance, graph, rows
    assert "&#39;&lt;5&#39; as 5" in page
    assert re.search(r"2024-01-\d\d to 2024-1\d-\d\d", page)  # dates as dates
    assert page.count("aria-label") == 5


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


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_scores_are_separated_as_the_rows_are(patients, model, tmp_path, separator):
    rows = pd.read_csv(patients, dtype=str, keep_default_na=False).head(20)
    rows.to_csv(tmp_path / "new.csv", index=False, sep=separator)
    command = ["predict", str(model[0]), str(tmp_path / "new.csv"), "--out"]
    for name, written in (("scores.csv", separator), ("scores.tsv", "\t")):
        done = CliRunner().invoke(main, [*command, str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        lines = (tmp_path / name).read_text().splitlines()
        assert lines[0].split(written) == ["patient", "class"] + [
            f"probability of {name}" for name in ("no", "yes")
        ]
        assert [line.split(written)[0] for line in lines[1:]] == list(rows["patient"])


def test_a_kept_generator_draws_what_one_of_the_table_draws(patients, model, tmp_path):
    for name, source in (
        ("kept.csv", [str(model[0])]),
        ("same.csv", [str(patients), "--target", "home", "--generator", "smote_nc"]),
    ):
        command = ["generate", *source, "-n", "40", "--seed", "3", "--out", str(tmp_path / name)]
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 0, done.output
    kept, same = (pd.read_csv(tmp_path / name, dtype=str) for name in ("kept.csv", "same.csv"))
    pd.testing.assert_frame_equal(kept, same)
    columns = pd.read_parquet(model[0] / "generator.parquet").columns
    assert "patient" not in columns  # what was not learned from is not kept
    for wrong, message in (
        (["--target", "home"], "leave out 'target'"),
        (["--numeric", "age"], "leave out 'numeric'"),
        (["--do", "age=40"], "do is an option of the causal generators, not of 'smote_nc'"),
    ):
        done = CliRunner().invoke(main, ["generate", str(model[0]), "--out", "x.csv", *wrong])
        assert done.exit_code == 2
        assert message in done.output


def test_a_damaged_or_missing_generator_is_one_sentence(model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model[0], folder)
    (folder / "generator.parquet").write_bytes(b"PAR1")
    done = CliRunner().invoke(main, ["generate", str(folder), "--out", str(tmp_path / "x.csv")])
    assert done.exit_code == 2
    assert "generator.parquet cannot be read as a kept generator" in done.output
    (folder / "generator.parquet").unlink()
    done = CliRunner().invoke(main, ["generate", str(folder), "--out", str(tmp_path / "x.csv")])
    assert done.exit_code == 2
    assert "fit again with --keep-generator, or give the table itself" in done.output


@pytest.mark.parametrize("where", ["fitting.evaluate_folds", "page.write_report"])
def test_an_interrupt_after_the_fit_loses_the_report_alone(patients, tmp_path, monkeypatch, where):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"causalmix.reports.{where}", stop)
    (tmp_path / "quick.yml").write_text("steps: 0\n")
    options = ["--config", str(tmp_path / "quick.yml"), "--time-limit", "0.001"]
    out = tmp_path / "model"
    command = ["fit", str(patients), "--target", "home", "--out", str(out), *options]
    done = CliRunner().invoke(main, [*command, "--generator", "none"])
    assert done.exit_code == 1
    assert re.search(r"stopped: the model in .*model is kept and predicts; it lacks", done.output)
    assert not (out / "report.html").exists()
    scores = tmp_path / "scores.csv"
    done = CliRunner().invoke(main, ["predict", str(out), str(patients), "--out", str(scores)])
    assert done.exit_code == 0, done.output
    assert len(pd.read_csv(scores)) == 80


def test_parquet_goes_in_and_comes_out(patients, model, tmp_path):
    frame = pd.read_csv(patients)
    frame["admitted"] = pd.to_datetime(frame["admitted"], dayfirst=True)
    frame["age"] = frame["age"].astype("int16")
    frame["ward"] = frame["ward"].astype("category")
    frame["home"] = frame["home"] == "yes"
    frame.to_parquet(tmp_path / "in.parquet")
    command = ["generate", str(tmp_path / "in.parquet"), "--target", "home", "-n", "50"]
    command += ["--generator", "mixup", "--out", str(tmp_path / "out.parquet")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    rows = pd.read_parquet(tmp_path / "out.parquet").drop(columns="patient")
    assert rows.dtypes.to_dict() == frame.drop(columns="patient").dtypes.to_dict()
    assert len(rows) == 50
    for source, name in ((patients, "csv"), (tmp_path / "in.parquet", "parquet")):
        out = tmp_path / f"scores_{name}.parquet"
        done = CliRunner().invoke(main, ["predict", str(model[0]), str(source), "--out", str(out)])
        assert done.exit_code == 0, done.output
    one, other = (pd.read_parquet(tmp_path / f"scores_{n}.parquet") for n in ("csv", "parquet"))
    assert list(one["patient"]) == list(frame["patient"])
    np.testing.assert_allclose(one["probability of yes"], other["probability of yes"], atol=1e-6)
    done = CliRunner().invoke(main, ["predict", str(model[0]), str(patients), "--out", "x.xlsx"])
    assert "x.xlsx: rows are written to files of type .csv" in done.output


def test_importance_is_the_rise_of_log_loss_when_a_column_is_shuffled():
    class Knows:
        """Is sure of the class by the column a, and looks at no other."""

        classes_ = np.array(["no", "yes"])

        def predict_proba(self, X):
            p = np.where(X["a"] == "yes", 0.9, 0.1)
            return np.stack([1 - p, p], axis=1)

    a = np.repeat(["yes", "no"], 50)
    X = pd.DataFrame({"a": a, "b": np.arange(100)})
    mean, spread = _rises(Knows(), X, a, seed=0)
    assert (mean[1], spread[1]) == (0, 0)
    # Half of the shuffled cells are wrong: each costs log 9.
    assert mean[0] == pytest.approx(np.log(9) / 2, rel=0.15)


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
        (lambda f: f.assign(target=[f"c{i % 20}" for i in range(80)]), "20 classes; .* at most 10"),
        (lambda f: f.assign(target=f["patient"] + " came by foot"), "80 distinct values"),
        (lambda f: f.iloc[:3].assign(target=["a", "b", "a"]), "Give more rows"),
        (lambda f: pd.DataFrame(), "bad.csv is empty"),
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
    assert re.search(message, done.output)
    assert "Traceback" not in done.output
    assert not (tmp_path / "model").exists()


def test_odd_cells_of_the_whole_table_are_odd_cells_of_every_part(tmp_path):
    rng, n = np.random.default_rng(0), 60
    x = rng.normal(0, 1, n).round(2)
    frame = pd.DataFrame({"x": x.astype(str), "z": rng.normal(0, 1, n), "out": "a"})
    frame.loc[x + rng.normal(0, 1, n) > 0, "out"] = "b"
    frame.loc[[5, 25, 45], "x"] = "see note"  # 5% of the rows, and more of some folds
    rest = frame.assign(out=None).iloc[6:24]  # with them fewer than 4%
    frame.to_csv(tmp_path / "all.csv", index=False)
    pd.concat([frame, rest]).to_csv(tmp_path / "some.csv", index=False)
    how = {"generator": None, "config": {"steps": 0}}
    for name in ("all.csv", "some.csv"):
        found = fit_table(tmp_path / name, "out", **how)
        assert found.folds.finished == 5
        read = found.classifier.context_.X["x"]
        assert read.isna().sum() == 3
        np.testing.assert_array_equal(read.dropna(), np.delete(x, [5, 25, 45]))
    drawn = tmp_path / "rows.csv"
    generate_table(tmp_path / "some.csv", "out", drawn, 20, generator="smote_nc")
    assert pd.read_csv(drawn)["x"].dtype == np.float64


@pytest.mark.parametrize("n_rare", [2, 3])
def test_a_class_too_small_for_a_fold_loses_no_work(tmp_path, n_rare):
    rng, said = np.random.default_rng(0), []
    frame = pd.DataFrame({"x": rng.normal(0, 1, 40), "out": ["a"] * (40 - n_rare) + ["b"] * n_rare})
    how = {"generator": None, "config": {"steps": 1, "tasks_per_step": 1}, "report": said.append}
    found = fit_table(frame, "out", out=tmp_path / "model", **how)
    failed = [line for line in said if "the rows cannot be fitted: Classes with one row" in line]
    assert len(failed) == found.folds.failed == (2 if n_rare == 2 else 0)
    assert found.folds.finished == (0 if n_rare == 2 else 3)
    sentences = " ".join(found.sentences())
    assert ("No fold could be held out, which would decide: " in sentences) == (n_rare == 2)
    assert ("More rows hold more folds out" in sentences) == (n_rare == 2)
    assert found.used == BEFORE or n_rare == 3
    loaded = CausalMixClassifier.load(tmp_path / "model")
    assert loaded.report_.kept == found.classifier.report_.kept


def test_few_rows_are_fitted_and_said_to_be_few(patients, tmp_path):
    said = []
    found = fit_table(
        pd.read_csv(patients).head(12),
        "home",
        time_limit=0.001,
        config={"steps": 0},
        report=said.append,
    )
    assert any("12 rows are few" in line for line in said)
    assert found.verdict == "no difference found"
    assert "No step was taken." in found.sentences()[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time_limit": 0}, "time_limit is 0; a number above 0"),
        ({"n_folds": 1}, "n_folds is 1"),
        ({"graph": [("age", "home"), ("home", "age")]}, "has a cycle"),
        ({"graph": [("age", "ward")], "knowledge": {}}, "leave one of the two out"),
        ({"graph": [("agee", "home")]}, "Did you mean 'age'"),
        ({"graph": [("patient", "home")]}, "'patient' is left out of the table"),
        ({"knowledge": {"required": [("patient", "age")]}}, "'patient' is left out of the table"),
        ({"knowledge": {"forbidden": [("agee", "home")]}}, "Did you mean 'age'"),
        ({"graph": [("age", "home")], "generator": None}, "generator=None takes none"),
        ({"keep_generator": True}, "there is no folder"),
        ({"date": ["age"]}, "'age' is listed in date=, but"),
        ({"date": ["age"], "numeric": ["age"]}, "Both numeric= and date= name 'age'"),
        ({"config": {"stepz": 1}}, "Did you mean 'steps'"),
    ],
)
def test_options_that_do_not_fit_are_refused(patients, options, message):
    with pytest.raises(CausalMixError, match=message):
        fit_table(patients, "home", **options)


def test_knowledge_of_columns_that_are_not_used_is_left_out(patients):
    inspection = inspect_table(patients, "home", date=["admitted"])
    known = {"tiers": [["patient", "age"], ["ward", "home"]], "forbidden": [["patient", "age"]]}
    assert read_structure(inspection, knowledge=known)["knowledge"] == BackgroundKnowledge(
        tiers=[["age"], ["ward", "home"]]
    )


# Folds, of made predictions


def made_folds(better: float) -> Folds:
    rng, n = np.random.default_rng(0), 200
    y, p = rng.integers(0, 2, n), rng.uniform(0.3, 0.7, n)
    before = np.stack([1 - p, p], axis=1)
    odds = np.log(p / (1 - p)) + better * np.where(y == 1, 1, -1)
    tuned = 1 / (1 + np.exp(-odds))
    proba = {TUNED: np.stack([1 - tuned, tuned], axis=1), BEFORE: before, "other": before}
    proba[GUESS] = np.full((len(tuned), 2), 0.5)
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
        proba = rng.dirichlet(np.ones(k + 1), 50)  # of a class that no row has
        expected = [roc_auc(np.repeat(y, c), np.repeat(proba, c, axis=0)) for c in counts]
        np.testing.assert_allclose(_auc_of_counts(y, proba, counts), expected)


@pytest.mark.parametrize("rarer", [[1] * 5, [2, 0, 2, 2, 2]])
def test_a_resample_without_the_rarer_class_is_left_out(rarer):
    fold = np.repeat(np.arange(5), 20)
    y = np.concatenate([np.arange(20) < n for n in rarer]).astype(int)
    proba = np.column_stack([0.9 - 0.8 * y, 0.1 + 0.8 * y])  # ranks them without a mistake
    scores = Folds(("n", "y"), y, fold, {TUNED: proba, BEFORE: proba}, 5).scores()
    assert scores.loc[TUNED, ["auc", "auc_low", "auc_high"]].tolist() == [1, 1, 1]


def test_the_interval_of_an_auc_is_of_the_mean_over_all_pairs_of_classes():
    """Two classes are told apart, the third, of one row a fold, is not."""
    y = np.tile(np.repeat([0, 1, 2], [19, 18, 1]), 2)
    proba = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.45, 0.45, 0.1]])[y]
    folds = Folds(("a", "b", "c"), y, np.repeat([0, 1], 38), {TUNED: proba, BEFORE: proba}, 2)
    row = folds.scores().loc[TUNED]
    assert row["auc_low"] <= row["auc"] <= row["auc_high"] < 0.9


def test_the_verdict_is_that_of_the_interval(patients):
    fit = fit_table(patients, "home", config={"steps": 0}, time_limit=0.001)
    expected = {0.3: "helped", -0.3: "harmed", 0.0: "no difference found"}
    for better, verdict in expected.items():
        judged = replace(fit, folds=made_folds(better))
        assert judged.verdict == verdict
        assert f"Fine-tuning: {verdict}." in judged.sentences()[0]
        value, low, high = judged.folds.difference()
        assert low <= value <= high


@pytest.mark.parametrize(("finished", "better"), [(0, 0.3), (1, 0.3), (2, 0.3), (2, -0.3)])
def test_fewer_than_two_folds_decide_nothing(patients, tmp_path, monkeypatch, finished, better):
    """However clear it is, the weights stay as they were; two folds are heeded."""
    made = made_folds(better)
    folds = replace(made, fold=np.where(made.fold < finished, made.fold, -1))
    monkeypatch.setattr("causalmix.reports.fitting.evaluate_folds", lambda *a, **k: folds)
    quick = {"validate_every": 1, "tasks_per_step": 1, "level": 1.0}  # kept untested
    table, out = pd.read_csv(patients), tmp_path / "model"
    options = {"generator": None, "out": out}
    fit = fit_table(table, "home", config=quick | {"steps": 2}, **options)
    kept = CausalMixClassifier.load(out)
    zero_shot = fit_table(table, "home", config={"steps": 0}, generator=None).classifier
    is_before = np.array_equal(kept.predict_proba(table), zero_shot.predict_proba(table))
    undone = finished < 2 or better < 0
    assert is_before == undone == (fit.used == BEFORE)
    verdicts = {0.3: "helped", -0.3: "harmed"} if finished == 2 else {}
    assert fit.verdict == verdicts.get(better, "no difference found")
    said = fit.sentences()[0]
    assert f"Fine-tuning: {fit.verdict}." in said
    assert ("On 16 validation rows" in said) == (finished == 0)
    assert ("no time for a held-out fold, which would decide" in said) == (finished == 0)
    assert ("One fold decides nothing" in said) == (finished == 1)
    assert ("the zero-shot model is used. More time" in said) == (finished < 2)
    caption = _curves(fit)[1]  # of the steps that were undone too
    assert caption.endswith("(2; it was undone)." if undone else "(2).")


def test_a_table_is_not_replaced_by_what_is_made_of_it(model, patients, tmp_path):
    copied = tmp_path / "patients.csv"
    shutil.copy(patients, copied)
    commands = (
        ["predict", str(model[0]), str(copied)],
        (generate := ["generate", str(copied), "--target", "home", "-n", "5"]),
    )
    calls = [[*command, "--out", str(copied)] for command in commands]
    graph, rows = tmp_path / "graph.csv", tmp_path / "rows.csv"
    graph.write_text("cause,effect\nage,home\n")
    for twice, out in ((copied, rows), (graph, rows), (rows, rows)):
        calls.append([*generate, "--out", out, "--graph", graph, "--graph-out", twice])
    for call in calls:
        done = CliRunner().invoke(main, [str(each) for each in call])
        assert done.exit_code != 0
        assert "is named twice" in done.output
    assert copied.read_bytes() == patients.read_bytes()
    assert graph.read_text() == "cause,effect\nage,home\n"
    assert not rows.exists()


def test_columns_named_as_the_scores_are_not_written_twice(model, patients, tmp_path):
    rows = pd.read_csv(patients, dtype=str, keep_default_na=False).head(2)
    named = {"class": ["a", "b"], "probability of no": ["1", "2"]}
    rows.assign(**named).to_csv(tmp_path / "new.csv", index=False)
    command = ["predict", str(model[0]), str(tmp_path / "new.csv")]
    done = CliRunner().invoke(main, [*command, "--out", str(tmp_path / "scores.parquet")])
    assert done.exit_code == 0, done.output
    scores = pd.read_parquet(tmp_path / "scores.parquet")
    assert list(scores)[-3:] == ["class", "probability of no", "probability of yes"]
    assert set(scores["class"]) <= {"no", "yes"}


def test_rows_that_the_model_has_seen_are_counted(model, patients, tmp_path):
    rows = pd.read_csv(patients, dtype=str, keep_default_na=False)
    rows.loc[:9, "age"] = "17"  # no row had it
    rows.to_csv(tmp_path / "new.csv", index=False)
    out = ["--out", str(tmp_path / "scores.csv")]
    done = CliRunner().invoke(main, ["predict", str(model[0]), str(tmp_path / "new.csv"), *out])
    assert "70 of 80 rows are among those that the model was fitted on" in done.output


def test_a_broken_cell_is_missing_and_named(model, patients, tmp_path):
    rows = pd.read_csv(patients, dtype=str, keep_default_na=False)
    rows.loc[4, ["admitted", "age"]] = "31.02.2024", "old"
    empty = rows.assign(
        **{name: rows[name].mask(rows.index == 4, "") for name in ("admitted", "age")}
    )
    for name, table in (("broken", rows), ("empty", empty)):
        table.to_csv(tmp_path / f"{name}.csv", index=False)
        out = ["--out", str(tmp_path / f"{name}_scores.csv")]
        done = CliRunner().invoke(
            main, ["predict", str(model[0]), str(tmp_path / f"{name}.csv"), *out]
        )
        assert done.exit_code == 0, done.output
        said = "'admitted' (1 of 80: '31.02.2024'), 'age' (1 of 80: 'old')"
        assert (said in done.output) == (name == "broken")
    scores = [(tmp_path / f"{name}_scores.csv").read_text() for name in ("broken", "empty")]
    assert scores[0] == scores[1]


def test_a_log_loss_that_did_not_move_is_the_same():
    assert _moved(0.0, 0.0, 0.0) == "the same as"
    assert (
        _moved(-0.25, -0.5, 0.0) == "higher by 0.2500 nats (gain -0.2500 [-0.5000, +0.0000]) than"
    )


def test_what_is_no_better_than_guessing_is_not_recommended():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], 40)
    even, wrong = np.full((80, 2), 0.5), np.column_stack([y, 1 - y]) * 0.5 + 0.25
    proba = dict.fromkeys((TUNED, BEFORE, "Random forest"), wrong) | {GUESS: even}
    folds = Folds(("no", "yes"), y, rng.permutation(80) % 5, proba, 5)
    fit = TableFit(
        SimpleNamespace(report_=SimpleNamespace(kept="zero_shot")), *[None] * 2, folds, *[None] * 4
    )
    assert fit.sentences()[1].startswith("Nothing here is better than guessing")
    right = 1 - wrong
    better = replace(folds, proba=proba | {BEFORE: right, TUNED: right})
    assert "no better than guessing" in replace(fit, folds=better).sentences()[1]
