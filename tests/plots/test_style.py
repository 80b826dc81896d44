"""Figures show the data they are given, with labels a reader needs."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.plots.analysis import plot_gain_intervals
from causalmix.plots.evaluation import plot_pretraining
from causalmix.plots.quality import plot_quality, plot_ways_by_size
from causalmix.plots.results import plot_gaps, plot_histories, plot_improvements
from causalmix.plots.rows import plot_associations, plot_marginals, plot_pairs
from causalmix.plots.style import label, plot_edge_probabilities, plot_graph

mpl.use("Agg")
NO_MARKS = pd.DataFrame(columns=["algorithm", "source", "target", "mark", "frequency"])


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    mpl.pyplot.close("all")


@pytest.fixture
def edges() -> EdgeProbabilities:
    matrix = np.array([[0, 0.8, 0.1], [0.1, 0, 0], [0, 0, 0]])
    return EdgeProbabilities(("a", "b", "c"), matrix, NO_MARKS)


def test_the_heat_map_shows_the_matrix(edges):
    ax = plot_edge_probabilities(edges)
    shown = [float(text.get_text() or 0) for text in ax.texts]
    np.testing.assert_allclose(np.reshape(shown, (3, 3)), edges.matrix)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Effect", "Cause")


def test_the_graph_shows_edges_above_the_threshold_only(edges):
    arrows = plot_graph(edges, target="b", threshold=0.2).patches
    assert len(arrows) == 1  # a → b; a → c has probability 0.1
    assert len(plot_graph(edges, threshold=0.05).patches) == 2
    names = {text.get_text() for text in plot_graph(edges).texts}
    assert names == {"a", "b", "c"}
    with pytest.raises(UnknownNameError, match=r"target 'd'.*Valid: a, b, c"):
        plot_graph(edges, target="d")


def test_a_wide_graph_has_joined_nodes_side_by_side_and_a_name_at_each():
    """20 pairs, the halves of which are far apart in the table."""
    names = tuple(f"x{i}" for i in range(40))
    matrix = np.zeros((40, 40))
    matrix[np.arange(20), np.arange(20) + 20] = np.linspace(0.4, 1, 20)
    ax = plot_graph(EdgeProbabilities(names, matrix, NO_MARKS), target="x25")
    places = {text.get_text(): np.array(text.get_position()) / 1.09 for text in ax.texts}
    assert set(places) == set(names)
    step = 2 * np.sin(np.pi / 40)  # between neighbours on the circle
    for i in range(20):
        assert np.linalg.norm(places[f"x{i}"] - places[f"x{i + 20}"]) == pytest.approx(
            step, rel=1e-4
        )
    widths = [arrow.get_linewidth() for arrow in ax.patches]
    assert max(widths) == 3.5
    assert len(set(widths)) == 20
    orange = mpl.colors.to_rgb("tab:orange")
    assert sum(arrow.get_edgecolor()[:3] == orange for arrow in ax.patches) == 1


def test_marginals_draw_a_panel_a_column():
    real = pd.DataFrame({"x": np.arange(20.0), "k": pd.Categorical(["u", "v"] * 10)})
    figure = plot_marginals(real, {"made": real.iloc[::2]})
    x, k = figure.axes[:2]
    assert x.get_xlabel() == "x"
    heights = [bar.get_height() for bar in k.patches if bar.get_height() > 0]
    np.testing.assert_allclose(heights, [0.5, 0.5, 1.0])  # real u and v; every other row is u
    with pytest.raises(UnknownNameError, match="'k'"):
        plot_marginals(real, {}, columns=["kk"])


def test_associations_share_one_scale():
    frame = pd.DataFrame({"x": np.arange(9.0), "y": -np.arange(9.0)})
    figure = plot_associations({"real": frame, "made": frame, "other": frame})
    meshes = [ax.collections[0] for ax in figure.axes[:3]]
    assert all(mesh.get_clim() == (-1, 1) for mesh in meshes)
    np.testing.assert_allclose(meshes[0].get_array().ravel(), [1, -1, -1, 1])


@pytest.fixture
def paired() -> pd.DataFrame:
    """Columns of which x says most about y, k about m, and u about v."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 80))
    k = rng.integers(0, 3, 80)
    frame = pd.DataFrame({"x": x, "k": k, "y": x, "u": u > 0, "v": u, "m": k > 0})
    return frame.astype({"k": str, "m": str, "u": str}).astype(
        {"k": "category", "m": "category", "u": "category"}
    )


def test_pairs_show_the_strongest_of_every_kind_once(paired):
    made = paired.assign(m="True").astype({"m": paired["m"].dtype})
    figure = plot_pairs(paired, {"made": made}, n_pairs=5)
    real, synthetic = figure.axes[::2], figure.axes[1::2]
    assert [{ax.get_xlabel(), ax.get_ylabel()} for ax in real] == [
        {"x", "y"},
        {"k", "m"},
        {"u", "v"},
    ]
    assert [ax.get_title() for ax in figure.axes[:2]] == ["real", "made"]
    points, shares, boxes = real
    np.testing.assert_allclose(points.collections[0].get_offsets(), paired[["x", "y"]])
    assert [t.get_text() for t in shares.get_yticklabels()] == ["0", "1", "2"]  # more levels
    # m is k > 0: the shares of "False" and "True" in each level of k
    np.testing.assert_allclose(shares.images[0].get_array(), [[1, 0], [0, 1], [0, 1]])
    np.testing.assert_allclose(synthetic[1].images[0].get_array(), [[0, 1]] * 3)
    medians = [line.get_xdata()[0] for line in boxes.lines if len(set(line.get_xdata())) == 1]
    for level in ("False", "True"):
        median = paired.loc[paired["u"] == level, "v"].median()
        assert np.isclose(medians, median).any()


def test_one_pair_of_many_generators_stands_in_lines_of_two(paired):
    figure = plot_pairs(paired, dict.fromkeys(("a", "b"), paired), n_pairs=1)
    places = [ax.get_subplotspec() for ax in figure.axes]
    assert [(p.rowspan.start, p.colspan.start) for p in places] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [ax.get_title() for ax in figure.axes] == ["real", "a", "b", ""]


def test_pairs_bear_levels_without_rows_and_need_two_columns(paired):
    few = paired[(paired["u"] == "True") & (paired["k"] != "2")]
    plot_pairs(paired, {"few": few, "gaps": paired.mask(paired["v"] > 0)}).canvas.draw()
    void = paired[["x", "y", "v"]].assign(v=np.nan)
    plot_pairs(void, {"made": void}).canvas.draw()
    with pytest.raises(DataError, match="two of them"):
        plot_pairs(paired[["x"]], {})


def test_the_quality_figure_shows_the_report():
    values = np.arange(1.0, 19).reshape(3, 6) / 20
    names = ["CMD", "kMTVD", "NNAA", "near-copies", "tfm TSTR", "tfm real + synthetic"]
    report = pd.DataFrame(values, ["real training rows", "causal", "smote_nc"], names)
    axes = {ax.get_title(): ax for ax in plot_quality(report).axes if ax.get_title()}
    assert list(axes) == [*names[:4], "ROC-AUC, TFM"]
    dots = [np.asarray(c.get_offsets())[:, 0] for c in axes["ROC-AUC, TFM"].collections]
    np.testing.assert_allclose(dots, report.iloc[1:, 4:].T)
    (cmd,) = axes["CMD"].collections
    np.testing.assert_allclose(np.asarray(cmd.get_offsets()), [[0.35, 1], [0.65, 0]])
    assert [t.get_text() for t in axes["CMD"].get_yticklabels()] == ["causal", "smote_nc"]
    assert axes["CMD"].lines[0].get_xdata()[0] == values[0, 0]
    assert axes["CMD"].get_xlabel() == "lower is better"
    report.insert(3, "ATE error", [np.nan, 0.1, 0.2])
    titles = [ax.get_title() for ax in plot_quality(report.iloc[:, :5]).axes if ax.get_title()]
    assert titles == ["CMD", "kMTVD", "NNAA", "near-copies", "ATE error"]


def test_histories_average_the_change_since_step_zero_over_seeds():
    curves = {0: [1.0, 0.8, 0.6], 1: [2.0, 2.0]}  # the second run stopped early
    rows = [
        {"seed": seed, "arm": "default", "step": 4 * i, "val_log_loss": v, "test_log_loss": v}
        for seed, values in curves.items()
        for i, v in enumerate(values)
    ]
    validation, test = plot_histories(pd.DataFrame(rows), "log_loss")
    np.testing.assert_allclose(validation.lines[0].get_ydata(), [0, -0.1, -0.2])
    (legend,) = test.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["Default fine-tuning"]
    assert "nats" in validation.get_ylabel()
    named = [text.get_text() for text in validation.get_legend().get_texts()]
    assert named == ["split 0", "split 1"]
    told = [line.get_linestyle() for line in validation.get_legend().get_lines()]
    for ax in (validation, test):  # each of the two runs has the dashes that the legend says
        runs = [line for line in ax.lines if line.get_linewidth() == 0.9 and len(line.get_xdata())]
        ends = {line.get_ydata()[-1].round(6): line.get_linestyle() for line in runs}
        assert ends == {-0.4: told[0], 0.0: told[1]}


def test_gains_stand_on_their_lines_with_their_intervals():
    rows = [
        {"arm": arm, "rule": rule, "auc_gain": gain, "auc_low": gain - 1, "auc_high": gain + 1}
        for arm, gain in (("causal", 2.0), ("my arm", 3.0))
        for rule in ("last", "best")
    ]
    gains = pd.DataFrame(rows).assign(log_loss_gain=0, log_loss_low=-1, log_loss_high=1)
    auc, loss = plot_gain_intervals(gains, groups="rule")
    assert [text.get_text() for text in auc.get_yticklabels()] == ["CausalMix", "my arm"]
    dots = [line for line in auc.lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in dots] == [[2, 3], [2, 3]]
    assert dots[0].get_ydata()[0] < 0 < dots[1].get_ydata()[0] < dots[0].get_ydata()[1]
    (spans, _) = auc.collections
    assert [segment[:, 0].tolist() for segment in spans.get_segments()] == [[1, 3], [2, 4]]
    assert "nats" in loss.get_xlabel()
    assert len(auc.figure.legends[0].get_texts()) == 2


def test_ways_by_size_count_datasets_and_are_coloured_by_what_is_sure():
    """Of a distance less is better: what lies below zero is nearer."""
    rows = pd.DataFrame(
        [
            ("gp", 20, 6, -0.2, -0.1),
            ("gp", 100, 4, -0.2, 0.1),
            ("dag", 20, 0, 0.1, 0.2),
            ("dag", 100, 3, -0.1, 0.2),
        ],
        columns=["method", "n_train", "wins", "low", "high"],
    ).assign(graph="true", measure="cmd", datasets=6)
    figure = plot_ways_by_size(pd.concat([rows, rows.assign(measure="kmtvd", wins=1)]))
    cmd, kmtvd = figure.axes
    assert [text.get_text() for text in cmd.get_yticklabels()] == [
        *("process, true graph", "true parents")
    ]
    assert [text.get_text() for text in cmd.texts] == ["6", "4", "0", "3"]
    assert [text.get_text() for text in kmtvd.texts] == ["1"] * 4
    nearer, undecided, farther = figure.legends[0].get_patches()
    shown = [patch.get_facecolor() for patch in (nearer, undecided, farther, undecided)]
    np.testing.assert_allclose(cmd.collections[0].get_facecolors(), shown)


def test_no_history_is_an_error():
    with pytest.raises(CausalMixError, match="none that fine-tunes"):
        plot_histories(pd.DataFrame())
    one = {"seed": 0, "arm": "default", "step": [0, 4], "val_auc": np.nan, "test_auc": 0.8}
    with pytest.raises(CausalMixError, match="no ROC-AUC of val rows to draw"):
        plot_histories(pd.DataFrame(one), "auc")
    for losses in ([], [np.nan, np.nan]):
        log = pd.DataFrame({"step": range(len(losses)), "held_out_loss": losses})
        with pytest.raises(CausalMixError, match="There is no loss to draw"):
            plot_pretraining(log)


def test_improvements_mark_the_median():
    table = pd.DataFrame({"dataset": list("abc"), "arm": "causal", "improvement": [0.1, 0.4, -0.2]})
    ax = plot_improvements(table)
    bars = [list(line.get_xdata()) for line in ax.lines if len(line.get_xdata()) == 2]
    assert bars[0] == pytest.approx([0.1, 0.1])
    marks = {path.vertices.tobytes() for path in ax.collections[0].get_paths()}
    assert len(marks) == 3  # datasets are told apart without colours
    assert [label.get_text() for label in ax.get_yticklabels()] == ["CausalMix"]


def test_figures_of_runs_draw_the_arms_of_a_plan_too():
    """Behind those of the package, as the plan calls them."""
    arms, shown = ["my arm", "default"], ["Default fine-tuning", "my arm"]
    rows = pd.DataFrame({"arm": arms, "dataset": "a", "seed": 0, "improvement": [0.1, 0.4]})
    ax = plot_improvements(rows)
    assert [text.get_text() for text in ax.get_yticklabels()] == shown
    bars = [line.get_xdata()[0] for line in ax.lines if line.get_linewidth() == 2.5]
    assert bars == pytest.approx([0.4, 0.1])
    ax = plot_gaps(rows.assign(gap_auc=[0.5, 0.2], gap_log_loss=[0.1, 0.3]))
    assert [text.get_text() for text in ax.get_yticklabels()] == shown
    curves = pd.concat(rows.assign(step=k, val_auc=k / 9, test_auc=k / 9) for k in range(3))
    axes = plot_histories(curves, "auc")
    assert [text.get_text() for text in axes[1].figure.legends[0].get_texts()] == shown
    assert len({line.get_color() for line in axes[0].lines if line.get_linewidth() == 2.5}) == 2


def test_gaps_leave_out_undefined_runs():
    gaps = pd.DataFrame(
        {"dataset": "a", "seed": [0, 1], "arm": "default", "gap_auc": [0.5, np.nan]}
    ).assign(gap_log_loss=[0.1, 0.2])
    ax = plot_gaps(gaps)
    assert ax.get_xlabel().startswith("Validation-test gap")


def test_runs_too_short_for_a_gap_are_said_to_be():
    gaps = pd.DataFrame({"dataset": ["a"], "seed": [0], "arm": ["default"]})
    ax = plot_gaps(gaps.assign(gap_auc=np.nan, gap_log_loss=np.nan))
    assert [text.get_text() for text in ax.texts] == ["No run has three evaluations"]


# Names as users have them

ODD_NAMES = ["$a_1$ to $", "a$", "_hidden", "x" * 120 + "$" + "y" * 120, "two\nlines", "<img>"]


def test_a_label_is_drawn_as_it_is_and_short():
    assert label("plain name") == "plain name"
    assert label(3) == "3"
    assert label("$x$") == r"\$x\$"
    assert label("_x") == " _x"
    assert label("two\n lines") == "two lines"
    ends = label("first of" + "-" * 250 + "arm, left", 20)
    assert len(ends) == 20
    assert (ends[:8], ends[-9:]) == ("first of", "arm, left")
    figure, ax = mpl.pyplot.subplots()
    for text in ODD_NAMES:
        drawn = ax.text(0, 0, label(text, 300))
        figure.canvas.draw()
        assert not mpl.cbook.is_math_text(drawn.get_text())


def odd_table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.normal(size=40) for name in ODD_NAMES})
    levels = pd.Categorical.from_codes(rng.integers(0, len(ODD_NAMES), 40), ODD_NAMES)
    return frame.assign(rows=levels, value=levels, share=levels)


@pytest.mark.parametrize("draw", [plot_marginals, plot_pairs])
def test_rows_that_arrow_holds_are_drawn_as_those_that_numpy_holds(draw):
    rng = np.random.default_rng(0)
    plain = pd.DataFrame(
        {
            "x": rng.normal(size=40),
            "k": rng.integers(0, 5, 40),
            "g": pd.Categorical(rng.choice(["u", "v"], 40)),
            "t": pd.Categorical(rng.random(40) < 0.5),
        }
    )
    arrow = plain.astype({"g": str, "t": bool}).convert_dtypes(dtype_backend="pyarrow")
    assert all(isinstance(dtype, pd.ArrowDtype) for dtype in arrow.dtypes)
    figures = [draw(frame, {"made": frame[::-1]}) for frame in (plain, arrow)]
    drawn = [
        [[line.get_xydata() for line in ax.lines], [p.get_bbox().bounds for p in ax.patches]]
        for figure in figures
        for ax in figure.axes
    ]
    half = len(drawn) // 2
    for ours, theirs in zip(drawn[:half], drawn[half:], strict=True):
        for before, after in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(np.array(before, float), np.array(after, float))
    arrow.loc[3, "k"] = pd.NA
    draw(arrow, {"made": arrow}).canvas.draw()


@pytest.mark.parametrize("name", ["$x$ and $", "y" * 250])
def test_figures_bear_names_of_every_kind(name):
    frame = odd_table()
    columns = list(frame)
    d = len(columns)
    edges = EdgeProbabilities(tuple(columns), np.triu(np.full((d, d), 0.5), 1), NO_MARKS)
    plot_edge_probabilities(edges).figure.canvas.draw()
    plot_graph(edges, target=columns[0]).figure.canvas.draw()
    for draw in (plot_marginals, plot_pairs):
        draw(frame, {name: frame}).canvas.draw()
    plot_marginals(frame, {name: frame}, columns=["rows", "share", "value"]).canvas.draw()
    plot_associations({name: frame, "other": frame}).canvas.draw()
    table = pd.DataFrame(
        {"dataset": [name, "_b", "$"], "arm": "causal", "improvement": [0.1, 0.4, -0.2]}
    )
    ax = plot_improvements(table)
    ax.figure.canvas.draw()
    assert len(ax.figure.legends[0].get_texts()) == 3
    report = pd.DataFrame(0.5, ["real", name, "$"], ["CMD", "kMTVD", "NNAA", "near-copies"])
    plot_quality(report).canvas.draw()


def test_a_wide_name_leaves_room_for_the_figure():
    edges = EdgeProbabilities(("x" * 250, "y" * 250), np.zeros((2, 2)), NO_MARKS)
    ax = plot_edge_probabilities(edges)
    for text in (*ax.get_xticklabels(), *ax.get_yticklabels()):
        assert len(text.get_text()) <= 24
