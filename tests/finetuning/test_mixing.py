"""Tasks: real and synthetic rows in the shares and at the times asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from causalmix.benchmarks.arms import ARMS
from causalmix.benchmarks.plan import PRESETS
from causalmix.data.dataset import load_dataset
from causalmix.data.splitting import low_data_split
from causalmix.errors import DataError
from causalmix.finetuning.config import SCHEDULES, FinetuneConfig
from causalmix.finetuning.mixing import TaskSampler, codes_of, task_counts, task_shape
from causalmix.tfm.model import load_tfm


@pytest.fixture(scope="module")
def train():
    return low_data_split(load_dataset("wine"), 40, 20, seed=0).train


@pytest.fixture(scope="module")
def encoder(train):
    return load_tfm().encoder(train.X, codes_of(train.y))


class Marker:
    """Repeats training rows with a value in the first column that tells the draw and the model."""

    def __init__(self) -> None:
        self.draws = 0

    def fit(self, X, y):
        self.X, self.y = X, y
        return self

    def sample(self, n, seed):
        self.draws += 1
        rows = np.random.default_rng(seed).integers(len(self.X), size=n)
        X = self.X.iloc[rows].reset_index(drop=True)
        X.iloc[:, 0] = 1000.0 * self.draws + self.dag_of_rows(n, seed)
        return X, self.y.iloc[rows].reset_index(drop=True)

    def dag_of_rows(self, n, seed):
        return np.arange(n) % 5


def sampler(encoder, train, **settings):
    defaults = {"rows_per_task": 50, "n_synthetic": 300, "steps": 10, "synthetic_tasks": 0.0}
    defaults |= {"rehearsal": 0.0, "tasks_per_step": 4}
    config = FinetuneConfig(**defaults | settings)
    return TaskSampler(encoder, train, Marker().fit(train.X, train.y), config, seed=0)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("query", [None, 0.0, 1.0])
def test_shapes_keep_the_shares(share, query):
    config = FinetuneConfig(rows_per_task=50, synthetic_share=share, synthetic_query_share=query)
    shape = task_shape(config, n_real=40, n_made=300, n_classes=3, progress=0.0)
    context, asked = shape.context_real + shape.context_made, share if query is None else query
    queries = shape.query_real + shape.query_made
    assert context + queries <= 50
    assert shape.context_real + shape.query_real <= 40
    assert shape.context_made / context == pytest.approx(min(share, 1 - 3 / context), abs=0.03)
    assert shape.query_made / queries == pytest.approx(asked, abs=0.05)
    assert queries / (context + queries) == pytest.approx(0.3, abs=0.05)


def test_no_more_synthetic_rows_are_asked_for_than_there_are():
    config = FinetuneConfig(synthetic_share=0.25, query_share=0.5)
    shape = task_shape(config, n_real=320, n_made=75, n_classes=2, progress=0.0)
    assert 70 < shape.context_made + shape.query_made <= 75


@pytest.mark.parametrize(("size", "query", "n_classes"), [(5, 0.9, 3), (10, 0.25, 9), (4, 0.5, 2)])
def test_tasks_have_no_more_rows_than_they_may(size, query, n_classes):
    config = FinetuneConfig(rows_per_task=size, query_share=query, synthetic_tasks=0)
    shape = task_shape(config, n_real=100, n_made=0, n_classes=n_classes, progress=0.0)
    assert shape.context_real + shape.query_real == size
    assert shape.context_real >= n_classes
    assert shape.query_real >= 1


def test_without_synthetic_rows_all_real_ones_are_used():
    shape = task_shape(FinetuneConfig(), n_real=40, n_made=0, n_classes=3, progress=0.0)
    assert shape.context_real + shape.query_real == 40
    assert shape.synthetic_share == 0


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("constant", [0.5, 0.5, 0.5]),
        ("decaying", [0.5, 0.25, 0.0]),
        ("synthetic_first", [0.5, 0.0, 0.0]),
    ],
)
def test_schedules_move_the_share(schedule, shares):
    config = FinetuneConfig(rows_per_task=100, synthetic_share=0.5, schedule=schedule)
    for progress, share in zip((0.0, 0.5, 1.0), shares, strict=True):
        shape = task_shape(config, n_real=100, n_made=300, n_classes=2, progress=progress)
        assert shape.synthetic_share == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_task_has_no_row_twice_and_every_class_in_its_context(encoder, train, share):
    drawn = sampler(encoder, train, synthetic_share=share)
    shape = drawn.shape(1)
    for _ in range(20):
        context, query = drawn._mixed(shape)
        rows = np.concatenate([context, query])
        assert len(set(rows)) == len(rows) <= 50
        assert set(drawn._labels[context[context < train.n_rows]]) == {0, 1, 2}
        assert np.mean(rows >= train.n_rows) == pytest.approx(drawn.synthetic_share(1))


def test_batches_hold_the_features_and_labels_of_their_rows(encoder, train):
    drawn = sampler(encoder, train, synthetic_share=0.0)
    (batch,) = drawn.draw(1)
    assert batch.x_context.shape[:2] == batch.y_context.shape == (28, 4)
    assert batch.x_query.shape[:2] == batch.y_query.shape == (12, 4)
    known = {
        tuple(row.tolist()): int(label)
        for row, label in zip(encoder.transform(train.X)[1], codes_of(train.y), strict=True)
    }
    for x, y in zip(batch.x_query.flatten(0, 1), batch.y_query.flatten(), strict=True):
        assert known[tuple(x.tolist())] == y


def test_whole_tasks_come_from_one_model_each(encoder, train):
    drawn = sampler(encoder, train, synthetic_share=0.0, synthetic_tasks=0.5)
    for step in range(1, 6):
        mixed, whole = drawn.draw(step)
        assert mixed.y_query.shape[1] == whole.y_query.shape[1] == 2
    models = set()
    for _ in range(20):
        context, query = drawn._whole()
        rows = np.concatenate([context, query]) - train.n_rows
        assert len(set(rows)) == len(rows) == 40  # of the 60 of a model as many as are real
        (model,) = set(drawn._pool.models[rows])
        models.add(model)
        assert set(drawn._pool.labels[context - train.n_rows]) == {0, 1, 2}
    assert len(models) > 1
    assert drawn.synthetic_share(1) == 0.5
    ended = sampler(encoder, train, synthetic_tasks=1.0, schedule="synthetic_first")
    assert [ended.synthetic_share(step) for step in (1, 5, 6)] == [1.0, 1.0, 0.0]


def test_whole_tasks_of_a_generator_without_models_come_from_all_its_rows(encoder, train):
    class Plain(Marker):
        dag_of_rows = property()

        def sample(self, n, seed):
            rows = np.random.default_rng(seed).integers(len(self.X), size=n)
            return self.X.iloc[rows], self.y.iloc[rows]

    config = FinetuneConfig(synthetic_share=0.0, synthetic_tasks=1.0, n_synthetic=300)
    drawn = TaskSampler(encoder, train, Plain().fit(train.X, train.y), config, 0)
    context, query = drawn._whole()
    rows = np.concatenate([context, query])
    assert len(set(rows)) == len(rows) == train.n_rows  # no larger than a task of real rows
    assert rows.min() >= train.n_rows


def test_a_model_that_is_left_few_rows_does_not_make_all_tasks_small(encoder, train):
    class Uneven(Marker):
        def dag_of_rows(self, n, seed):
            return np.repeat([0, 1, 2], [n - n // 3 - 5, n // 3, 5])

    config = FinetuneConfig(synthetic_tasks=1.0, n_synthetic=150)
    drawn = TaskSampler(encoder, train, Uneven().fit(train.X, train.y), config, 0)
    for _ in range(10):
        context, query = drawn._whole()
        assert len(context) + len(query) == train.n_rows
        assert set(drawn._pool.models[context - train.n_rows]) <= {0, 1}


def test_a_synthetic_task_has_every_class_in_its_context_or_is_refused(encoder, train):
    drawn = sampler(encoder, train, synthetic_tasks=1.0, n_synthetic=20)  # 4 rows of each model
    context, query = drawn._whole()
    assert (len(context), len(query)) == (3, 1)
    with pytest.raises(DataError, match=r"n_synthetic=15 leaves the models .* at most 3 rows"):
        sampler(encoder, train, synthetic_tasks=1.0, n_synthetic=15)


@pytest.mark.parametrize("tasks", [1, 2, 3, 4])
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_fractions_of_tasks_add_up(tasks, schedule):
    shares = (0.0, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.7, 1.0)
    for whole, rehearsal in product(shares, shares):
        if whole + rehearsal > 1:
            continue
        config = FinetuneConfig(
            tasks_per_step=tasks, synthetic_tasks=whole, rehearsal=rehearsal, schedule=schedule
        )
        counts = task_counts(config, True)
        assert counts.shape == (40, 2)
        assert counts.min() >= 0
        assert counts.sum(axis=1).max() <= tasks
        factors = [SCHEDULES[schedule](step / 40) for step in range(40)]
        wanted = tasks * np.cumsum([[whole * factor, rehearsal] for factor in factors], axis=0)
        assert np.abs(counts.cumsum(axis=0) - wanted).max() < 1
        assert task_counts(config, False)[:, 0].max() == 0
        # As many as ever where the shares stay and the rounding takes nothing back.
        before = np.array([counts_before(config, step) for step in range(1, 41)])
        if schedule == "constant" and before.min() >= 0:
            assert counts.tolist() == before.tolist()


def counts_before(config, step):
    """What the recorded runs had: differences of floors, each of the step's own share."""

    def floor(share, step):
        return int(config.tasks_per_step * share * step + 1e-9)

    both = config.synthetic_tasks + config.rehearsal
    n_whole, n_both = (floor(s, step) - floor(s, step - 1) for s in (config.synthetic_tasks, both))
    return n_whole, n_both - n_whole


@pytest.mark.parametrize("generates", [True, False])
def test_the_default_and_the_recorded_plans_have_the_tasks_that_they_had(generates):
    configs = [FinetuneConfig()]
    for path in PRESETS.glob("*.yml"):
        plan = yaml.safe_load(path.read_text())
        own = [(arm or {}).get("config", {}) for arm in plan["arms"].values()]
        own += [ARMS[name].config for name in plan["arms"] if name in ARMS]
        configs += [FinetuneConfig(**plan.get("config", {}) | each) for each in own]
    assert len(configs) > 50
    for config in configs:
        config = config.settled(torch.nn.Linear(1, 1), generates)
        if not generates:
            config = replace(config, synthetic_tasks=0.0)
        before = [counts_before(config, step) for step in range(1, config.steps + 1)]
        assert task_counts(config, generates).tolist() == [list(counts) for counts in before]


@pytest.mark.parametrize(("fresh", "draws"), [(False, 1), (True, 3)])
def test_the_pool_is_drawn_once_or_every_step(encoder, train, fresh, draws):
    drawn = sampler(encoder, train, synthetic_share=0.5, fresh_rows=fresh)
    for step in (1, 2, 3):
        drawn.draw(step)
    assert drawn.generator.draws == draws


def test_a_seed_fixes_the_tasks(encoder, train):
    first, again = (
        sampler(encoder, train, synthetic_tasks=0.5, fresh_rows=True).draw(1) for _ in range(2)
    )
    for one, other in zip(first, again, strict=True):
        assert one.x_context.equal(other.x_context)
        assert one.y_query.equal(other.y_query)


def test_codes_are_those_of_the_categories():
    assert codes_of(pd.Series(pd.Categorical(["b", "a"], ["a", "b"]))).tolist() == [1, 0]
