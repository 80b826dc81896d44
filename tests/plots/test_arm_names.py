"""Figures and tables call arms by their labels, those of plans too."""

from __future__ import annotations

import json
from itertools import combinations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from made_stores import STEPS

from causalmix.benchmarks.arms import KIND
from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.benchmarks.plan import preset_names, read_plan
from causalmix.benchmarks.results import load_store
from causalmix.benchmarks.structure import KIND as KNOWN_MODELS
from causalmix.benchmarks.structure import structure_contrasts
from causalmix.benchmarks.tabulate import tabulate, tabulate_contrasts, tabulate_traits
from causalmix.plots.analysis import (
    plot_critical_differences,
    plot_differences,
    plot_gain_intervals,
    plot_survival,
    plot_table_gains,
)
from causalmix.plots.results import plot_gaps, plot_histories, plot_improvements

mpl.use("Agg")
LESSONS = ("class", "smoke")  # whose runs no page shows


@pytest.fixture(scope="module")
def arms() -> list[str]:
    """All arms of plans, and of runs in the repository."""
    names = {arm for name in preset_names() if name not in LESSONS for arm in read_plan(name).arms}
    for store, kind in (
        *((name, KIND) for name in ("candidates", "contenders", "paper")),
        ("known_models", KNOWN_MODELS),
    ):
        names |= {str(arm) for arm in load_store(f"finetuning/{store}").runs(kind)["arm"]}
    return sorted(names)


@pytest.fixture
def made(arms) -> pd.DataFrame:
    """Two splits of two tables of every arm, all alike, with every column that is drawn."""
    rows = [(arm, table, seed) for arm in arms for table in ("a", "b") for seed in (0, 1)]
    frame = pd.DataFrame(rows, columns=["arm", "dataset", "seed"])
    numbers = "auc_gain auc_low auc_high log_loss_gain log_loss_low log_loss_high"
    numbers += (
        " difference low high t_low t_high p_holm improvement gap_auc gap_log_loss time share rho"
    )
    frame = frame.assign(**dict.fromkeys(numbers.split(), 0.5))
    frame = frame.assign(tables=2, wins=1, ties=0, losses=1, unit="step", trait="rows")
    return frame.assign(reference="zero_shot", score="auc")


def test_every_arm_has_a_label_of_its_own(arms):
    assert {"default_3e-4", "rehearsal_all_rows", "true_label", "causal_paper"} <= set(arms)
    labels = [ARM_LABELS.get(arm, arm) for arm in arms]
    assert not [label for label in labels if "_" in label]
    assert len(set(labels)) == len(labels)


def test_ours_and_the_papers_are_told_apart():
    assert ARM_LABELS["causal"] == "CausalMix"
    assert ARM_LABELS["causal_paper"] == "CausalMixFT (paper)"
    assert not [name for name in ARM_LABELS if "FT" in ARM_LABELS[name] and "paper" not in name]


def test_arms_that_are_shown_alike_are_numbered():
    arms = [f"causal_learning_rate_1e-{k}_rehearsal_half" for k in (5, 6)] + ["causal", "CausalMix"]
    means = pd.DataFrame(np.random.default_rng(0).random((6, 4)), columns=arms)
    ax = plot_critical_differences(means)
    shown = " ".join(text.get_text() for text in ax.texts)
    for name in ("CausalMix", "causal_learn…earsal_half"):
        assert shown.count(name) == 2
        assert shown.count(f"{name} (2)") == 1


def draw_means(made: pd.DataFrame) -> None:
    plot_critical_differences(pd.DataFrame(0.5, ["a", "b", "c"], made["arm"].unique()))


def draw_histories(made: pd.DataFrame) -> None:
    curves = [made.assign(step=step, val_auc=0.5, test_auc=0.5) for step in STEPS[:3]]
    plot_histories(pd.concat(curves), "auc")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "draw",
    [
        plot_gain_intervals,
        plot_differences,
        plot_table_gains,
        plot_survival,
        draw_means,
        draw_histories,
        plot_improvements,
        plot_gaps,
    ],
)
def test_a_figure_shows_no_key_of_an_arm(made, arms, draw):
    draw(made)
    figure = mpl.pyplot.gcf()
    figure.canvas.draw()
    shown = {" ".join(text.get_text().split()) for text in figure.findobj(mpl.text.Text)}
    mpl.pyplot.close("all")
    keys = [arm for arm in arms if "_" in arm]
    assert not [text for text in shown for key in keys if key in text]
    assert [text for text in shown if "Default" in text]


def test_curves_of_many_arms_differ_in_colour_or_line():
    arms = [arm for arm in read_plan("paper_generators").arms if arm != "zero_shot"]
    curves = pd.DataFrame([(arm, time) for arm in arms for time in (0, 1)], columns=["arm", "time"])
    ax = plot_survival(curves.assign(unit="step", share=1.0))
    colours = [mpl.colors.to_rgb(line.get_color()) for line in ax.lines]
    lines = [line.get_linestyle() for line in ax.lines]
    for i, j in combinations(range(len(arms)), 2):
        far = max(abs(a - b) for a, b in zip(colours[i], colours[j], strict=True)) > 0.15
        assert far or lines[i] != lines[j]
    assert len(lines) == len(arms) > 8


def test_a_table_shows_no_key_of_an_arm(made, arms):
    pairs = structure_contrasts(load_store("finetuning/known_models").runs(KNOWN_MODELS))
    tables = [tabulate(made), tabulate_contrasts(made), tabulate(pairs)]
    tables.append(tabulate_traits(made.drop_duplicates("arm")))
    cells = json.dumps([table.reset_index().astype(str).to_dict("list") for table in tables])
    assert not [arm for arm in arms if "_" in arm and f'"{arm}"' in cells]
    assert "Default fine-tuning" in cells
