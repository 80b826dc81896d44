"""Pre-training as a game: regions, gaps, rules, rounds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_training import HELD_OUT, TINY, TINY_PRIOR
from scipy.stats import ttest_1samp, ttest_rel
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from causalmix.errors import CausalMixError, CheckpointError, UnknownNameError
from causalmix.pretraining import comparison
from causalmix.pretraining import gaps as gaps_module
from causalmix.pretraining import regions as regions_module
from causalmix.pretraining import run as run_module
from causalmix.pretraining.adversarial import (
    GameConfig,
    bandit_rule,
    main,
    play,
    read_config,
    softmax_rule,
)
from causalmix.pretraining.comparison import compare_games
from causalmix.pretraining.config import PretrainConfig
from causalmix.pretraining.gaps import (
    CHANCE,
    Probe,
    draw_probes,
    gaps_by_region,
    learner_losses,
    network_losses,
    optimality_gaps,
)
from causalmix.pretraining.heldout import write_tasks
from causalmix.pretraining.regions import KNOBS, PriorMixture, uniform
from causalmix.prior.tasks import NO_CLASS, PriorConfig, sample_batch
from causalmix.quality.baselines import BASELINES
from causalmix.tfm.model import load_tfm

TRAINING = GameConfig.training


class LinearNetwork(torch.nn.Module):
    """A network that knows logistic regression and no trees: a planted weakness."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        n_context, found = len(y), []
        rows = x.nan_to_num().numpy()
        for b in range(x.shape[1]):
            model = LogisticRegression(max_iter=500).fit(rows[:n_context, b], y[:, b].numpy())
            found.append(torch.from_numpy(model.predict_log_proba(rows[n_context:, b])).float())
        widest = max(each.shape[1] for each in found)
        pad = [torch.nn.functional.pad(each, (0, widest - each.shape[1])) for each in found]
        return torch.stack(pad, dim=1)


CLEAR = {"noise": (0.03, 0.1), "target_noise": (0.01, 0.05)}


def probes_of(n: int, knobs: set[str], seed: int = 0, **settings) -> list[Probe]:
    """Tasks with settings of their own, in which only some knobs are drawn."""
    base = replace(PriorConfig(rows=(300, 320), max_features=6, missing_share=0.0), **settings)
    return draw_probes(base, n, (seed,), tasks_per_batch=1, knobs=sorted(knobs))


# ---- regions -------------------------------------------------------------------------------------


def test_every_region_changes_what_its_knob_ranges_over():
    assert len(KNOBS) >= 8
    plain = PriorConfig()
    for regions in KNOBS.values():
        priors = [replace(plain, **settings) for settings in regions.values()]
        assert len({*map(repr, priors)}) == len(regions) >= 2


@pytest.mark.parametrize("knob", ["rows", "columns", "categories", "gaps", "balance", "classes"])
def test_tasks_of_a_region_are_what_it_says(knob):
    rng = np.random.default_rng(0)
    for region, settings in KNOBS[knob].items():
        prior = replace(PriorConfig(component_share=0.0, one_hot_share=0.0), **settings)
        batches = [sample_batch(prior, rng) for _ in range(12)]
        if knob == "rows":
            low, high = prior.rows
            assert all(low <= len(batch.y) <= high for batch in batches)
        elif knob == "columns":
            shapes = [batch.x.shape[2] for batch in batches]
            assert min(shapes) >= prior.min_features
            assert max(shapes) <= prior.max_features
        elif knob == "gaps":
            assert any(b.x.isnan().any() for b in batches) == (region == "in every task")
        elif knob == "classes":
            counts = [int(b.y[: b.n_context].max()) + 1 for b in batches]
            assert (max(counts) == 2) == (region == "two")


def test_even_classes_are_more_even_than_uneven_ones():
    def largest(region):
        rng = np.random.default_rng(1)
        prior = PriorConfig(binary_share=1.0, **KNOBS["balance"][region])
        codes = [y for _ in range(20) for y in sample_batch(prior, rng).y.T]
        return np.mean([np.bincount(c[c >= 0]).max() / (c >= 0).sum() for c in codes])

    assert largest("even") < 0.65 < largest("uneven")


def test_categories_are_whole_numbers_of_few_levels():
    rng = np.random.default_rng(2)
    for region, expected in (("none", 0.0), ("all", 1.0)):
        prior = replace(
            PriorConfig(rows=(200, 220), missing_share=0.0, component_share=0.0),
            **KNOBS["categories"][region] | {"one_hot_share": 0.0},
        )
        columns = [
            c for _ in range(6) for task in sample_batch(prior, rng).x.unbind(1) for c in task.T
        ]
        share = np.mean([len(c.unique()) <= 12 for c in columns])
        assert share == pytest.approx(expected, abs=0.15)  # rounded counts have few values too


def test_a_mixture_draws_in_proportion():
    probabilities = uniform() | {"classes": {"two": 0.75, "more": 0.25}}
    mixture, rng = PriorMixture(PriorConfig(), probabilities, 0.4), np.random.default_rng(0)
    drawn = [mixture.draw(rng) for _ in range(3000)]
    moved = [prior for prior in drawn if prior != PriorConfig()]
    assert len(moved) / 3000 == pytest.approx(0.6, abs=0.03)
    assert np.mean([prior.binary_share == 1.0 for prior in moved]) == pytest.approx(0.75, abs=0.03)


def test_probes_have_as_many_tasks_of_every_region():
    probes = probes_of(12, {"classes", "mechanisms"})
    for knob in ("classes", "mechanisms"):
        counts = pd.Series([probe.regions[knob] for probe in probes]).value_counts()
        assert set(counts) == {12 // len(KNOBS[knob])}


# ---- gaps ----------------------------------------------------------------------------------------


def test_losses_are_scikit_learns():
    probes = probes_of(4, {"classes"})
    found = learner_losses(probes, ["random_forest"])
    network = network_losses(LinearNetwork(), probes)
    for row, probe in enumerate(probes):
        n, (x, y) = (
            probe.batch.n_context,
            (probe.batch.x[:, 0].numpy(), probe.batch.y[:, 0].numpy()),
        )
        known = y[n:] != NO_CLASS
        classes = np.arange(y[:n].max() + 1)
        varied = x[:n].std(0) > 0
        forest = BASELINES["random_forest"].build(0, 1)
        columns = pd.DataFrame(x[:, varied]).add_prefix("column")
        forest.fit(columns[:n], y[:n])
        shares = np.bincount(y[:n]) / n
        for name, p in (
            ("random_forest", forest.predict_proba(columns[n:])[known]),
            (CHANCE, np.tile(shares, (known.sum(), 1))),
        ):
            smooth = (n * p + 1) / (n + len(classes))
            assert found.loc[row, name] == pytest.approx(
                log_loss(y[n:][known], smooth, labels=classes)
            )
        own = LogisticRegression(max_iter=500).fit(x[:n], y[:n]).predict_proba(x[n:])[known]
        assert network[row] == pytest.approx(log_loss(y[n:][known], own, labels=classes), rel=1e-4)


def test_a_gap_is_the_distance_from_the_best_and_capped_at_chance():
    others = pd.DataFrame(
        {"a": [0.5, 0.9, np.nan, 0.8, np.nan], "b": [0.4, 0.8, 0.3, 0.9, np.nan], CHANCE: 0.69}
    )
    gaps = optimality_gaps(np.array([0.6, 0.9, 0.2, 0.5, 0.5]), others, ["a", "b"])
    assert gaps[:4].tolist() == pytest.approx([0.2, 0.0, -0.1, -0.19])
    assert np.isnan(gaps[4])


def test_gaps_of_regions_are_means_over_batches():
    tasks = pd.DataFrame({"batch": [0, 0, 1, 2], "rows": ["few", "few", "few", "many"]})
    found = gaps_by_region(pd.Series([0.1, 0.3, 0.4, np.nan]), tasks).set_index("region")
    assert found.index.tolist() == ["few"]
    assert found.loc["few", "gap"] == pytest.approx(0.3)
    assert found.loc["few", "error"] == pytest.approx(0.1)
    assert found.loc["few", "batches"] == 2


def test_a_learner_that_fails_on_a_task_is_left_out_there(monkeypatch, caplog):
    class Broken:
        def fit(self, X, y):
            raise RuntimeError("out of luck")

    broken = replace(BASELINES["knn"], build=lambda seed, threads: Broken())
    monkeypatch.setitem(BASELINES, "knn", broken)
    probes = probes_of(2, {"classes"})
    found = learner_losses(probes, ["knn", "random_forest"])
    assert found["knn"].isna().all()
    assert found["random_forest"].notna().all()
    network = network_losses(LinearNetwork(), probes)
    both = optimality_gaps(network, found, ["knn", "random_forest"])
    pd.testing.assert_series_equal(both, optimality_gaps(network, found, ["random_forest"]))
    assert "knn failed on a task and is left out there: out of luck" in caplog.text
    with pytest.raises(CausalMixError, match="No learner of knn could be fitted"):
        optimality_gaps(network, found, ["knn"])


def test_a_region_without_labels_is_named(monkeypatch):
    def unlabelled(prior, rng):
        batch = sample_batch(prior, rng)
        if prior.binary_share == 0.0:
            batch.y[batch.n_context :] = NO_CLASS
        return batch

    monkeypatch.setattr("causalmix.pretraining.gaps.sample_batch", unlabelled)
    with pytest.raises(CausalMixError, match="The region 'more' of the knob 'classes' yields"):
        probes_of(8, {"classes"})


def test_learners_that_are_unknown_or_missing_are_named(monkeypatch):
    with pytest.raises(UnknownNameError, match="forest"):
        learner_losses([], ["forest"])
    missing = replace(BASELINES["catboost"], packages=("no-such-package",))
    monkeypatch.setitem(BASELINES, "catboost", missing)
    with pytest.raises(CausalMixError, match="pip install"):
        learner_losses([], ["catboost"])


# ---- rules ---------------------------------------------------------------------------------------


def test_the_softmax_is_that_of_the_gaps():
    gaps = pd.DataFrame({"knob": ["rows"] * 2, "region": ["few", "many"], "gap": [0.02, 0.0]})
    found = softmax_rule(gaps, 0.01)["rows"]
    assert found["few"] / found["many"] == pytest.approx(np.exp(2))
    assert sum(found.values()) == pytest.approx(1)


def test_the_bandit_hopes_for_two_errors_more():
    gaps = pd.DataFrame(
        {
            "knob": ["classes", "classes", "rows", "missing"],
            "region": ["two", "more", "few", "none"],  # of the last knob one was measured
            "gap": [0.02, 0.0, 0.0, 0.0],
            "error": [0.0, 0.0, 0.02, 0.0],
        }
    )
    found = bandit_rule(gaps)
    assert found == {
        "classes": uniform()["classes"],
        "rows": {"few": 1.0},
        "missing": {"none": 1.0},
    }


def test_the_mass_moves_to_a_planted_weakness():
    """A model that knows linear tasks alone trails a forest elsewhere."""
    numeric = KNOBS["categories"]["none"] | {"component_share": 0.0, "binary_share": 1.0}
    probes = probes_of(40, {"mechanisms"}, observed_share=1.0, max_used=3, **CLEAR, **numeric)
    tasks = learner_losses(probes, ["random_forest"])
    gaps = optimality_gaps(network_losses(LinearNetwork(), probes), tasks, ["random_forest"])
    found = gaps_by_region(gaps, tasks)
    mass = softmax_rule(found, 0.05)["mechanisms"]
    assert min(mass, key=mass.get) == "linear"
    assert mass["linear"] < 0.1
    assert mass["steps and trees"] > 4 * mass["linear"]
    assert "linear" not in bandit_rule(found)["mechanisms"]


# ---- rounds --------------------------------------------------------------------------------------

SMALL = GameConfig(
    rounds=3,
    steps_per_round=2,
    probes=4,
    prior=TINY_PRIOR,
    learners=("logistic_regression",),
    temperature=0.05,
    tolerance=10.0,
)


@pytest.fixture(autouse=True)
def small_surroundings(tmp_path_factory, monkeypatch):
    """Few held-out tasks, one knob of tiny tasks."""
    path = tmp_path_factory.mktemp("held_out") / "tasks.safetensors"
    assert write_tasks(path, HELD_OUT) == TINY.held_out
    monkeypatch.setitem(play.__kwdefaults__, "held_out", path)
    monkeypatch.setattr(GameConfig, "training", tiny_training)


@pytest.fixture
def tiny_knobs(monkeypatch):
    few = {knob: KNOBS[knob] for knob in ("classes", "balance")}
    for module in (gaps_module, regions_module):
        monkeypatch.setattr(module, "KNOBS", few)
    monkeypatch.setitem(draw_probes.__kwdefaults__, "knobs", tuple(few))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    run = run_module.TrainingRun(TINY, None, torch.device("cpu"))
    run.evaluate(HELD_OUT)
    run.write_results(folder)
    return folder / "model.safetensors"


def tiny_training(config: GameConfig, start_from: Path) -> PretrainConfig:
    return replace(TRAINING(config, start_from), held_out=TINY.held_out)


def game_of(folder: Path) -> dict:
    return json.loads((folder / "game.json").read_text())


def weights(folder: Path) -> str:
    return load_tfm(folder / "model.safetensors").content_hash


def test_an_interrupted_game_ends_like_an_uninterrupted_one(
    tmp_path, checkpoint, tiny_knobs, monkeypatch
):
    whole = play(tmp_path / "whole", SMALL, start_from=checkpoint)
    assert whole.groupby("round").size().tolist() == [4, 4, 4]
    sums = whole.groupby(["round", "knob"])["probability"].sum()
    assert sums.to_numpy() == pytest.approx(1)

    write_state = run_module.TrainingRun.write_state

    def killed_in_round_two(run, path):
        if run.step == 4:
            raise KeyboardInterrupt
        write_state(run, path)

    with monkeypatch.context() as patch:
        patch.setattr(run_module.TrainingRun, "write_state", killed_in_round_two)
        with pytest.raises(KeyboardInterrupt):
            play(tmp_path / "parts", SMALL, start_from=checkpoint)
    assert play(tmp_path / "parts", SMALL, start_from=checkpoint, seconds=0).shape[0] == 4
    parts = play(tmp_path / "parts", SMALL, start_from=checkpoint, producers=1)
    pd.testing.assert_frame_equal(parts, whole)
    assert game_of(tmp_path / "parts") == game_of(tmp_path / "whole")
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    assert play(tmp_path / "parts", SMALL, start_from=checkpoint).equals(parts)  # it has ended


@pytest.mark.parametrize("where", ["write_results", "write_state"])
def test_a_game_that_was_killed_as_it_began_goes_on(
    tmp_path, checkpoint, tiny_knobs, monkeypatch, where
):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(run_module.TrainingRun, where, killed)
        with pytest.raises(KeyboardInterrupt):
            play(tmp_path, SMALL, start_from=checkpoint, seconds=0)
    play(tmp_path, SMALL, start_from=checkpoint, seconds=0)
    assert (tmp_path / "model.safetensors").exists()


def test_a_round_that_harms_ordinary_tasks_is_undone(tmp_path, checkpoint, tiny_knobs):
    strict = replace(SMALL, rounds=2, tolerance=0.0, learning_rate=5.0)  # far too large a rate
    play(tmp_path, strict, start_from=checkpoint)
    first, second = game_of(tmp_path)["rounds"]
    assert not first["kept"]
    assert not second["kept"]
    assert (first["ordinary"], second["ordinary"]) == (0.5, 0.75)
    assert weights(tmp_path) == load_tfm(checkpoint).content_hash
    manifest, log = (
        json.loads((tmp_path / "manifest.json").read_text()),
        pd.read_csv(tmp_path / "log.csv"),
    )
    assert (manifest["step"], manifest["steps_done"]) == (0, log["step"].iloc[-1])  # as it began
    assert manifest["held_out_loss"] == pytest.approx(log["held_out_loss"].iloc[0], abs=1e-5)
    assert "best_step" not in manifest


def test_the_plain_game_trains_on_ordinary_tasks_as_pre_training_does(tmp_path, checkpoint):
    plain = replace(SMALL, rule="plain")
    assert play(tmp_path, plain, start_from=checkpoint).empty
    config = plain.training(checkpoint)
    run = run_module.TrainingRun(config, checkpoint, torch.device("cpu"))
    stream = (ordinary_tasks(config, step, 0) for step in range(1, 7))
    for step in range(1, 7):
        run.train_step(step, stream)
    run.evaluate(HELD_OUT)
    (tmp_path / "by_hand").mkdir()
    run.write_results(tmp_path / "by_hand")
    assert weights(tmp_path) == weights(tmp_path / "by_hand")
    assert sum(each["tables"] for each in game_of(tmp_path)["rounds"]) > 0


def ordinary_tasks(config: PretrainConfig, step: int, number: int):
    """One number is drawn before a batch: whether it is ordinary."""
    rng = np.random.default_rng([config.seed, step, number])
    rng.random()
    return sample_batch(config.prior, rng)


def test_another_game_and_a_damaged_one_are_named(tmp_path, checkpoint, tiny_knobs):
    one = replace(SMALL, rounds=1)
    play(tmp_path / "game", one, start_from=checkpoint)
    with pytest.raises(CheckpointError, match="another configuration"):
        play(tmp_path / "game", replace(one, temperature=0.1), start_from=checkpoint)
    (tmp_path / "game" / "game.json").write_text("{")
    with pytest.raises(CausalMixError, match=r"game\.json"):
        play(tmp_path / "game", one, start_from=checkpoint)
    other = tmp_path / "other"
    other.mkdir()
    (other / "log.csv").write_text("mine")
    with pytest.raises(CheckpointError, match=r"log\.csv"):
        play(other, one, start_from=checkpoint)
    assert (other / "log.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("rule: fair", "rule"),
        ("rounds: 0", "rounds"),
        ("ordinary: 2", "ordinary"),
        ("depth: 3", "depth"),
        ("learners: [forest]", "forest"),
        ("learners: []", "learners"),
        ("prior: {knob: 1}", "knob"),
        ("prior: {max_classes: 2}", 'region "more" .* max_classes of the prior is 2'),
        ("- 1", "no configuration of a game"),
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(tmp_path, wrong, says):
    (tmp_path / "game.yml").write_text(wrong)
    with pytest.raises(CausalMixError, match=says):
        read_config(tmp_path / "game.yml")


def test_the_command_plays_and_prints_the_regions(tmp_path, checkpoint, tiny_knobs, capsys):
    (tmp_path / "game.yml").write_text(
        "{rounds: 1, steps_per_round: 1, probes: 4, learners: [logistic_regression], "
        "prior: {rows: [24, 32], max_features: 4, max_tasks: 2}}"
    )
    options = ["--config", tmp_path / "game.yml", "--start-from", checkpoint, "--device", "cpu"]
    options += ["--held-out", play.__kwdefaults__["held_out"], "--producers", 0, "--workers", 1]
    main([str(each) for each in (tmp_path / "game", *options)])
    assert "probability" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main([str(tmp_path / "game"), "--config", str(tmp_path / "missing.yml")])
    assert "missing.yml is no configuration of a game" in capsys.readouterr().err


# ---- comparison ----------------------------------------------------------------------------------


def test_games_are_compared_with_plain_continuation(tmp_path, checkpoint, tiny_knobs):
    config = replace(SMALL, rounds=1)
    options = {"rules": ["softmax"], "seeds": 2, "probes": 4, "start_from": checkpoint}
    (tmp_path / "data").mkdir()
    load_breast_cancer(as_frame=True).frame.iloc[:130].to_csv(tmp_path / "data" / "b.csv")
    options["data"] = tmp_path / "data"
    found = compare_games(tmp_path, config, held_out=play.__kwdefaults__["held_out"], **options)
    losses = found.games.pivot(index="seed", columns="rule", values="held_out_loss")
    differences = losses["softmax"] - losses["plain"]
    row = found.summary.set_index(["measure", "region"]).loc[("held-out loss", np.nan)]
    test = ttest_rel(losses["softmax"], losses["plain"]).confidence_interval(0.95)
    assert row["difference"].item() == pytest.approx(differences.mean())
    assert row[["low", "high"]].to_numpy().ravel() == pytest.approx([test.low, test.high])

    gaps = found.gaps[found.gaps["rule"] != "start"]
    by_rule = gaps.groupby("rule")["gap"].mean()
    overall = found.summary.set_index("knob").loc["all"]
    assert overall["difference"] == pytest.approx(by_rule["softmax"] - by_rule["plain"])
    assert set(found.summary["region"].dropna()) == {"all", "two", "more", "even", "uneven"}
    again = compare_games(tmp_path, config, held_out=play.__kwdefaults__["held_out"], **options)
    pd.testing.assert_frame_equal(again.gaps, found.gaps)
    scores = found.real.groupby("rule")["auc"].mean()
    auc = found.summary.set_index("measure").loc["auc", "difference"]
    assert auc == pytest.approx(scores["softmax"] - scores["plain"])
    assert found.real.groupby(["rule", "seed"]).size().tolist() == [2] * 5  # two splits
    assert set(found.rounds["rule"]) == {"softmax"}
    assert len(found.rounds) == 2 * 4  # seeds, regions
    manifest = json.loads((tmp_path / "games_manifest.json").read_text())
    assert list(manifest["data"]) == ["b"]
    assert manifest["settings"]["start"]["content_hash"] == load_tfm(checkpoint).content_hash


def test_the_detectable_difference_is_that_of_the_noncentral_t():
    """80 % of paired tests find a true difference of that size, nearly."""
    rng, error = np.random.default_rng(0), 0.3
    n = 12
    detectable = comparison._over_seeds(pd.Series(rng.normal(0, error, n)))["detectable"]
    spread = pd.Series(np.random.default_rng(0).normal(0, error, n)).std()
    drawn = rng.normal(detectable, spread, (4000, n))
    assert np.mean(ttest_1samp(drawn, 0, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.03)


def test_mistakes_of_a_comparison_are_said_before_the_games(tmp_path):
    with pytest.raises(CausalMixError, match="probes"):
        compare_games(tmp_path / "games", SMALL, probes=3)  # of four kinds of mechanisms
    with pytest.raises(CausalMixError, match="nowhere"):
        compare_games(tmp_path / "games", SMALL, data=tmp_path / "nowhere")
    assert not (tmp_path / "games").exists()
