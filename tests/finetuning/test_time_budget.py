"""What a run makes do with where its time is short, on a clock that only work moves."""

from __future__ import annotations

import re
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from causalmix.data.dataset import load_dataset
from causalmix.data.splitting import low_data_split
from causalmix.finetuning import time_budget
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.monitor import Monitor
from causalmix.finetuning.report import make_report
from causalmix.finetuning.run import finetune
from causalmix.tfm.encoding import Encoder
from causalmix.tfm.model import load_tfm

N_VAL, N_MADE = 40, 30
LIMIT = 30.0
CONFIG = FinetuneConfig(
    time_limit=LIMIT,
    tasks_per_step=4,
    validate_every=4,
    rule="augmented",
    level=0.84,
    n_synthetic=200,
    n_synthetic_val=N_MADE,
)


class Clock:
    """Seconds that pass where a machine works: by its `speed`, in passes of a row a second."""

    def __init__(self, speed: float) -> None:
        self.now, self.speed = 0.0, speed

    def perf_counter(self) -> float:
        return self.now

    def work(self, rows: float) -> None:
        self.now += rows / self.speed


class Slow:
    """A generator that takes a share of the time it is given."""

    time_limit: float | None = None

    def __init__(self, clock: Clock, share: float) -> None:
        self.clock, self.share = clock, share

    def fit(self, X: pd.DataFrame, y: pd.Series) -> Slow:
        self.X, self.y = X, y
        self.clock.now += self.share * self.time_limit
        return self

    def sample(self, n: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
        rows = np.random.default_rng(seed).integers(len(self.X), size=n)
        return self.X.iloc[rows].reset_index(drop=True), self.y.iloc[rows].reset_index(drop=True)


@pytest.fixture(scope="module")
def tfm():
    return load_tfm()


@pytest.fixture(scope="module")
def split():
    return low_data_split(load_dataset("breast_cancer"), 400, N_VAL, seed=0)


def run_on(clock, monkeypatch, tfm, split, share):
    """Fine-tune with the times of `clock`; nothing goes through the network."""
    module = sys.modules["causalmix.finetuning.run"]
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=clock.perf_counter))
    monkeypatch.setattr(Encoder, "row_seconds", lambda self, network: 1 / clock.speed)

    def predict(self, network, queries, n_classes):
        clock.work((len(self._y) + len(queries[0])) * len(self.members))
        return np.full((len(queries[0]), n_classes), 1 / n_classes)

    def step(self, batches, rate):
        clock.work(4 * sum(b.n_tasks * (len(b.x_context) + len(b.x_query)) for b in batches))
        return 0.5

    monkeypatch.setattr(Encoder, "predict_proba", predict)
    monkeypatch.setattr(module._Optimiser, "step", step)
    return finetune(tfm, split, generator=Slow(clock, share), config=CONFIG, n_estimators=4)


@pytest.mark.parametrize("share", [1.0, 1.5])
@pytest.mark.parametrize("speed", [70, 120, 250, 500, 1000, 1e5])
def test_on_machines_of_any_speed_a_step_is_made_within_the_limit(
    monkeypatch, tfm, split, speed, share
):
    clock = Clock(speed)
    result = run_on(clock, monkeypatch, tfm, split, share)
    assert result.history["step"].iloc[-1] >= 1
    assert clock.now <= 1.2 * LIMIT


def test_what_was_left_out_is_in_the_report_and_nothing_is_where_time_suffices(
    monkeypatch, tfm, split
):
    result = run_on(Clock(120), monkeypatch, tfm, split, 1.0)
    sizes = {"n_val": N_VAL, "seconds": 1.0}
    reason = make_report(result, **sizes).reason
    assert re.search(r"30 s \(time_limit\).* 1 of 4 ensemble members, 1 of 4 tasks a step", reason)
    assert result.config.tasks_per_step == 1
    cut = make_report(run_on(Clock(20), monkeypatch, tfm, split, 1.0), **sizes)
    assert f" {cut.n_train} of 400 training rows" in cut.reason
    ample = run_on(Clock(1e6), monkeypatch, tfm, split, 1.0)
    assert ample.left_out == ()
    assert make_report(ample, **sizes).n_train == 400
    assert ample.config == CONFIG.settled(tfm.network, generates=True)
    assert ample.stopped_by == "steps"


def test_tasks_get_fewer_before_they_get_smaller_and_stop_at_a_least_size():
    def sizes(seconds, n_classes=2):
        config = time_budget.affordable_tasks(
            FinetuneConfig(tasks_per_step=4),
            n_rows=400,
            n_classes=n_classes,
            row_seconds=0.001,
            seconds=seconds,
        )
        return config.tasks_per_step, config.rows_per_task

    # A row costs four passes of a millisecond; tasks have 400 rows, as the table has.
    assert sizes(6.4) == (4, 512)
    assert sizes(6.3) == (2, 512)
    assert sizes(1.7) == (1, 512)
    assert sizes(1.5) == (1, 200)
    assert sizes(0.0) == (1, 128)
    assert sizes(0.0, n_classes=90) == (1, 180)


def test_rows_to_train_on_get_fewer_where_one_member_cannot_validate_twice():
    def rows(seconds, n_classes=2):
        sizes = {"n_train": 800, "n_val": 200, "n_classes": n_classes}
        return time_budget.affordable_rows(**sizes, row_seconds=0.01, seconds=seconds)

    # Two validations in half of the time: at 1,000 rows of 10 ms they take 20 s.
    assert [rows(seconds) for seconds in (40, 39, 24, 23, 0)] == [800, 400, 400, 200, 128]
    assert rows(0, n_classes=90) == 180


def test_fewer_training_rows_are_named(monkeypatch, tfm, split):
    result = run_on(Clock(80), monkeypatch, tfm, split, 1.0)
    assert "200 of 400 training rows" in result.left_out[0]


def test_the_generator_gets_its_share_or_what_validations_leave():
    assert time_budget.generator_seconds(30.0, 1.0) == pytest.approx(12.0)
    assert time_budget.generator_seconds(30.0, 8.0) == pytest.approx(10.0)
    assert time_budget.generator_seconds(30.0, 20.0) == pytest.approx(3.0)


def test_the_encoder_of_fewer_members_is_the_same_for_each(tfm, split):
    encoder = tfm.encoder(split.train.X, split.train.y.cat.codes.to_numpy(), n_estimators=3)
    assert encoder.first(2).members == encoder.members[:2]
    assert len(encoder.members) == 3
    assert encoder.row_seconds(tfm.network) > 0


def test_a_validation_counts_its_passes(tfm, split):
    codes = split.train.y.cat.codes.to_numpy()
    encoder = tfm.encoder(split.train.X, codes, n_estimators=2)
    assert Monitor(tfm, encoder, split, FinetuneConfig()).n_passes == 2 * (400 + N_VAL)
