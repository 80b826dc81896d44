"""The synthetic prior: what its tasks look like, and that they can be learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler
from tabpfn.preprocessing.steps.squashing_scaler_transformer import SquashingScaler

from causalmix.errors import CausalMixError
from causalmix.finetuning.metrics import roc_auc
from causalmix.prior.columns import (
    cut,
    rank_in_context,
    read_columns,
    squash,
    with_components,
)
from causalmix.prior.nodes import MECHANISMS, Source, sample_nodes, standardise
from causalmix.prior.tasks import NO_CLASS, PriorConfig, TaskBatch, sample_batch

BINARY = PriorConfig(rows=(250, 350), max_features=10, binary_share=1.0, missing_share=0.0)


def batches(config: PriorConfig, n: int, difficulty: float = 1.0) -> list[TaskBatch]:
    rng = np.random.default_rng(0)
    return [sample_batch(config, rng, difficulty=difficulty) for _ in range(n)]


def test_a_batch_has_the_shapes_and_codes_a_network_takes():
    config = PriorConfig()
    for batch in batches(config, 60):
        n_rows, n_tasks, n_features = batch.x.shape
        assert batch.x.dtype == torch.float32
        assert batch.y.shape == (n_rows, n_tasks)
        assert n_tasks <= config.max_tasks
        assert config.rows[0] <= n_rows <= config.rows[1]
        assert 2 <= n_features <= config.max_features
        assert not torch.isinf(batch.x).any()
        for y in batch.y.T:
            context, query = y[: batch.n_context], y[batch.n_context :]
            present = context.unique()
            assert present.tolist() == list(range(len(present)))  # dense, none ignored
            assert 2 <= len(present) <= config.max_classes
            assert set(query.unique().tolist()) <= {*present.tolist(), NO_CLASS}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"rows": (100, 20)}, r"rows is \(100, 20\): give two numbers, the smaller one first"),
        ({"rows": (20, 50, 100)}, r"rows is \(20, 50, 100\): give two numbers"),
        ({"noise": (0.0, 1.0)}, "noise is 0.0; a number above 0"),
        ({"target_noise": (0.1, np.inf)}, "target_noise is inf"),
        ({"evenness": (-1.0, 1.0)}, "evenness is -1.0; a number above 0"),
        ({"mechanisms": (-1.0, 2.0, 0.0, 0.0, 0.0, 0.0)}, "mechanisms is .* sum to 1"),
        ({"max_classes": 1}, "max_classes is 1"),
        ({"min_features": 0}, "min_features is 0"),
        ({"min_features": 9, "max_features": 8}, "max_features is 8"),
        ({"context_share": (0.9, 1.5)}, "context_share is 1.5"),
        ({"missing_share": -0.1}, "missing_share is -0.1"),
        ({"mechanisms": (1.0,)}, "give 6 shares that sum to 1, those of linear"),
        ({"target_mechanisms": (0.5,) * 6}, "target_mechanisms is"),
    ],
)
def test_a_prior_that_makes_no_sense_is_refused(setting, message):
    with pytest.raises(CausalMixError, match=message):
        PriorConfig(**setting)


def test_the_same_seed_gives_the_same_tasks():
    first, second, other = (
        sample_batch(PriorConfig(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first.x, second.x, equal_nan=True)
    torch.testing.assert_close(first.y, second.y)
    assert first.x.shape != other.x.shape or not torch.equal(first.x, other.x)


def test_the_curriculum_begins_binary_and_narrow_and_widens():
    def spread(difficulty: float) -> tuple[int, int, bool]:
        drawn = batches(PriorConfig(), 60, difficulty)
        return (
            max(batch.x.shape[2] for batch in drawn),
            max(int(batch.y.max()) + 1 for batch in drawn),
            any(batch.x.isnan().any() for batch in drawn),
        )

    assert spread(0.0) == (4, 2, False)
    features, classes, gaps = spread(1.0)
    assert features > 40
    assert classes == 10
    assert gaps


@pytest.mark.parametrize("difficulty", [0.0, 0.5])
def test_easy_tasks_have_no_more_columns_than_all(difficulty):
    for most in (1, 2):
        config = PriorConfig(min_features=1, max_features=most)
        drawn = batches(config, 20, difficulty)
        assert max(batch.x.shape[2] for batch in drawn) == most


def test_half_of_the_tasks_are_binary_and_balance_varies():
    codes = [y for batch in batches(PriorConfig(), 60) for y in batch.y[: batch.n_context].T]
    binary = [y for y in codes if y.max() == 1]
    assert 0.4 < len(binary) / len(codes) < 0.65
    rare = [torch.bincount(y).min().item() / len(y) for y in binary]
    assert min(rare) < 0.15
    assert max(rare) > 0.4


def test_most_tasks_can_be_learned():
    # At a mean of .62, in-context learning did not appear; at .8 it did.
    aucs = []
    for batch in batches(BINARY, 12):
        x, y, n = batch.x.nan_to_num().numpy(), batch.y.numpy(), batch.n_context
        for task in range(min(4, x.shape[1])):
            forest = RandomForestClassifier(30, random_state=0).fit(x[:n, task], y[:n, task])
            aucs.append(roc_auc(y[n:, task], forest.predict_proba(x[n:, task])))
    assert 0.72 < np.nanmean(aucs) < 0.92


def test_cutting_gives_each_task_its_number_of_ordered_classes():
    score = torch.randn(3, 4_000, generator=torch.Generator().manual_seed(0))
    y = cut(score, torch.tensor([2, 3, 5]), Source(0))
    assert [len(row.unique()) for row in y] == [2, 3, 5]
    for row, values in zip(y, score, strict=True):
        for k in range(int(row.max())):
            assert values[row == k].max() <= values[row == k + 1].min()


@pytest.mark.parametrize("kind", sorted(MECHANISMS))
def test_a_mechanism_is_a_function_of_the_parents_alone(kind):
    parents = torch.randn(2, 30, 3, 4, generator=torch.Generator().manual_seed(0))
    doubled = torch.cat([parents, parents], dim=1)
    values = MECHANISMS[kind](doubled, Source(1))
    assert values.shape == (2, 60, 3)
    torch.testing.assert_close(values[:, :30], values[:, 30:])


def test_nodes_depend_on_earlier_ones_and_on_the_cause():
    rng = np.random.default_rng(3)
    cause = torch.randint(0, 2, (2, 4_000), generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([2.0, 0.0])  # the second task has no common cause
    shares, noise = PriorConfig.mechanisms, PriorConfig.noise
    nodes = sample_nodes(4_000, 8, 3, cause, scale, rng, Source(0), mechanisms=shares, noise=noise)
    assert nodes.shape == (2, 4_000, 8)
    torch.testing.assert_close(nodes.mean(1), torch.zeros(2, 8), atol=1e-4, rtol=0)
    gap = [
        (nodes[task][cause[task] == 1].mean(0) - nodes[task][cause[task] == 0].mean(0)).abs()
        for task in (0, 1)
    ]
    assert gap[0].max() > 0.5
    assert gap[1].max() < 0.15  # five standard errors
    correlation = np.corrcoef(nodes[1].T.numpy()) - np.eye(8)
    assert np.abs(correlation).max() > 0.2


def test_squash_is_tabpfns_squashing_scaler():
    rng = np.random.default_rng(0)
    x = rng.standard_t(2, size=(120, 4)) * [1, 10, 0.1, 3] + [0, 5, 0, -7]
    x[rng.random(x.shape) < 0.1] = np.nan
    expected = SquashingScaler().fit(x[:80]).transform(x)
    squashed = squash(torch.from_numpy(x)[None], 80)[0]
    np.testing.assert_allclose(squashed.numpy(), expected, rtol=1e-6, atol=1e-9)


def test_ranks_are_those_among_the_known_context_values():
    x = torch.tensor([3.0, 1.0, torch.nan, 2.0, 2.5, 0.0, 9.0])[None, :, None]
    rank = rank_in_context(x, 4, normal=False)[0, :, 0]
    expected = torch.tensor([5 / 6, 1 / 6, torch.nan, 3 / 6, 4 / 6, 0.0, 1.0])
    torch.testing.assert_close(rank, expected, equal_nan=True)


def test_standardising_is_scikit_learns():
    x = np.random.default_rng(0).gamma(2.0, size=(50, 3)).astype(np.float32)
    expected = StandardScaler().fit_transform(x)
    np.testing.assert_allclose(standardise(torch.from_numpy(x)[None])[0], expected, atol=1e-5)


def test_components_are_those_of_a_truncated_svd():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 5)) @ rng.normal(size=(5, 5)) + 1.0
    scaled = x / x[:60].std(0)
    expected = TruncatedSVD(2, algorithm="arpack").fit(scaled[:60]).transform(scaled)
    widened = with_components(torch.from_numpy(x)[None], 60, 2)[0].numpy()
    np.testing.assert_array_equal(widened[:, :5], x)
    np.testing.assert_allclose(np.abs(widened[:, 5:]), np.abs(expected), atol=1e-8)


def test_levels_of_a_nominal_column_act_in_no_order():
    nodes = torch.randn(1, 2_000, 40, generator=torch.Generator().manual_seed(0))
    columns = read_columns(nodes, (5,) * 40, 1.0, Source(0), categorical_range=(-0.6, 1.4))
    level = columns.emitted.view(2_000, 40, 5).argmax(-1)
    ordered = 0
    for j in range(40):
        means = [columns.value[0, level[:, j] == k, j].mean().item() for k in range(5)]
        ordered += means in (sorted(means), sorted(means, reverse=True))
    assert 0 < ordered < 15  # some are ordinal
