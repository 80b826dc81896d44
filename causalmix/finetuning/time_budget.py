"""What a fine-tuning run leaves out so that a step fits into its limit of time."""

from __future__ import annotations

from dataclasses import replace

from causalmix.finetuning.config import FinetuneConfig

GENERATOR_SHARE = 0.4
"""Of a limit of time, what fitting the generator should take at most."""

GRACE = 0.2
"""Of a limit of time, how long after it a run that has made no step yet may still make one."""

_LEAST_SHARE = 0.1  # of the time left, which the generator gets in any case
_STEP_COST = 4.0  # of a row in a step, forward and backward, in forward passes
_LEAST_ROWS = 128  # of a task, and to train on
_VALIDATIONS = 2  # before the first step, and after it


def affordable_members(n_members: int, member_seconds: float, seconds: float) -> int:
    """Return how many ensemble members can validate twice in half of the time, one at least.

    Parameters
    ----------
    n_members : int
        As many as there are.
    member_seconds : float
        A validation of one of them.
    seconds : float
        For validations and steps.

    Returns
    -------
    int
    """
    while n_members > 1 and _VALIDATIONS * n_members * member_seconds > seconds / 2:
        n_members //= 2
    return n_members


def affordable_rows(
    n_train: int, n_val: int, n_classes: int, *, row_seconds: float, seconds: float
) -> int:
    """Return with how many training rows one member can validate twice in half of the time.

    Parameters
    ----------
    n_train, n_val, n_classes : int
        Rows that there are, and classes among them.
    row_seconds : float
        A forward pass of a row.
    seconds : float
        For validations and steps.

    Returns
    -------
    int
        128 at least, and two for each class, where there are so many.
    """
    least = min(max(_LEAST_ROWS, 2 * n_classes), n_train)
    while n_train > least and _VALIDATIONS * (n_train + n_val) * row_seconds > seconds / 2:
        n_train = max(n_train // 2, least)
    return n_train


def generator_seconds(seconds: float, validation_seconds: float) -> float:
    """Return how long the generator may take: its share, but for what validations need.

    Parameters
    ----------
    seconds : float
        That are left.
    validation_seconds : float
        Of one validation. A small step takes about half of that.

    Returns
    -------
    float
    """
    rest = seconds - (_VALIDATIONS + 0.5) * validation_seconds
    return max(min(seconds * GENERATOR_SHARE, rest), seconds * _LEAST_SHARE)


def affordable_tasks(
    config: FinetuneConfig, *, n_rows: int, n_classes: int, row_seconds: float, seconds: float
) -> FinetuneConfig:
    """Return settings with fewer tasks a step, then smaller ones, until a step fits into the time.

    Parameters
    ----------
    config : FinetuneConfig
    n_rows, n_classes : int
        Of the training rows.
    row_seconds : float
        A forward pass of a row.
    seconds : float
        For a step.

    Returns
    -------
    FinetuneConfig
        With one task of 128 rows at least.
    """
    tasks, rows = config.tasks_per_step, min(config.rows_per_task, n_rows)
    least = max(_LEAST_ROWS, 2 * n_classes)
    while _STEP_COST * tasks * rows * row_seconds > seconds and (tasks > 1 or rows > least):
        if tasks > 1:
            tasks //= 2
        else:
            rows = max(rows // 2, least)
    if rows == min(config.rows_per_task, n_rows):
        rows = config.rows_per_task
    return replace(config, tasks_per_step=tasks, rows_per_task=rows)


def what_was_left_out(
    before: FinetuneConfig,
    after: FinetuneConfig,
    *,
    members: tuple[int, int],
    rows: tuple[int, int],
) -> tuple[str, ...]:
    """Return a sentence on what a run made do with, or none.

    Parameters
    ----------
    before, after : FinetuneConfig
        As wanted, and as the time allowed.
    members : tuple of int
        The ensemble members before and after.
    rows : tuple of int
        The training rows before and after.

    Returns
    -------
    tuple of str
    """
    parts = []
    if members[0] > members[1]:
        parts.append(f"{members[1]} of {members[0]} ensemble members")
    if rows[0] > rows[1]:
        parts.append(f"{rows[1]} of {rows[0]} training rows")
    if after.tasks_per_step < before.tasks_per_step:
        parts.append(f"{after.tasks_per_step} of {before.tasks_per_step} tasks a step")
    if after.rows_per_task < before.rows_per_task:
        parts.append(f"tasks of {after.rows_per_task} rows")
    if not parts:
        return ()
    limit = f"{before.time_limit:.3g} s (time_limit)"
    return (f"To end within {limit}, fine-tuning made do with {', '.join(parts)}.",)
