"""Edge probabilities beside published searches: what is averaged, and over what."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from click.testing import CliRunner

from causalmix.benchmarks.discovery import LABELS
from causalmix.benchmarks.findings import tabulate_probabilities
from causalmix.benchmarks.published_discovery import (
    METHODS,
    PUBLISHED,
    SCORES,
    compare_with_published,
    summarise,
)
from causalmix.cli import main
from causalmix.errors import DataError
from causalmix.plots.discovery import plot_published_discovery


def test_means_stand_beside_the_published_ones():
    scores = dict.fromkeys(SCORES, 0.5)
    rows = pd.DataFrame(
        [
            {"dataset": name, "n_rows": 100, "draw": draw, "method": "pc", **scores}
            | {"skeleton_recall": recall}
            for name, recalls in (("one", (0.2, 0.4)), ("two", (0.8, None)))
            for draw, recall in enumerate(recalls)
        ]
    )
    published = pd.DataFrame(
        [["one", 100, 0.1], ["two", 100, 0.3], ["one", 200, 0.9]],
        columns=["dataset", "train_size", PUBLISHED["skeleton_recall"]],
    ).assign(**{column: 0.0 for column in list(PUBLISHED.values())[1:]})
    found = summarise(rows, published).set_index(["dataset", "score"])
    recall = found.xs("skeleton_recall", level="score")
    assert recall["mean"].round(9).to_dict() == {
        "all": pytest.approx(0.55),  # of the two graphs
        "one": 0.3,
        "two": 0.8,
    }
    assert recall["draws"].to_dict() == {"all": 3, "one": 2, "two": 1}
    assert recall["published"].to_dict() == {"all": 0.2, "one": 0.1, "two": 0.3}
    assert pd.isna(found.loc[("one", "skeleton_calibration_error"), "published"])
    reach = 12.706 * 0.25  # Student's over two graphs
    assert recall.loc["all", ["low", "high"]].tolist() == pytest.approx(
        [0.55 - reach, 0.55 + reach], abs=1e-3
    )


def test_figure_and_table_show_the_means_over_all_datasets():
    rows = pd.DataFrame(
        [
            {"dataset": "one", "n_rows": n, "draw": draw, "method": method}
            | dict.fromkeys(SCORES, round(n / 1000 + 0.1 * draw + 0.2 * (method == "pc"), 3))
            for n in (100, 200)
            for draw in (0, 1)
            for method in METHODS
        ]
    )
    published = pd.DataFrame([["one", 100], ["one", 200]], columns=["dataset", "train_size"])
    summary = summarise(rows, published.assign(**dict.fromkeys(PUBLISHED.values(), 0.7)))
    for ax in plot_published_discovery(summary).axes:
        ours, pc, shown = (line.get_ydata().tolist() for line in ax.lines)
        assert ours == pytest.approx([0.15, 0.25])
        assert pc == pytest.approx([0.35, 0.45])
        assert shown == [0.7, 0.7]
    table = tabulate_probabilities(summary)
    assert table.loc[("Brier score, pairs", LABELS["pc"]), "200 rows"].startswith("0.450 [-0.185")
    assert list(table.index.levels[1]) == [LABELS[name] for name in METHODS]


def test_the_command(shared_data, tmp_path, monkeypatch):
    """On CSuite PC is nearly blind at 100 rows; the probabilities see more of the skeleton.

    The manifest has commits and versions of the code that made the rows, not those of now.
    """
    commits = iter(["first", *["second"] * 7])
    monkeypatch.setattr("causalmix.benchmarks.engine.git_commit", lambda: next(commits))
    torches = iter(["2.0", *["2.1"] * 7])
    monkeypatch.setattr("causalmix.benchmarks.engine._versions", lambda: {"torch": next(torches)})
    monkeypatch.setattr("causalmix.manifest.git_commit", lambda: "now")
    folder = tmp_path / "csuite"
    folder.mkdir()
    for name in ("mixed_simpson", "nonlin_simpson", "published_discovery.csv"):
        (folder / name).symlink_to(shared_data / "csuite" / name)
    command = ["compare-published-discovery", "--csuite", str(folder), "--workers", "0"]
    command += ["--n-rows", "100", "--draws", "2", "--out", str(tmp_path / "out.csv")]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    found = pd.read_csv(tmp_path / "out_summary.csv").set_index(["dataset", "method", "score"])
    recall = found.loc["all"].xs("skeleton_recall", level="score")
    assert recall.loc["bootstrap", "mean"] > recall.loc["bootstrap", "published"] == 0.4325
    assert len(pd.read_csv(tmp_path / "out.csv")) == 2 * 2 * 2
    manifest = json.loads((tmp_path / "out_manifest.json").read_text())
    assert manifest["commit"] == "first, second"
    assert manifest["versions"] == {"torch": "2.0, 2.1"}


def test_mistakes(shared_data, tmp_path):
    with pytest.raises(DataError, match="fewer than 9000"):
        compare_with_published(shared_data / "csuite", tmp_path / "o.csv", n_rows=[9000])
    (tmp_path / "published_discovery.csv").write_text("dataset,train_size\nx,20\n")
    with pytest.raises(DataError, match="lacks the columns skeleton_recall_mean"):
        compare_with_published(tmp_path, tmp_path / "o.csv")
