"""What chapters argue from is what the summaries hold."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from causalmix import BackgroundKnowledge, discover, load_dataset
from causalmix.benchmarks import (
    candidate_gains,
    compare_ways,
    judge_candidates,
    judge_searches,
    judge_uses,
    load_record,
    load_result,
    load_store,
    read_traits,
    structure_contrasts,
    tabulate_searches,
    tabulate_uses,
)
from causalmix.benchmarks.candidates import CHOSEN, NOISE
from causalmix.benchmarks.comparison import COMPARED
from causalmix.benchmarks.csuite import WAYS
from causalmix.benchmarks.tabulate import UNBROKEN
from causalmix.benchmarks.utility import CTGAN_EPOCHS, SCORES, SOURCES

INTERVALS = {"fci": {200: (0.1, 0.3), 1000: (-0.1, 0.3)}, "pc": {200: (-0.3, -0.1)}}
INTERVALS["pc"][1000] = INTERVALS["pc"][200]


@pytest.fixture
def searches() -> pd.DataFrame:
    """Ahead of FCI in few rows, behind PC in any; groups and the bootstrap itself do not count."""
    rows = []
    for source in ("csuite", "random"):
        rows.append({"source": source, "group": "all", "n_rows": 200, "method": "bootstrap"})
        for group, method in (("all", "fci"), ("all", "pc"), ("one", "pc")):
            for n, (low, high) in INTERVALS[method].items():
                row = {"source": source, "group": group, "n_rows": n, "method": method}
                for score in ("skeleton_f1", "arrow_f1"):
                    row |= {f"{score}_low": low, f"{score}_high": high}
                    row[f"{score}_difference"] = (low + high) / 2
                rows.append(row)
    return pd.DataFrame(rows)


@pytest.fixture
def uses() -> pd.DataFrame:
    names = {"fci": "smote_nc", "pc": "real"}
    rows = [
        {"score": score, "generator": names[method], "n_train": n, "difference": (a + b) / 2}
        | {"low": a, "high": b}
        for score in (*SCORES, "mean_both")
        for method, each in INTERVALS.items()
        for n, (a, b) in each.items()
    ]
    return pd.DataFrame([{"score": SCORES[0], "generator": "causal", "n_train": 200}, *rows])


def test_verdicts_name_the_sizes_where_not_all_agree(searches, uses):
    told = judge_searches(searches)
    assert len(told) == 4
    assert (told["surely ahead of"] == "causal-learn FCI (200 rows)").all()
    assert (told["surely behind"] == "causal-learn PC").all()
    assert (told["not told from"] == "causal-learn FCI (1,000 rows)").all()
    told = judge_uses(uses)
    assert len(told) == 4
    assert set(told["surely ahead of"]) == {"smote_nc (200 rows)"}
    assert set(told["surely behind"]) == {"real"}
    nothing = judge_uses(uses[uses["generator"] != "real"])
    assert set(nothing["surely behind"]) == {"–"}


def test_ways_are_compared_on_the_same_draws_of_the_same_graphs():
    """Noise of draws is shared and cancels; a draw that one way lacks does not count."""
    noise = np.random.default_rng(0).normal(size=(2, 10))
    rows = pd.DataFrame(
        [
            {"dataset": f"graph {k}", "n_train": 50, "repetition": r, "graph": "true"}
            | {"method": method, "cmd": noise[k, r] + more * (k + 1), "kmtvd": 0.1, "nnaa": 0.4}
            | {"ate_error": 0.0, "arms_error": 0.0, "data": "a hash"}
            for method, more, draws in (("dag", 0.1, 10), ("gp", 0, 9))
            for k in range(2)
            for r in range(draws)
        ]
    )
    found = compare_ways(rows, ("true", "dag"), 50)
    assert set(zip(found["graph"], found["method"], strict=True)) == {("true", "gp")}
    cells = found.set_index("measure")[["difference", "low", "high"]]
    reach = 12.706 * 0.05  # Student's over two graphs, 0.1 and 0.2
    assert cells.loc["cmd"].tolist() == pytest.approx([0.15, 0.15 - reach, 0.15 + reach], abs=1e-4)
    assert (cells.loc["nnaa_distance"] == 0).all()
    lacking = rows.assign(arms_error=rows["arms_error"].where(rows["dataset"] == "graph 0"))
    pd.testing.assert_frame_equal(  # a measure that one graph lacks takes no others away
        compare_ways(lacking, ("true", "dag"), 50).query("measure == 'cmd'"),
        found.query("measure == 'cmd'"),
    )
    none = compare_ways(rows.assign(arms_error=np.nan), ("true", "dag"), 50)
    assert "arms_error" not in set(none["measure"])


def test_tables_hold_differences_with_their_intervals(searches, uses):
    table = tabulate_searches(searches, ["pc"])
    assert table.shape == (2, 4)
    assert set(table.to_numpy().ravel()) == {f"−0.200 [−0.300,{UNBROKEN}−0.100]"}
    table = tabulate_uses(uses, ["smote_nc"])
    assert table.shape == (4, 2)
    assert set(table["1000 training rows"]) == {f"+0.100 [−0.100,{UNBROKEN}+0.300]"}


def test_what_chapter_two_says_of_the_ways_to_fill_in_cells_holds():
    rows = load_result("generation/csuite_ways")
    draws = rows.groupby(["dataset", "n_train", "method", "graph"])["repetition"].nunique()
    assert set(draws) == {20}

    def against(way, other):
        found = compare_ways(rows, way, 100).set_index(["graph", "method"])
        return found.sort_index().loc[other].set_index("measure")

    true, drawn = ("true", "dag"), ("discovered", "drawn_parents")
    nearer = {way: against(true, way)["high"] < 0 for way in WAYS if way != true}
    sure = {way: set(found.index[found]) for way, found in nearer.items()}
    rows_alone = {"cmd", "kmtvd", "nnaa_distance"}
    assert {way: found - rows_alone for way, found in sure.items() if found - rows_alone} == {
        ("none", "vanilla_original"): {"arms_error"},
        ("true", "vanilla_reverse_topological"): {"ate_error"},
    }
    assert {way: found & rows_alone for way, found in sure.items() if found & rows_alone} == {
        **dict.fromkeys([drawn, ("discovered", "cpdag_discovered")], rows_alone),
        ("none", "vanilla_original"): rows_alone,
        ("true", "vanilla_reverse_topological"): rows_alone,
        ("true", "vanilla_topological"): rows_alone - {"cmd"},
        ("discovered", "gp"): rows_alone - {"cmd"},
    }
    for level in (
        against(true, ("true", "gp")),
        against(true, ("true", "cpdag_minimal")),
        against(drawn, ("discovered", "cpdag_discovered")),
    ):
        assert ((level["low"] < 0) & (level["high"] > 0)).all()
    summed = load_result("generation/csuite_ways_comparison")
    at_100 = summed[summed["n_train"] == 100].set_index(["method", "graph", "measure"]).sort_index()
    assert (at_100["difference"].groupby(level=["method", "graph"]).max() > 0).all()
    sides = {}
    for (method, graph, measure), row in at_100.iterrows():
        if row["low"] > 0 or row["high"] < 0:
            sides.setdefault((measure, row["low"] > 0), set()).add((method, graph))
    assert sides == {
        ("kmtvd", False): {
            ("dag", "true"),
            ("vanilla_original", "none"),
            ("vanilla_topological", "true"),
        },
        ("nnaa_distance", False): {("dag", "true"), ("gp", "true")},
        ("ate_error", True): {
            ("cpdag_discovered", "discovered"),
            ("vanilla_reverse_topological", "true"),
        },
    }


def test_what_chapter_three_says_of_arms_and_graphs_holds():
    judged = judge_candidates(candidate_gains(load_store("finetuning/candidates")))
    shown = judged.query("view == '' and rule == 'tested' and tables > 3").set_index("arm")
    assert shown["log_loss_gain"].idxmin() == "causal_paper"
    assert shown.loc["causal_permuted", "log_loss_gain"] > shown.loc["causal", "log_loss_gain"]
    assert shown.loc[["causal_paper", "causal_permuted"], "runs"].tolist() == [9, 9]

    judged = judge_candidates(candidate_gains(load_store("finetuning/contenders")))
    whole = judged[(judged["runs"] == judged["runs"].max()) & (judged["arm"] != NOISE)]
    enough = whole["log_loss_gain"] > 0.8 * whole["log_loss_gain"].max()
    both = whole[enough & whole["promise"].astype(bool)]
    best = both[both["worse_runs"] == both["worse_runs"].min()]
    assert len(both) > 3
    assert set(best["arm"]) == {CHOSEN[0]}
    assert CHOSEN[2] in set(best["rule"])

    tested = whole[whole["rule"] == CHOSEN[2]].set_index("arm")["worse_runs"]
    assert 0 < tested["causal_shuffled_rehearsal"] - tested[CHOSEN[0]] < 0.05  # hardly more
    benchmark = set(read_traits(load_store("finetuning/paper").folder)["dataset"])
    assert len(benchmark & set(load_result("generation/utility")["dataset"])) == 8

    known = structure_contrasts(load_store("finetuning/known_models").runs())
    ends = {score: (known[f"{score}_low"] * known[f"{score}_high"] > 0) for score in COMPARED}
    sure = pd.DataFrame(ends).set_axis(pd.MultiIndex.from_frame(known[["better", "than", "rows"]]))
    ahead = {way: set(row.index[row]) for way, row in sure.iterrows() if row.any()}
    assert ahead == {
        ("true_label", "causal_label", "same"): {"auc", "log_loss"},
        ("true_label", "causal_shuffled_label", "same"): {"auc"},
    }
    gains = known.set_index(list(sure.index.names))["auc_gain"]
    assert (gains[list(ahead)] > 0).all()
    assert (gains[list(ahead)] < 0.002).all()
    assert 0.05 * sure.size == pytest.approx(2.2)  # by chance


def test_what_chapter_two_says_of_the_generators_holds():
    summary = load_result("generation/utility_summary")
    rows = summary.set_index(["score", "generator", "n_train"]).sort_index()

    def of(score, *names):
        return rows.loc[(score, list(names), slice(None))]

    for score in SCORES:
        assert (of(score, "causal_paper")["low"] > 0).all()
        assert (of(score, "causal_paper")["difference"] > 0.01).all()
        level = of(score, "causal_close")
        assert ((level["low"] < 0) & (level["high"] > 0)).all()
    assert (of("boosting_synthetic", "causal_sampled")["low"] > 0).all()
    beside = of("boosting_both", "causal_sampled").groupby("n_train")["low"].first()
    assert beside[100] > 0 > beside[300]
    for source in ("mean_synthetic", "mean_both"):
        means = summary[summary["score"] == source]
        best = means.loc[means.groupby("n_train")["auc"].idxmax(), "generator"]
        assert set(best) == {"real"}
    near = pd.concat([of(f"mean_{s}", "causal_close", "perturbation", "smote_nc") for s in SOURCES])
    assert ((near["low"] < 0) & (near["high"] > 0)).mean() > 0.75


def test_what_chapter_two_says_of_ways_by_the_number_of_rows_holds():
    summed = load_result("generation/csuite_ways_comparison")
    rows = summed.set_index(["measure", "n_train", "graph", "method"]).sort_index()
    assert sorted(summed["n_train"].unique()) == [20, 50, 100, 200, 500]
    for measure in ("kmtvd", "nnaa_distance"):
        assert (rows.loc[(measure, 20), "low"] > 0).sum() >= 7  # of nine
    ordered = [("true", "dag"), ("true", "vanilla_topological"), ("none", "vanilla_original")]
    for n in (100, 200, 500):
        assert (rows.loc[("kmtvd", n)].loc[ordered, "high"] < 0).all()
    assert (rows.loc["ate_error", "high"] > 0).all()

    wins = rows["wins"].unstack("measure")
    assert (wins[["cmd", "kmtvd", "nnaa_distance"]].min(axis=1) < 5).all()
    near = wins[(wins[["kmtvd", "nnaa_distance"]] >= 5).all(axis=1)]
    assert (near[["cmd", "ate_error", "arms_error"]] < 5).all(axis=None)
    assert len(near) > 5


@pytest.mark.parametrize("name", ["discovery/benchmark_speed", "generation/speed"])
def test_columns_cost_more_than_rows(name):
    """Seconds by the number of rows grow more slowly than by that of columns."""
    cost = pd.DataFrame(load_record(name)["cost"])
    column = "seconds" if "seconds" in cost else "fit_seconds"
    if "method" in cost:
        cost = cost[cost["method"] == "bootstrap"]
    growth = {}
    for varied, part in cost.groupby("varied"):
        ends = part.sort_values(varied).iloc[[0, -1]]
        growth[varied] = np.diff(np.log(ends[column])) / np.diff(np.log(ends[varied]))
    assert growth["columns"] > 2 * growth["rows"]
    if column == "fit_seconds":
        assert (cost["fit_seconds"] > cost["sample_seconds"]).all()


def test_voters_have_an_arrow_that_cannot_be_and_knowledge_mends_it():
    """As chapter 1 tells it: age and income point the other way, and others move with them."""
    voters = load_dataset("anes96").draw(300, seed=0).frame()
    before = discover(voters)
    known = BackgroundKnowledge(tiers=[["age"], [name for name in voters if name != "age"]])
    after = discover(voters, knowledge=known)
    by_age = voters.groupby(pd.cut(voters["age"], [0, 30, 60, 100]), observed=True)
    assert by_age["income"].mean().argmax() == 1
    assert by_age["TVnews"].mean().is_monotonic_increasing
    was, now = (pd.DataFrame(each.matrix, each.names, each.names) for each in (before, after))
    assert was["age"].idxmax() == "TVnews"
    assert was.loc["TVnews", "age"] > 0.5
    assert (now.loc["age", "TVnews"], now["age"].max()) == (1, 0)
    assert now.loc["age", "income"] > 0.9 > 0.6 > was.loc["age", "income"]
    assert abs(was.loc["educ", "income"] - was.loc["income", "educ"]) < 0.1
    assert now.loc["income", "educ"] > now.loc["educ", "income"] + 0.1
    assert was.loc["educ", "income"] > was.loc["income", "educ"]
    assert 0 < now.loc["vote", "PID"] - now.loc["PID", "vote"] < 0.15
    for held_still in ("1", "age + I(age**2)"):  # what a collider at age would not show
        models = [held_still, f"{held_still} + TVnews + I(TVnews**2)"]
        found = anova_lm(*(ols(f"income ~ {model}", voters).fit() for model in models))
        assert found["Pr(>F)"].iloc[1] > 0.3
    own = before.marks.query("algorithm == 'boss' and source == 'TVnews' and target == 'age'")
    assert own.set_index("mark").loc["---", "frequency"] >= 0.4


def test_few_epochs_of_ctgan_are_no_better_than_chance_and_many_are():
    """What chapter 2 says of it."""
    auc = load_result("generation/ctgan").pivot(
        index=["dataset", "seed"], columns="generator", values="linear_synthetic"
    )
    assert len(auc) == 6
    assert (auc[["ctgan_50", "ctgan_150"]] < 0.5).sum().sum() > 6  # of twelve
    assert auc["ctgan_1200"].min() > 0.9
    earlier = load_result("generation/utility").query("generator == 'ctgan' and n_train == 100")
    assert (earlier.groupby("dataset")["linear_synthetic"].mean() < 0.5).mean() > 0.5
    assert CTGAN_EPOCHS == 150


def test_what_chapter_1_says_beside_the_published_search():
    summary = load_result("discovery/published_summary")
    everywhere = summary[summary["dataset"] == "all"]
    assert (everywhere["draws"] > 590).all()
    means = everywhere.pivot(index=["method", "score"], columns="n_rows", values="mean")
    ours, pc = means.loc["bootstrap"], means.loc["pc"]
    shown = everywhere[everywhere["method"] == "pc"].pivot(
        index="score", columns="n_rows", values="published"
    )
    for score in ("skeleton_recall", "arrow_recall"):
        assert (ours.loc[score] > shown.loc[score]).all()
        assert (pc.loc[score] > shown.loc[score]).all()
    ahead = ours.loc["skeleton_recall"] - pc.loc["skeleton_recall"]
    assert ahead[20] < -0.02
    assert ahead[[50, 100, 200, 500]].min() > 0.02
    assert (ours.loc["arrow_recall"] > pc.loc["arrow_recall"]).all()
    assert ours.loc["arrow_recall", 500] < 0.5
    assert abs(ours.loc["arrow_precision", 500] - 0.5) < 0.1
    for kind in ("skeleton", "arrow"):
        assert (ours.loc[f"{kind}_brier"] < pc.loc[f"{kind}_brier"]).all()
    better = ours < pc
    assert better.loc["skeleton_calibration_error"].all()
    assert not better.loc["arrow_calibration_error"].all()
