"""A made hospital: rows whose causal graph and treatment effect are known.

The severely ill are treated more often and recover less, so that treated patients do worse than the
others although the treatment helps every one of them (Simpson's paradox).
"""

from __future__ import annotations

from itertools import permutations

import networkx as nx
import numpy as np
import pandas as pd

from causalmix.data.dataset import TabularDataset
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import check_seed, check_whole
from causalmix.scm.model import StructuralCausalModel

TREATMENT, OUTCOME = "treated", "recovery"

EFFECT = 6.0
"""What the treatment adds to a patient's recovery, in points."""


def hospital_dag() -> nx.DiGraph:
    """Return the graph that the rows come from.

    Returns
    -------
    networkx.DiGraph
        On the columns of `hospital_rows`, the target included.
    """
    of_severity = [("severity", child) for child in ("pressure", TREATMENT, OUTCOME)]
    return nx.DiGraph([*of_severity, (TREATMENT, OUTCOME), (OUTCOME, "days")])


def hospital_knowledge() -> BackgroundKnowledge:
    """Return what a search needs to know to find this graph and no other.

    Returns
    -------
    BackgroundKnowledge
        Every edge of `hospital_dag` required, every other one forbidden.
    """
    edges = list(hospital_dag().edges)
    others = [pair for pair in permutations(hospital_dag(), 2) if pair not in edges]
    return BackgroundKnowledge(required=edges, forbidden=others)


def hospital_rows(n: int, seed: int, *, treated: bool | None = None) -> TabularDataset:
    """Draw patients.

    Parameters
    ----------
    n : int
        Patients.
    seed : int
        Equal seeds give equal rows.
    treated : bool, optional
        Treat all or none of them, whatever their severity: an intervention. By default the more
        severe cases are treated more often.

    Returns
    -------
    TabularDataset
        Numeric columns ``severity`` (standard normal), ``pressure`` (mmHg), ``recovery`` (points)
        and ``days`` in hospital; the target ``treated`` is ``no`` or ``yes``.
    """
    check_whole(n, 1, "n")
    rng = np.random.default_rng(check_seed(seed))
    severity, pressure, recovery = rng.normal(size=(3, n))
    days = rng.gamma(2.0, 1.0, n)
    # a logistic threshold: the chance of treatment rises with severity
    treat = 2 * severity + rng.logistic(size=n) > 0 if treated is None else np.full(n, treated)
    recovery = 60 - 10 * severity + EFFECT * treat + 2 * recovery
    X = pd.DataFrame(
        {
            "severity": severity,
            "pressure": 120 + 8 * severity + 6 * pressure,
            OUTCOME: recovery,
            "days": 14 - 0.15 * (recovery - 60) + days,
        }
    )
    y = pd.Series(pd.Categorical.from_codes(treat.astype(int), ["no", "yes"]), name=TREATMENT)
    return TabularDataset("hospital", X, y, "made, with a known graph")


def effect_error(rows: pd.DataFrame) -> float:
    """How far the treatment effect that rows show is from the true one.

    A structural causal model with linear mechanisms is fitted to the rows on the true graph, and
    the treatment is set to ``yes`` and to ``no`` in it. The mechanisms have the right form, so what
    is wrong is wrong in the rows.

    Parameters
    ----------
    rows : DataFrame
        With the columns of `hospital_rows`, the target included.

    Returns
    -------
    float
        Absolute error of the average treatment effect, in points of recovery.
    """
    return abs(_effect(rows) - EFFECT)


def tabulate_effects(rows: pd.DataFrame) -> pd.Series:
    """Set what rows show of the treatment beside what it does.

    Parameters
    ----------
    rows : DataFrame
        As `effect_error` takes them.

    Returns
    -------
    Series
        In points of recovery: how much better the treated recover than the others in these rows;
        the average treatment effect by the model that `effect_error` fits; and the true one.
    """
    means = rows.groupby(TREATMENT, observed=True)[OUTCOME].mean()
    effects = {
        "treated minus untreated": means["yes"] - means["no"],
        "do(yes) minus do(no) in the model": _effect(rows),
        "true effect": EFFECT,
    }
    return pd.Series(effects, name=OUTCOME)


def _effect(rows: pd.DataFrame) -> float:
    model = StructuralCausalModel(hospital_dag(), mechanism="linear").fit(rows)
    return model.average_treatment_effect(TREATMENT, "yes", "no", OUTCOME)
