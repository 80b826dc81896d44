"""How well a network in pre-training predicts tasks that it was not trained on.

Shapes: R rows, C columns, B tasks, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from torch.nn.functional import cross_entropy

from causalmix.prior.columns import squash
from causalmix.prior.tasks import NO_CLASS, TaskBatch


def logits_and_targets(
    network: torch.nn.Module, batch: TaskBatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Run a network on a batch of tasks.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN.
    batch : TaskBatch
        Tasks; moved to the network's device.

    Returns
    -------
    logits : torch.Tensor
        Of the query rows, shape (query rows × B, K).
    targets : torch.Tensor
        Their classes, int64 of shape (query rows × B,).
    """
    device = next(network.parameters()).device
    x, y = batch.x.to(device), batch.y.to(device)
    logits = network(x, y[: batch.n_context].float())  # (query rows, B, K)
    return logits.flatten(0, 1), y[batch.n_context :].flatten()


@torch.no_grad()
def evaluate_tasks(network: torch.nn.Module, batches: Sequence[TaskBatch]) -> tuple[float, float]:
    """Mean log-loss and mean one-vs-rest ROC-AUC over synthetic tasks.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN in evaluation mode.
    batches : sequence of TaskBatch
        Tasks that were not trained on.

    Returns
    -------
    loss, auc : float
        Each task counts the same in both.
    """
    losses, aucs = [], []
    for batch in batches:
        logits, targets = logits_and_targets(network, batch)
        n_tasks = batch.x.shape[1]
        for task in range(n_tasks):
            task_logits, y = logits[task::n_tasks].double().cpu(), targets[task::n_tasks].cpu()
            task_logits, y = task_logits[y != NO_CLASS], y[y != NO_CLASS]
            if len(y):
                losses.append(cross_entropy(task_logits, y).item())
                aucs.append(mean_auc(y.numpy(), task_logits.softmax(dim=1).numpy()))
    return float(np.mean(losses)), float(np.nanmean(aucs))


@torch.no_grad()
def evaluate_real_tables(network: torch.nn.Module, n_context: int = 60) -> dict[str, float]:
    """ROC-AUC on scikit-learn's small tables, mean of three splits, for the log only.

    Parameters
    ----------
    network : torch.nn.Module
        Architecture of TabPFN in evaluation mode.
    n_context : int, default=60
        Labelled rows given as context; the others are predicted.

    Returns
    -------
    dict
        Table name → macro one-vs-rest ROC-AUC.
    """
    device = next(network.parameters()).device
    aucs = {}
    for load in (load_breast_cancer, load_iris, load_wine):
        x, y = load(return_X_y=True)
        scores = []
        for seed in range(3):
            context, query = train_test_split(
                np.arange(len(y)), train_size=n_context, stratify=y, random_state=seed
            )
            table = torch.from_numpy(x[np.r_[context, query]]).float()[None]  # (1, R, C)
            rows = squash(table, n_context).transpose(0, 1).to(device)
            codes = torch.from_numpy(y[context])[:, None].float().to(device)
            probability = network(rows, codes)[:, 0].double().softmax(dim=1).cpu().numpy()
            scores.append(mean_auc(y[query], probability))
        aucs[load.__name__.removeprefix("load_")] = float(np.mean(scores))
    return aucs


def mean_auc(y: np.ndarray, probability: np.ndarray) -> float:
    """Macro one-vs-rest ROC-AUC over the classes that `y` has and has not in some row.

    Parameters
    ----------
    y : numpy.ndarray
        Class codes, shape (R,).
    probability : numpy.ndarray
        Predicted probabilities, shape (R, K).

    Returns
    -------
    float
        NaN if `y` has only one class.
    """
    classes = np.unique(y)
    if len(classes) < 2:
        return float("nan")
    return float(np.mean([roc_auc_score(y == k, probability[:, k]) for k in classes]))
