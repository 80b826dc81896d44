"""Fine-tuning: what is kept, what may be seen, and that a seed fixes it all."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import sys
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch
from made_checkpoints import write_official

from causalmix.data.dataset import load_dataset
from causalmix.data.splitting import low_data_split
from causalmix.errors import CausalMixError, DataError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.run import finetune, predict_proba
from causalmix.finetuning.stopping import RULES, replay
from causalmix.generation.purification import Purified
from causalmix.generation.registry import make_generator
from causalmix.tfm.model import load_tfm

LOWEST = {"rule": "log_loss", "level": 0.5}  # keep the step with the lowest validation log-loss
WHOLE = {"trained": "all", "rehearsal": 0.0}  # the whole network, on real rows only
SHORT = FinetuneConfig(steps=4, validate_every=2, n_synthetic=60)


@pytest.fixture(scope="module")
def tfm(tmp_path_factory):
    """A small random network: most of what follows holds for any."""
    return load_tfm(write_official("tabpfn_v3", tmp_path_factory.mktemp("small")))


@pytest.fixture(scope="module")
def embedded():
    return load_tfm()


@pytest.fixture(scope="module")
def split():
    return low_data_split(load_dataset("wine"), 40, 20, seed=0, n_test=60)


class Recorder:
    """A generator that remembers what it was fitted on and repeats those rows."""

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Recorder:
        self.X, self.y = X, y
        return self

    def sample(self, n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        rows = np.random.default_rng(seed).integers(len(self.X), size=n)
        return self.X.iloc[rows].reset_index(drop=True), self.y.iloc[rows].reset_index(drop=True)


@pytest.mark.parametrize("rule", ["last", "augmented", "repeated_splits"])
def test_the_same_seed_gives_the_same_history(tfm, split, rule):
    config = dataclasses.replace(
        SHORT, rule=rule, level=1.0, n_splits=2, n_synthetic_val=20, fresh_rows=True
    )
    first, again, other = (
        finetune(tfm, split, generator=make_generator("perturbation"), config=config, seed=seed)
        for seed in (3, 3, 4)
    )
    untimed = first.history.drop(columns="seconds")
    pd.testing.assert_frame_equal(untimed, again.history.drop(columns="seconds"), check_exact=True)
    assert first.best_step > 0
    assert first.tfm.content_hash == again.tfm.content_hash
    assert all(weights.grad is None for weights in first.tfm.network.parameters())
    assert other.history["train_loss"].iloc[-1] != first.history["train_loss"].iloc[-1]


@pytest.mark.parametrize(
    "shares",
    [{"synthetic_tasks": 1.0, "rehearsal": 0.0}, {"synthetic_tasks": 0.0, "rehearsal": 1.0}],
)
def test_the_smallest_tasks_have_queries(tfm, split, shares):
    config = dataclasses.replace(SHORT, rows_per_task=1, **shares)
    generator = make_generator("perturbation") if shares["synthetic_tasks"] else None
    history = finetune(tfm, split, generator=generator, config=config).history
    assert (history["train_loss"].dropna() > 0).all()


def test_shares_that_do_not_divide_the_tasks_are_trained_with(tfm, split):
    """After four steps with two whole tasks, rounding had asked for −1 rehearsed one."""
    config = dataclasses.replace(SHORT, rehearsal=0.1)
    generator = make_generator("perturbation")
    assert finetune(tfm, split, generator=generator, config=config).history["step"].iloc[-1] == 4


def test_the_model_passed_in_is_untouched_and_the_result_differs(tfm, split):
    before = {name: w.clone() for name, w in tfm.network.state_dict().items()}
    config = FinetuneConfig(steps=6, validate_every=2, learning_rate=1e-3, **WHOLE)
    # Validated on the rows that it trains on, a run is sure to find better weights.
    result = finetune(tfm, dataclasses.replace(split, val=split.train), config=config)
    after = tfm.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert result.best_step > 0
    tuned = result.tfm.network.state_dict()
    assert any(not torch.equal(before[name], tuned[name]) for name in before)


def test_fine_tuning_lowers_the_loss_it_minimises(embedded, split):
    config = FinetuneConfig(steps=30, validate_every=10, learning_rate=1e-3, patience=30, **WHOLE)
    losses = finetune(embedded, split, config=config).history["train_loss"].dropna()
    assert losses.iloc[-1] < 0.8 * losses.iloc[0]


def test_a_run_that_only_does_harm_changes_nothing(embedded, split):
    ruinous = FinetuneConfig(steps=6, validate_every=2, learning_rate=1.0, warmup_steps=0)
    result = finetune(embedded, split, config=ruinous)
    assert result.best_step == 0
    np.testing.assert_array_equal(
        predict_proba(result.tfm, split.train, split.test.X),
        predict_proba(embedded, split.train, split.test.X),
    )


def test_the_kept_weights_are_those_of_the_best_step(tfm, split):
    config = FinetuneConfig(steps=8, validate_every=2, learning_rate=3e-3, **LOWEST)
    result = finetune(tfm, split, config=config)
    best = result.history.set_index("step").loc[result.best_step]
    assert best["val_log_loss"] == result.history["val_log_loss"].min()
    proba = predict_proba(result.tfm, split.train, split.val.X)
    codes = split.val.y.cat.codes.to_numpy()
    assert -np.log(proba[np.arange(len(codes)), codes]).mean() == pytest.approx(
        best["val_log_loss"], abs=1e-5
    )


@pytest.mark.parametrize("rule", list(RULES))
def test_a_run_keeps_what_its_rule_makes_of_the_recorded_curves(tfm, split, rule):
    """Judged along the way or afterwards, a history gives the same weights."""
    config = FinetuneConfig(
        steps=7, validate_every=1, learning_rate=3e-3, n_splits=2, n_synthetic_val=40
    )
    config = dataclasses.replace(config, rule=rule, level=0.4, patience=3, synthetic_share=0.0)
    patient = dataclasses.replace(config, rule="last")
    options = {"generator": Recorder(), "seed": 1}
    whole = finetune(tfm, split, config=patient, record_rules=[rule], **options).history
    assert len(whole) == 8
    result = finetune(tfm, split, config=config, **options)
    seen = whole.iloc[: len(result.history)].drop(columns="seconds")
    pd.testing.assert_frame_equal(result.history[seen.columns], seen)
    n_val = split.val.n_rows
    choice = replay(whole, rule, level=0.4, n_val=n_val, patience=3)
    assert (choice.kept, choice.candidate) == (result.choice.kept, result.choice.candidate)
    # The weights are those of that step.
    proba = predict_proba(result.tfm, split.train, split.val.X, random_state=1)
    codes = split.val.y.cat.codes.to_numpy()
    loss = -np.log(proba[np.arange(n_val), codes]).mean()
    assert loss == pytest.approx(whole["val_log_loss"][choice.kept], abs=1e-5)


def test_repeated_splits_are_other_splits_of_the_same_rows(tfm, split):
    class Watcher(Recorder):
        seen = []  # noqa: RUF012

        def fit(self, X, y):
            self.seen.append(X)
            return super().fit(X, y)

    config = dataclasses.replace(SHORT, rule="repeated_splits", n_splits=3)
    result = finetune(tfm, split, generator=Watcher(), config=config)
    both = split.context().X
    assert [len(X) for X in Watcher.seen] == [40, 40, 40]
    for X in Watcher.seen:
        assert len(X.merge(both.drop_duplicates())) == 40
    pd.testing.assert_frame_equal(Watcher.seen[-1], split.train.X)
    assert not Watcher.seen[0].equals(Watcher.seen[1])
    assert (result.history["splits_log_loss"] != result.history["val_log_loss"]).all()


@pytest.fixture
def clock(monkeypatch):
    """A clock that counts how often it is read: at the start, around validation 0, twice a step."""
    ticks = itertools.count()
    time = SimpleNamespace(perf_counter=lambda: next(ticks))
    monkeypatch.setattr(sys.modules["causalmix.finetuning.run"], "time", time)


@pytest.mark.parametrize(("limit", "end"), [(18, 3), (60, 6)])
def test_a_run_goes_no_further_than_those_on_other_splits(tfm, split, clock, limit, end):
    config = FinetuneConfig(
        steps=6,
        validate_every=2,
        rule="repeated_splits",
        n_splits=2,
        level=1.0,
        time_limit=limit,
    )
    result = finetune(tfm, split, config=config)
    assert result.history["step"].tolist() == [0, 2, 3] if end == 3 else [0, 2, 4, 6]
    assert result.stopped_by == ("time_limit" if end == 3 else "steps")
    assert np.isfinite(result.history[["splits_log_loss", "splits_gain_se"]]).all(axis=None)
    assert result.best_step > 0


def test_augmented_validation_without_a_generator_is_the_log_loss(tfm, split):
    config = dataclasses.replace(SHORT, rule="augmented", learning_rate=1e-3)
    alone = finetune(tfm, split, config=config)
    plain = finetune(tfm, split, config=dataclasses.replace(config, rule="log_loss"))
    assert alone.config.rule == "log_loss"
    assert alone.choice == plain.choice
    with pytest.raises(CausalMixError, match=r"'augmented' in record_rules .* needs a generator"):
        finetune(tfm, split, config=SHORT, record_rules=["augmented"])


@pytest.mark.parametrize("purified", [False, True])
def test_synthetic_validation_rows_start_from_no_training_row(tfm, split, purified):
    """Rows near the training rows would praise a network that has learned these by heart."""

    class Detachable(Recorder):
        drawn: ClassVar[list[str]] = []
        name = "pool"

        def detached(self) -> Detachable:
            other = copy.copy(self)
            other.name = "validation"
            return other

        def sample(self, n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
            self.drawn.append(f"{self.name} {n}")
            return super().sample(n, seed)

    generator = Detachable()
    if purified:
        generator = Purified(generator, least_lift=0, copy_distance=0)
    config = dataclasses.replace(SHORT, rule="augmented", n_synthetic_val=25)
    finetune(tfm, split, generator=generator, config=config)
    assert Detachable.drawn == ["validation 25", "pool 60"]


def test_generators_see_training_rows_only(tfm, split):
    generator = Recorder()
    finetune(tfm, split, generator=generator, config=SHORT)
    pd.testing.assert_frame_equal(generator.X, split.train.X)
    pd.testing.assert_series_equal(generator.y, split.train.y)


def test_recording_test_scores_does_not_influence_the_run(tfm, split):
    blind = finetune(tfm, split, config=SHORT)
    seeing = finetune(tfm, split, config=SHORT, record_test=True)
    columns = ["train_loss", "val_auc"]
    pd.testing.assert_frame_equal(blind.history[columns], seeing.history[columns])
    assert blind.best_step == seeing.best_step
    assert "test_auc" not in blind.history
    assert seeing.history["test_auc"].notna().all()


def test_a_run_stops_when_patience_is_spent(tfm, split):
    config = FinetuneConfig(
        steps=50, validate_every=1, patience=3, learning_rate=1.0, warmup_steps=0, **LOWEST
    )
    result = finetune(tfm, split, config=config)
    assert result.history["step"].iloc[-1] == 3
    assert result.stopped_by == "patience"


def test_rehearsed_tasks_have_a_context(tfm, split):
    config = FinetuneConfig(steps=2, query_share=0.99, rehearsal=1.0, synthetic_tasks=0.0)
    assert finetune(tfm, split, config=config).history["val_log_loss"].notna().all()


@pytest.mark.parametrize("rule", RULES)
def test_without_steps_the_weights_are_validated_and_kept(tfm, split, rule):
    generator = Recorder()
    result = finetune(tfm, split, generator=generator, config=FinetuneConfig(steps=0, rule=rule))
    assert result.history["step"].tolist() == [0]
    assert (result.best_step, result.stopped_by) == (0, "steps")
    assert not hasattr(generator, "X")  # nothing to make rows for


def test_the_step_that_exceeds_the_time_limit_is_validated_and_the_last(tfm, split, clock):
    config = FinetuneConfig(steps=50, validate_every=10, time_limit=6)
    result = finetune(tfm, split, config=config)
    assert result.history["step"].tolist() == [0, 2]
    assert result.stopped_by == "time_limit"
    config = FinetuneConfig(steps=2, patience=1, learning_rate=1.0, time_limit=6, **LOWEST)
    assert finetune(tfm, split, config=config).stopped_by == "steps"  # none were left


def test_no_step_is_made_when_the_generator_has_taken_the_time(tfm, split):
    config = dataclasses.replace(SHORT, time_limit=1e-9)
    result = finetune(tfm, split, generator=Recorder(), config=config)
    assert result.history["step"].tolist() == [0]
    assert (result.stopped_by, result.best_step) == ("time_limit", 0)


def test_members_of_the_ensemble_are_as_many_as_asked(tfm, split):
    config = FinetuneConfig(steps=0)
    one = finetune(tfm, split, config=config, n_estimators=1)
    codes = split.train.y.cat.codes.to_numpy()
    single = tfm.classifier(n_estimators=1).fit(split.train.X, codes)
    truth = split.val.y.cat.codes.to_numpy()
    loss = -np.log(single.predict_proba(split.val.X)[np.arange(len(truth)), truth]).mean()
    assert one.history["val_log_loss"][0] == pytest.approx(loss, abs=1e-6)


def test_as_many_rows_as_classes_are_too_few(tfm):
    split = low_data_split(load_dataset("iris"), 3, 3, seed=0)
    with pytest.raises(DataError, match="3 training rows for 3 classes"):
        finetune(tfm, split)
    split = low_data_split(load_dataset("iris"), 4, 3, seed=0)
    assert len(finetune(tfm, split, config=SHORT).history) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("learning_rate", 0.0),
        ("query_share", 1.0),
        ("synthetic_share", 1.1),
        ("synthetic_tasks", -0.1),
        ("schedule", "sometimes"),
        ("rule", "best"),
        ("level", 1.1),
        ("n_splits", 1),
        ("time_limit", 0),
        ("time_limit", "x"),
        ("steps", 2.5),
        ("patience", None),
    ],
)
def test_impossible_settings_are_named(name, value):
    with pytest.raises(CausalMixError, match=name):
        FinetuneConfig(**{name: value})
