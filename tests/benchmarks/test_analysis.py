"""Statistics of a store, against SciPy, statsmodels, closed forms and published figures."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from made_stores import STEPS, made_row, made_store
from scipy import stats
from statsmodels.stats.multitest import multipletests

from causalmix.benchmarks import claims, traits
from causalmix.benchmarks.analysis import (
    differences_by,
    gains_over,
    harm_by_arm,
    normalised_by_arm,
    normalised_by_table,
    paired_differences,
    rank_arms,
    select,
)
from causalmix.benchmarks.candidates import candidate_gains
from causalmix.benchmarks.curve_analysis import (
    convergence_by_arm,
    cost_by_arm,
    curve_facts,
    gaps_by_arm,
    survival_curves,
)
from causalmix.benchmarks.store import Store
from causalmix.benchmarks.tabulate import UNBROKEN, tabulate_contrasts
from causalmix.benchmarks.traits import correlate_traits, note_traits, read_traits
from causalmix.benchmarks.variance import power, tables_needed, variance_parts
from causalmix.data.dataset import load_dataset
from causalmix.errors import CausalMixError, UnknownNameError

ARMS = ("zero_shot", "default", "causal", "smote_nc")
RNG = np.random.default_rng(0)
EFFECTS = {
    (arm, f"t{i}"): RNG.normal(0.01 * ARMS.index(arm), 0.01) for arm in ARMS for i in range(8)
}


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(claims, "N_BOOTSTRAP", 200)


def noisy(arm, table, split):
    gain = EFFECTS[arm, table] if arm != "zero_shot" else 0.0
    noise = 0.004 * np.sin(7 * split + 3 * int(table[1:]) + len(arm))
    return {"auc": 0.8 + gain + noise, "log_loss": 0.5 - 2 * gain + noise}


@pytest.fixture(scope="module")
def runs():
    return made_store(noisy, ARMS, tables=8).runs()


def means(runs, score="auc"):
    return runs.pivot_table(score, "dataset", "arm")


def test_differences_are_those_of_scipy_over_means_of_tables(runs):
    found = paired_differences(runs).set_index(["reference", "score", "arm"])
    for reference in ("zero_shot", "default"):
        for score, sign in (("auc", 1), ("log_loss", -1)):
            wide = means(runs, score)
            gains = sign * wide.sub(wide[reference], axis=0).drop(columns=reference)
            own = found.loc[reference, score].loc[list(gains)]
            interval = stats.ttest_1samp(gains, 0).confidence_interval()
            p = [stats.wilcoxon(gains[arm]).pvalue for arm in gains]
            assert np.allclose(own["difference"], gains.mean())
            assert np.allclose(own[["t_low", "t_high"]].T, interval)
            assert np.allclose(own["p"], p)
            assert np.allclose(own["p_holm"], multipletests(p, method="holm")[1])
            counts = np.stack([gains > 0.002, gains.abs() <= 0.002, gains < -0.002]).sum(axis=1)
            assert (counts == own[["wins", "ties", "losses"]].T).all(axis=None)
            assert (own["low"] < own["difference"]).all()
            assert (own["difference"] < own["high"]).all()
    assert set(found["tables"]) == {8}
    assert set(found["splits"]) == {24}


def test_a_table_without_a_score_counts_in_nothing(runs):
    lacking = runs.copy()
    lacking.loc[lacking["dataset"] == "t1", "auc"] = np.nan
    found = paired_differences(lacking, ["zero_shot"])
    without = paired_differences(runs[runs["dataset"] != "t1"], ["zero_shot"])
    ask = "score == 'auc'"
    pd.testing.assert_frame_equal(found.query(ask), without.query(ask))
    assert set(found.query("score == 'log_loss'")["tables"]) == {8}
    none = runs.assign(auc=runs["auc"].where(runs["arm"] != "causal"))
    assert set(paired_differences(none, ["zero_shot"]).query(ask)["arm"]) == {"default", "smote_nc"}
    shares = harm_by_arm(lacking).set_index("arm")
    assert set(shares["tables"]) == {7}


def test_arms_on_other_rows_are_not_compared(runs):
    others = (("n_train", (60, 20)), ("data", ("a hash", "another")), ("weights", ("w0", "w1")))
    for name, values in others:
        mixed = runs.assign(**{name: np.where(runs["arm"] == "causal", *values[::-1])})
        for compared in (paired_differences, gains_over, rank_arms, harm_by_arm):
            with pytest.raises(CausalMixError, match=f"Arms on t0, split 0, .*{name} is .*--where"):
                compared(mixed)


def test_equal_arms_do_not_differ():
    runs = made_store(lambda *_: {"auc": 0.8}, ARMS).runs()
    found = paired_differences(runs)
    assert (found["p_holm"] == 1).all()
    assert (found["ties"] == 6).all()
    assert (found[["difference", "low", "high", "t_low", "t_high"]] == 0).all(axis=None)


def test_seeds_of_a_split_are_averaged_and_other_seeds_pair_with_them():
    store = Store()
    for seed, auc in enumerate((0.80, 0.84)):
        store.add(made_row("default", "t0", 0, auc, seed=seed))
    store.add(made_row("zero_shot", "t0", 0, 0.80))
    store.add(made_row("zero_shot_reseeded", "t0", 0, 0.81, seed=1_000_000))
    found = paired_differences(store.runs(), ["zero_shot"]).query("score == 'auc'")
    assert found.set_index("arm")["difference"].to_dict() == pytest.approx(
        {"default": 0.02, "zero_shot_reseeded": 0.01}
    )


def test_a_run_is_held_against_that_of_its_own_seed():
    made = [
        *[("zero_shot", "t0", 0.80, 0), ("default", "t0", 0.80, 0)],
        *[("zero_shot", "t0", 0.90, 1), ("default", "t0", 0.92, 1)],
        ("default", "t0", 0.86, 2),  # a seed that zero-shot lacks: its mean
        ("zero_shot_reseeded", "t0", 0.89, 1_000_001),
        ("default", "t1", 0.86, 0),  # a table that zero-shot lacks
    ]
    store = Store()
    for arm, table, auc, seed in made:
        store.add(made_row(arm, table, 0, auc, seed=seed) | {"curves": "{}"})
    for gains in (gains_over(store.runs()), candidate_gains(store)):
        found = gains.groupby("arm")["auc_gain"].apply(list)
        assert found["default"] == pytest.approx([0.0, 0.02, 0.01])
        assert found["zero_shot_reseeded"] == pytest.approx([-0.01])
    harmed = harm_by_arm(store.runs()).set_index("arm").loc["default"]
    assert harmed["runs_changed"] == pytest.approx(2 / 3)


def test_runs_that_differ_in_more_than_their_seed_are_refused_until_some_are_chosen():
    store = Store()
    for n_train, gain in ((60, 0.01), (120, 0.03)):
        for table in ("t0", "t1"):
            store.add(made_row("zero_shot", table, 0, 0.8, n_train=n_train))
            store.add(made_row("default", table, 0, 0.8 + gain, n_train=n_train))
    with pytest.raises(CausalMixError, match=r"2 runs of 'default' on t0.*n_train \(120, 60\)"):
        paired_differences(store.runs())
    few = select(store, ["n_train=120"]).runs()
    assert set(gains_over(few)["auc_gain"].round(9)) == {0.03}
    by = differences_by(store.runs(), ["n_train"])
    own = by[(by["score"] == "auc") & (by["reference"] == "zero_shot")]
    assert own.set_index("n_train")["difference"].to_dict() == pytest.approx({60: 0.01, 120: 0.03})
    rows = store.runs().assign(rate=lambda runs: np.where(runs["arm"] == "default", 0.1, np.nan))
    rows["members"] = None
    by = differences_by(rows[rows["n_train"] == 60], ["rate"])  # zero-shot has no rate
    assert by.query("score == 'auc' and arm == 'default'")["difference"].tolist() == pytest.approx(
        [0.01]
    )
    rows["lists"] = [["pc", "fci"] if n == 60 else ["boss"] for n in rows["n_train"]]
    by = differences_by(rows, ["lists"]).query("score == 'auc' and arm == 'default'")
    assert by["lists"].tolist() == ["['boss']", "['pc', 'fci']"]
    assert by["difference"].tolist() == pytest.approx([0.03, 0.01])
    with pytest.raises(CausalMixError, match="A setting is named twice: rate, rate"):
        differences_by(rows, ["rate", "rate"])
    for name in ("arm", "split", "auc"):  # what is compared
        with pytest.raises(UnknownNameError, match=f"Unknown setting '{name}'"):
            differences_by(rows, [name])
    with pytest.raises(CausalMixError, match="No run has a value of members"):
        differences_by(rows, ["members"])
    with pytest.raises(UnknownNameError, match=r"setting 'n_trian'.*'n_train'"):
        select(store, ["n_trian=60"])
    with pytest.raises(UnknownNameError, match="dataset in the store 't9'"):
        select(store, ["dataset=t9"])
    with pytest.raises(CausalMixError, match="takes NAME=VALUES, as n_train=60, not 'dataset'"):
        select(store, ["dataset"])
    with pytest.raises(CausalMixError, match=r"The store has no finished runs of fine-tuning\. N"):
        select(Store())
    other = Store()
    other.add(made_row("default", "t0", 0, 0.8) | {"kind": "zero_shot"})
    with pytest.raises(CausalMixError, match="of fine-tuning, only of zero_shot"):
        select(other)


def test_values_may_have_commas_and_numbers_be_written_otherwise():
    store = Store()
    for device, rate in (("cpu, Intel(R) Xeon(R)", 1e-5), ("cuda:0, H200", 1e-4)):
        store.add(made_row("default", "t0", 0, 0.8, rate=rate) | {"device": device})
    store.add(made_row("zero_shot", "t0", 0, 0.8))  # which has no rate
    own = select(store, ["device=cpu, Intel(R) Xeon(R)"]).runs()
    assert own["rate"].tolist() == [1e-5]
    for text in ("1e-05", "1.0e-5", "0.00001"):
        assert set(select(store, [f"rate={text}"]).runs()["rate"].dropna()) == {1e-5}
    with pytest.raises(UnknownNameError, match=r"rate in the store '1'. Valid: 0.0001, 1e-05\."):
        select(store, ["rate=1"])


def test_a_contrast_is_judged_by_its_interval():
    table = pd.DataFrame(
        {
            "arm": "causal",
            "reference": ["default", "default", "mine"],
            "score": ["auc", "log_loss", "auc"],
            "difference": [0.0123, 0.0, -0.01],
            "low": [0.01, -0.1, -0.02],
            "high": [0.02, 0.1, -0.001],
            "t_low": [0.008, -0.2, -0.02],
            "t_high": [0.03, 0.2, -0.001],
            **{"wins": 4, "ties": 3, "losses": 2, "p_holm": 0.01234, "tables": 9},
        }
    )
    shown = tabulate_contrasts(table).reset_index()
    rows = [
        "Default fine-tuning|ROC-AUC|+0.0123 [+0.0100, +0.0200] [+0.0080, +0.0300]|better",
        "Default fine-tuning|log-loss|+0.0000 [-0.1000, +0.1000] [-0.2000, +0.2000]|undecided",
        "mine|ROC-AUC|-0.0100 [-0.0200, -0.0010] [-0.0200, -0.0010]|worse",
    ]
    expected = [f"CausalMix|{row}|4-3-2|0.012" for row in rows]
    written = ["|".join(row).replace(UNBROKEN, " ") for row in shown.to_numpy()]
    assert written == expected
    assert "difference [bootstrap] [t]" in shown
    assert tabulate_contrasts(table[:0]).empty
    few = tabulate_contrasts(table.assign(tables=5))  # Wilcoxon's test could not tell
    assert set(few["verdict"]) == {"undecided"}
    both = table.assign(t_low=[-0.01, -0.1, -0.03], t_high=[0.03, 0.1, -0.002])
    assert tabulate_contrasts(both)["verdict"].tolist() == ["undecided", "undecided", "worse"]


def test_ranks_and_friedman_are_those_of_scipy_and_demsar():
    runs = made_store(noisy, ARMS, tables=8).runs()
    found = rank_arms(runs).set_index("arm")
    wide = means(runs)
    ranks = stats.rankdata(-wide.to_numpy(), axis=1).mean(axis=0)
    statistic, p = stats.friedmanchisquare(*wide.to_numpy().T)
    assert np.allclose(found.loc[wide.columns, "mean_rank"], ranks)
    assert found["statistic"].iloc[0] == pytest.approx(statistic)
    assert found["p"].iloc[0] == pytest.approx(p)
    # Demšar (2006), table 5a: q = 2.569 for four classifiers.
    assert found["critical_difference"].iloc[0] == pytest.approx(2.569 * np.sqrt(20 / 48), abs=1e-3)


def test_arms_without_all_tables_are_set_aside_in_ranks():
    store = made_store(noisy, ("zero_shot", "default"), tables=8)
    store.add(made_row("causal", "t0", 0, 0.9))
    assert set(rank_arms(store.runs())["arm"]) == {"zero_shot", "default"}


def test_a_table_that_is_under_way_sets_no_arm_aside():
    store = made_store(noisy, ("zero_shot", "default", "causal"), tables=7)
    store.add(made_row("zero_shot", "t7", 0, 0.9))
    found = rank_arms(store.runs())
    assert set(found["arm"]) == {"zero_shot", "default", "causal"}
    assert set(found["tables"]) == {7}


def test_improvements_are_averaged_before_they_are_divided_and_saturated_tables_set_aside():
    error = {"t0": 0.2, "t1": 0.4, "t2": 0.01, "t3": 0.1}
    gain = {"t0": 0.02, "t1": 0.12, "t2": 0.005, "t3": -0.02}

    def score(arm, table, split):
        wobble = 0.05 * (split - 1) * error[table]  # splits of unlike error
        best = {"default": 0.0, "causal": 1.0, "zero_shot": 0.0}[arm]
        return {"auc": 1 - error[table] - wobble + best * gain[table]}

    runs = made_store(score, ARMS[:3], tables=4).runs()
    shares = np.array([0.1, 0.3, -0.2])
    table = normalised_by_table(runs).set_index(["arm", "dataset"])
    assert np.allclose(table.loc["causal", "improvement"].drop("t2"), shares)
    assert np.isnan(table.loc[("causal", "t2"), "improvement"])
    found = normalised_by_arm(runs).set_index("arm").loc["causal"]
    assert found["set_aside"] == "t2"
    assert found["tables"] == 3
    assert found[["median", "sd"]].tolist() == pytest.approx([0.1, shares.std(ddof=1)])
    assert found["iqr"] == pytest.approx(np.subtract(*np.quantile(shares, [0.75, 0.25])))
    assert found["mad"] == pytest.approx(np.median(np.abs(shares - 0.1)))
    assert found["low"] <= 0.1 <= found["high"]


def test_harm_is_counted_by_runs_and_by_tables_against_chance():
    falls = {"t0": (0.0, -0.02, 0.0), "t1": (-0.009, -0.01, -0.011), "t2": (0.01, 0.01, 0.01)}

    def score(arm, table, split):
        fall = {"default": falls[table][split % 3], "zero_shot_reseeded": -0.006 * (table == "t0")}
        return {"auc": 0.8 + fall.get(arm, 0.0)}

    arms = ("zero_shot", "zero_shot_reseeded", "default")
    runs = made_store(score, arms, tables=3, splits=6).runs()
    found = harm_by_arm(runs).set_index("arm").loc["default"]
    assert found["runs_harmed"] == pytest.approx(4 / 9)
    assert found["runs_helped"] == pytest.approx(3 / 9)
    assert found["runs_changed"] == pytest.approx(7 / 9)
    assert found["changed_harmed"] == pytest.approx(4 / 7)
    assert found["tables_harmed"] == pytest.approx(2 / 3)  # the mean of t0 is -.0067
    assert found["noise_floor"] == pytest.approx(3 / 9)
    assert found["worse_tables"] == "t1"
    few = harm_by_arm(runs[runs["split"] < 4]).set_index("arm").loc["default"]
    assert few["worse_tables"] == ""  # four splits say nothing of a single table


def test_power_is_that_of_the_protocol_and_of_simulated_tables():
    """47, 26 and 16 tables of 5, 10 and 20 splits were computed for the protocol by hand."""
    deviations = [np.sqrt(0.0013**2 + 0.0102**2 / n) for n in (5, 10, 20)]
    assert [tables_needed(sd) for sd in deviations] == pytest.approx([47, 26, 16], abs=1)
    assert np.isnan(tables_needed(np.nan))
    assert tables_needed(0.0) == 3
    rng = np.random.default_rng(1)
    effects = rng.normal(0, 0.02, 400)

    def score(arm, table, split):
        gain = effects[int(table[1:])] + rng.normal(0, 0.01) if arm == "default" else 0.0
        return {"auc": 0.7 + gain}

    runs = made_store(score, ("zero_shot", "default"), tables=400, splits=4).runs()
    found = power(runs, ["zero_shot"]).query("score == 'auc'").iloc[0]
    assert found["sd_tables"] == pytest.approx(0.02, rel=0.1)
    assert found["sd_splits"] == pytest.approx(0.01, rel=0.1)
    shown = (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * np.hypot(0.02, 0.01 / 2) / 20
    assert found["detectable"] == pytest.approx(shown, rel=0.1)
    one = power(runs[runs["split"] == 0], ["zero_shot"]).iloc[0]
    assert one[["sd_tables", "sd_splits", "tables_with_5"]].isna().all()


def test_splits_and_seeds_are_taken_apart_as_they_were_simulated():
    rng = np.random.default_rng(2)
    rows = []
    for table in range(60):
        for split in range(5):
            luck = 0.7 + 0.05 * rng.normal(size=3)  # of a seed's ensemble, which all arms share
            gain = 0.05 + 0.01 * rng.normal()
            made = [(seed, "default", gain + 0.02 * rng.normal()) for seed in range(3)]
            made += [(0, "once", gain), *((seed, "zero_shot", 0.0) for seed in range(3))]
            rows += [
                (f"t{table}", split, seed, arm, luck[seed] + value) for seed, arm, value in made
            ]
    runs = pd.DataFrame(rows, columns=["dataset", "split", "seed", "arm", "auc"])
    runs = runs.assign(log_loss=1.0, accuracy=0.0)
    found = variance_parts(runs).set_index(["arm", "score"])
    assert list(found.index) == [("default", "auc"), ("default", "log_loss")]
    auc = found.loc["default", "auc"]
    assert tuple(auc[["tables", "splits", "runs"]]) == (60, 300, 900)
    assert auc["sd_splits"] == pytest.approx(0.01, rel=0.15)
    assert auc["sd_seeds"] == pytest.approx(0.02, rel=0.05)
    assert auc["seed_share"] == pytest.approx(0.8, abs=0.05)
    assert auc["share_low"] < 0.8 < auc["share_high"]
    assert auc["share_high"] - auc["share_low"] < 0.2
    assert variance_parts(runs[runs["split"] == 0]).empty
    table, split, seed = runs["dataset"].str[1:].astype(int), runs["split"], runs["seed"]
    few = (table % 2 == 0) | ((split == 0) & (seed == 0))  # of half of the tables one run
    part = variance_parts(runs[few]).set_index(["arm", "score"]).loc["default", "auc"]
    assert part["sd_splits"] == pytest.approx(0.01, rel=0.25)
    assert part["sd_seeds"] == pytest.approx(0.02, rel=0.1)
    alone = variance_parts(runs[table == 0]).set_index(["arm", "score"]).loc["default", "auc"]
    assert alone[["share_low", "share_high"]].isna().all()


# ---- curves --------------------------------------------------------------------------------------


def with_curves(**by_arm):
    """A store with curves by arm: a list of them, one a split."""
    store = Store()
    for arm, many in by_arm.items():
        for split, curves in enumerate(many):
            store.add(made_row(arm, "t0", split, 0.8, curves=curves))
    return store


def converging(step):
    """Validation log-loss that comes to its best at a step; None for never."""
    if step is None:
        return {"val_log_loss": [1.0 + s / 100 for s in STEPS]}
    return {"val_log_loss": [1.0 if s < step else 0.5 for s in STEPS]}


def test_gaps_count_constant_and_short_curves():
    reverse = {"val_auc": [1 - s / 1000 for s in STEPS]}
    flat = {"val_auc": [0.7] * 12}
    still = {"test_auc": [0.7] * 12}
    short = {
        name: [0.1 * k for k in range(4)]
        for name in ("step", "val_auc", "test_auc", "val_log_loss", "test_log_loss")
    }
    short["step"] = [0, 5, 10, 55]
    facts = curve_facts(with_curves(default=[{}, reverse, reverse, flat, still, short]))
    found = gaps_by_arm(facts).iloc[0]
    counts = ["runs", "too_short", "constant_val", "constant_test"]
    assert found[counts].tolist() == [6, 1, 1, 1]
    assert found["auc_median"] == pytest.approx(np.median([0, 2, 2, 1]))
    assert found["log_loss_median"] == pytest.approx(0)


def test_convergence_is_kaplan_meier_with_runs_that_never_improve_censored():
    """Two of five converge at 10, one at 20 and 40, one never: S = .6, .4, .2."""
    slow = [converging(step) for step in (10, 10, 20, 40, None)]
    quick = [converging(step) for step in (5, 5, 10, 20, 30)]
    facts = curve_facts(with_curves(default=slow, causal=quick))
    assert facts["step"].tolist() == [10, 10, 20, 40, 55, 5, 5, 10, 20, 30]
    assert facts["seconds"].iloc[0] == 3 + 2 * 10
    curve = survival_curves(facts).query("arm == 'default' and unit == 'step'")
    assert curve["time"].tolist() == [0, 10, 20, 40, 55]
    assert curve["share"].tolist() == pytest.approx([1, 0.6, 0.4, 0.2, 0.2])
    greenwood = 0.4 * np.sqrt(2 / (5 * 3) + 1 / (3 * 2))
    assert curve["error"].iloc[2] == pytest.approx(greenwood)
    found = convergence_by_arm(facts).set_index(["arm", "unit"])
    assert found.loc[("default", "step"), ["never_improved", "median"]].tolist() == [1, 20]
    saved = np.mean([5, 5, 10, 20, 25])
    assert found.loc[("causal", "step"), "saved"] == pytest.approx(saved)
    assert found.loc[("causal", "seconds"), "saved"] == pytest.approx(2 * saved)


def test_arms_that_never_improve_have_no_median():
    facts = curve_facts(with_curves(default=[converging(None)] * 3))
    found = convergence_by_arm(facts).iloc[0]
    assert found["never_improved"] == 3
    assert np.isnan(found["median"])
    assert survival_curves(facts)["share"].tolist() == [1, 1] * 2


# ---- traits and cost -----------------------------------------------------------------------------


def test_benchmarks_that_begin_together_lose_no_traits(tmp_path, monkeypatch):
    def slow(folder):
        found = read_traits(folder)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(traits, "read_traits", slow)
    table = load_dataset("wine")
    names = [f"t{k}" for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: note_traits(tmp_path, {name: table}), names))
    assert read_traits(tmp_path)["dataset"].tolist() == names


def test_tables_may_be_called_by_numbers(tmp_path):
    table = load_dataset("wine")
    for _ in range(2):  # the second time beside those that the file has
        note_traits(tmp_path, {"31": table, "007": table, "NA": table})
    assert read_traits(tmp_path)["dataset"].tolist() == ["007", "31", "NA"]


def test_traits_are_correlated_as_scipy_does(runs, tmp_path):
    tables = dict(zip(("t0", "t1", "t2", "t3"), map(load_dataset, TRAITED), strict=True))
    note_traits(tmp_path, {"t0": tables["t1"], "t3": tables["t3"]})
    note_traits(tmp_path, {name: tables[name] for name in ("t2", "t1", "t0")})
    found = correlate_traits(runs, read_traits(tmp_path)).set_index(["arm", "trait"])
    wide = means(runs)
    gain = wide["causal"] - wide["zero_shot"]
    rows = [tables[name].n_rows for name in tables]
    expected = stats.spearmanr(rows, gain.loc[list(tables)])
    assert found.loc[("causal", "rows"), ["rho", "p", "tables"]].tolist() == pytest.approx(
        [*expected, 4]
    )
    expected = stats.spearmanr(1 - wide["zero_shot"], gain)
    own = found.loc["causal"]
    assert own.loc["zero_shot_error", ["rho", "p"]].tolist() == pytest.approx(list(expected))
    p = own["p"].dropna()
    assert np.allclose(own.loc[p.index, "p_holm"], multipletests(p, method="holm")[1])
    text = (tmp_path / "tables.csv").read_text().splitlines()
    assert len(text) == 5
    assert text[1] == f"t0,{tables['t0'].content_hash},150,4,0.0,3"
    (tmp_path / "tables.csv").write_text("nonsense\n")
    with pytest.raises(CausalMixError, match=r"tables\.csv"):
        read_traits(tmp_path)
    assert correlate_traits(runs, read_traits(None))["trait"].value_counts().max() == 3


TRAITED = ("iris", "wine", "breast_cancer", "fair")


def test_cost_has_the_search_that_splits_share():
    store = Store()
    for split, seconds in enumerate((10.0, 20.0, 60.0)):
        store.add(made_row("default", "t0", split, 0.8, seconds=seconds))
        store.add(made_row("zero_shot", "t0", split, 0.8, seconds=1.0))
    found = cost_by_arm(store).set_index("arm")
    assert found.index.tolist() == ["zero_shot", "default"]
    assert found.loc["default", ["runs", "seconds", "search_seconds"]].tolist() == [3, 21, 1]
    assert found.loc["default", "hours"] == pytest.approx(93 / 3600)
    assert found.loc["zero_shot", "seconds"] == 1


def test_convergence_needs_no_default_arm():
    store = with_curves(causal=[converging(2), converging(4)])
    found = convergence_by_arm(curve_facts(store))
    assert set(found["arm"]) == {"causal"}
    assert "saved" not in found or found["saved"].isna().all()


def test_a_store_without_curves_has_no_facts():
    facts = curve_facts(made_store(lambda *_: {"auc": 0.8}, ("zero_shot",)))
    assert isinstance(facts, pd.DataFrame)
    assert facts.empty
    row = made_row("default", "t0", 0, 0.8)  # of several runs: without curves of test rows
    curves = {n: v for n, v in json.loads(row["curves"]).items() if not n.startswith("test")}
    store = Store()
    store.add(row | {"curves": json.dumps(curves)})
    assert curve_facts(store).empty
