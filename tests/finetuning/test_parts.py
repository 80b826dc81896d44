"""Parts of the network that move, the way of the rate, and tasks of the prior."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from causalmix.data.dataset import load_dataset
from causalmix.data.splitting import low_data_split
from causalmix.errors import CausalMixError
from causalmix.finetuning.config import RATE_SCHEDULES, FinetuneConfig
from causalmix.finetuning.mixing import Batch, TaskSampler
from causalmix.finetuning.parts import only
from causalmix.finetuning.run import _Optimiser, encoder_of, finetune
from causalmix.prior.tasks import NO_CLASS
from causalmix.tfm.model import load_tfm

COLUMNS = ("x_embed", "col_y_encoder", "feature_distribution_embedder", "column_aggregator")
CONFIG = FinetuneConfig(steps=2, validate_every=2, learning_rate=1e-3, rule="last", level=1)


@pytest.fixture(scope="module")
def tfm():
    return load_tfm()


@pytest.fixture(scope="module")
def split():
    return low_data_split(load_dataset("iris"), 30, 12, seed=0, n_test=30)


@pytest.mark.parametrize(
    ("trained", "moves"),
    [
        ("all", lambda name, value: True),
        ("columns", lambda name, value: name.startswith(COLUMNS)),
        ("vectors", lambda name, value: value.ndim == 1),
    ],
)
def test_what_is_not_of_the_part_stays_as_it_was(tfm, split, trained, moves):
    before = dict(tfm.network.named_parameters())
    tuned = finetune(tfm, split, config=replace(CONFIG, trained=trained)).tfm
    moved = {n for n, p in tuned.network.named_parameters() if not p.equal(before[n])}
    allowed = {name for name, value in before.items() if moves(name, value)}
    assert moved <= allowed
    assert len(moved) > 0.8 * len(allowed)  # some have no gradient
    for name, parameter in tuned.network.named_parameters():
        assert parameter.requires_grad == before[name].requires_grad


def test_the_column_parts_are_as_small_as_the_book_says(tfm):
    with only(tfm.network, "columns") as parameters:
        n, n_all = (sum(p.numel() for p in each) for each in (parameters, tfm.network.parameters()))
    assert f"{n / n_all:.1%}" == "2.5%"


def test_a_part_that_a_network_lacks_is_named():
    with (
        pytest.raises(CausalMixError, match=r"trained='columns' asks for .* Linear does"),
        only(torch.nn.Linear(2, 2), "columns"),
    ):
        pass


def test_the_rate_falls_to_zero_along_a_cosine():
    cosine = [RATE_SCHEDULES["cosine"](progress) for progress in (0.0, 0.5, 1.0)]
    assert cosine == pytest.approx([1.0, 0.5, 0.0])


def test_a_step_at_no_rate_is_none(tfm, split):
    """With the cosine, the second of two steps moves the weights half as far as a whole one."""
    moved = {}
    for schedule in RATE_SCHEDULES:
        tuned = finetune(tfm, split, config=replace(CONFIG, rate_schedule=schedule)).tfm
        pairs = zip(tuned.network.parameters(), tfm.network.parameters(), strict=True)
        moved[schedule] = sum(float((a - b).detach().abs().sum()) for a, b in pairs)
    assert 0.5 < moved["cosine"] / moved["constant"] < 0.95


def test_rehearsed_tasks_are_of_the_prior_and_as_large_as_the_others(tfm, split):
    config = replace(CONFIG, rehearsal=0.5, tasks_per_step=4)
    sampler = TaskSampler(encoder_of(tfm, split.train, 0), split.train, None, config, seed=0)
    real, rehearsed = sampler.draw(1)
    assert (real.n_tasks, rehearsed.n_tasks) == (2, 2)
    assert rehearsed.member is None
    assert len(rehearsed.y_context) == len(real.y_context)
    assert len(rehearsed.y_query) == len(real.y_query)
    # Other tables than this one, whose columns are no more than its own.
    assert rehearsed.x_context.shape[2] <= max(real.x_context.shape[2], 4)
    assert not torch.isin(rehearsed.x_context, real.x_context).all()
    loss = rehearsed.loss(tfm.network)
    assert 0 < float(loss.detach()) < 5


def test_queries_of_no_known_class_count_for_nothing(tfm):
    x, y = torch.randn(6, 1, 3), torch.tensor([[0], [1], [0], [1], [0], [1]])
    known = torch.tensor([[0], [1], [1]])
    partly, unknown = known.clone(), torch.full_like(known, NO_CLASS)
    partly[2] = NO_CLASS
    query = torch.randn(3, 1, 3)
    tfm.network.eval()

    def loss(query: torch.Tensor, classes: torch.Tensor) -> float:
        return Batch(None, x, y, query, classes).loss(tfm.network).item()

    assert loss(query, partly) == pytest.approx(loss(query[:2], known[:2]), abs=1e-5)
    assert loss(query, unknown) == 0.0


def test_tasks_one_at_a_time_give_the_gradient_of_all_together(tfm):
    torch.manual_seed(0)
    x, y = torch.randn(6, 3, 3), torch.tensor([[0, 1, 0], [1, 0, 1]]).repeat(3, 1)
    query, asked = torch.randn(4, 3, 3), torch.randint(2, (4, 3))
    asked[1:, 0] = asked[:, 2] = NO_CLASS  # 1, 4 and 0 queries count
    batches = [Batch(None, x, y, query, asked), Batch(None, x, y, query, torch.zeros_like(asked))]
    tuned = tfm.copy()
    parameters = list(tuned.network.parameters())
    optimiser = _Optimiser(tuned, parameters, CONFIG)
    found = []
    for size in (3, 1):
        loss = optimiser._set_gradient(batches, size)
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        found.append((loss, norm.item()))
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[0][0] == pytest.approx(
        np.mean([each.loss(tuned.network).item() for each in batches])
    )


def test_shares_of_tasks_that_exceed_the_whole_are_refused():
    with pytest.raises(CausalMixError, match=r"synthetic_tasks=0\.7 and rehearsal=0\.5 are shares"):
        FinetuneConfig(synthetic_tasks=0.7, rehearsal=0.5)
