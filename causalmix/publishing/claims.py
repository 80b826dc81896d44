"""The page of the claims: what the paper says is written, what the runs say is computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from causalmix.benchmarks.audit import (
    behind,
    compared_cube,
    figure_of,
    judge_claims,
    known_rows,
    set_aside,
)
from causalmix.benchmarks.claims import CLAIMS, DEFAULT, PAPER, QUANTITIES, Claim, Cube
from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.benchmarks.results import read_result
from causalmix.benchmarks.sensitivity import (
    chance_of_rank_lead,
    levels_by_arm,
    rank_verdicts_by_chance,
    sd_lead,
)
from causalmix.benchmarks.store import Store
from causalmix.benchmarks.store_analysis import describe_store, judges_claims
from causalmix.data.columns import counted
from causalmix.manifest import read_json
from causalmix.publishing.blanks import fill_blanks, stored_runs
from causalmix.publishing.headline import describe_progress, describe_rank_rule
from causalmix.publishing.markdown import enumerated, markdown_table, signed, with_interval

_JUDGES = ("finetuning/paper_generators", "finetuning/paper")
"""Runs that judge: the first of which `judges_claims` is true."""

_PAIR = [PAPER, DEFAULT]

_WRITTEN = {"val_": "validation ", "test_": "test ", "auc": "ROC-AUC", "log_loss": "log-loss"}


def fill_claims(page: Path, results: Path) -> None:
    """Fill the claims' page: see `causalmix.publishing.book.fill_page`."""
    name = next((name for name in _JUDGES if judges_claims(Store(results / name))), _JUDGES[-1])
    store = stored_runs(results, name, page)
    judged = judge_claims(store)
    texts = {
        "folder": lambda: f"results/{name}",
        "progress": lambda: describe_progress(store),
        "store": lambda: "\n".join(f"- {line}" for line in describe_store(store).splitlines()),
        "compared": lambda: _compared(judged),
        "elsewhere": lambda: _elsewhere(results, name),
        "verdicts": lambda: _verdicts(judged),
        "question": lambda: _question(judged),
        "by_bootstrap": lambda: _by_bootstrap(judged),
        "audit": lambda: describe_audit_file(results / "finetuning/paper_audit.csv"),
    }
    texts |= {f"claim_{claim.number}": partial(_found, claim, judged) for claim in CLAIMS}
    cube = compared_cube(store)
    levels = levels_by_arm(store, cube) if cube.tables else pd.DataFrame()
    texts |= {
        f"levels_{n}": partial(_no_levels if levels.empty else tell, levels, cube)
        for n, tell in _LEVELS.items()
    }
    fill_blanks(page, texts, {})


def describe_audit_file(path: Path) -> str:
    """Say in a sentence or two what a stored audit found.

    Parameters
    ----------
    path : Path
        As `causalmix.benchmarks.audit.write_audit` wrote it, its manifest beside it.

    Returns
    -------
    str
    """
    audited = read_result(path)
    beside = path.with_name(f"{path.stem}_manifest.json")
    advice = "Write both again: causalmix audit --out."
    drawn = read_json(beside, "the manifest of an audit", advice)["settings"]
    runs = audited.groupby("key")
    same = (runs["difference"].agg(lambda x: x.abs().max()) == 0).sum()
    days = enumerated(sorted(set(audited["recomputed_day"])))
    text = (
        f"On {days}, {runs.ngroups} of {drawn['of']:,} runs, chosen at random (seed "
        f"{drawn['seed']}), were made again; {same} came out the same to the last digit"
    )
    if same == runs.ngroups:
        return f"{text}."
    worst = audited.loc[audited["difference"].abs().idxmax()]
    within = runs["agrees"].all().sum()
    score = worst["score"]
    for short, written in _WRITTEN.items():
        score = score.replace(short, written)
    arm, place = worst["run"].split(" on ", 1)
    return (
        f"{text}, {within} within what is allowed. The largest difference is "
        f"{abs(worst['difference']):.2g}, in {score} of {ARM_LABELS.get(arm, arm)} on {place}."
    )


def _verdicts(judged: pd.DataFrame) -> str:
    rows = []
    for claim in CLAIMS:
        own = judged[(judged["claim"] == claim.number) & (judged["arm"] == PAPER)]
        known = [f"{_figure(row)}, {counted(row.tables, 'table')}" for row in known_rows(own)]
        link = f"{{ref}}`{claim.number} <claim-{claim.number}>`"
        rows.append((link, claim.text, _verdict(claim, own), "; ".join(known) or _shown(claim)))
    return markdown_table(["", "Claim", "Verdict", "Figure, or what shows it"], rows)


def _verdict(claim: Claim, own: pd.DataFrame) -> str:
    return own["verdict"].iloc[0] if len(own) else claim.verdict({})


def _shown(claim: Claim) -> str:
    if claim.shown_by:
        return ", ".join(f"`{each}`" for each in claim.shown_by.split(", "))
    return claim.reason or "no runs yet"


def _compared(judged: pd.DataFrame) -> str:
    """Say what each arm is compared with."""
    told: dict[str, list[str]] = {}
    for arm, rows in judged[judged["claim"] > 0].groupby("arm", sort=False):
        others = [ARM_LABELS[name] for name in rows["against"].iloc[0] if name != arm]
        text = f"compared with {', '.join(others)}.{set_aside(rows)}" if others else "not run yet."
        told.setdefault(text, []).append(ARM_LABELS[arm])
    return " ".join(
        f"*{arms[0]}* is {text}" if len(arms) == 1 else f"Both are {text}"
        for text, arms in told.items()
    )


def _found(claim: Claim, judged: pd.DataFrame) -> str:
    """Return what was found on a claim: a paragraph for each arm that is judged."""
    if not claim.quantities:
        return f"**{claim.verdict({}).capitalize()}.**"
    found = []
    for (arm, verdict), rows in judged[judged["claim"] == claim.number].groupby(
        ["arm", "verdict"], sort=False
    ):
        text = f"**{ARM_LABELS[arm]}: {verdict}.**"
        if arm != PAPER:
            text = f"{ARM_LABELS[arm]}, beside it: {verdict}."
        for row in known_rows(rows):
            what = QUANTITIES[row.quantity]
            text += f" {what[0].upper()}{what[1:]} {_figure(row)} ({behind(row)})."
        if not rows["tables"].any():
            text += " There are no runs yet that it can be computed from."
        found.append(text)
    return "\n\n".join(found)


def _question(judged: pd.DataFrame) -> str:
    """Return the answer in a sentence, and all comparisons behind it."""
    asked = judged[judged["claim"] == 0]
    known = asked[asked["tables"] > 0]
    rows = [
        (
            *(ARM_LABELS[row.arm], ARM_LABELS[row.against[0]], row.quantity, row.verdict),
            *(_figure(row), row.tables),
        )
        for row in known.itertuples()
    ]
    counts = known["verdict"].value_counts()
    said = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("better", "worse", "undecided"))
    missing = sorted({ARM_LABELS[name] for name in asked["against"].str[0]} - {r[1] for r in rows})
    text = "Nothing to compare."
    if rows:
        text = f"The runs allow {counted(len(rows), 'comparison')}: {said}."
    if missing:
        text += f" There are no runs yet of {', '.join(missing)}."
    head = ["Arm", "Against", "What", "Verdict", "Difference", "Tables"]
    return f"{text}\n\n{markdown_table(head, rows)}" if rows else text


def _by_bootstrap(judged: pd.DataFrame) -> str:
    """Say how many answers to the question the bootstrap alone would give another verdict."""
    asked = judged[(judged["claim"] == 0) & (judged["tables"] > 0)]
    apart = asked[(asked["verdict"] == "undecided") & ((asked["low"] > 0) | (asked["high"] < 0))]
    told = [
        f"{ARM_LABELS[row.arm]} against {ARM_LABELS[row.against[0]]} in {row.quantity} "
        f"({_figure(row)})"
        for row in apart.itertuples()
    ]
    text = f"By that alone {len(told) or 'none'} of {len(asked)} answers to the research question"
    return f"{text} would not be *undecided* where they are{': ' if told else ''}{', '.join(told)}."


def _no_levels(levels: pd.DataFrame, cube: Cube) -> str:
    return ""


def _level(levels: pd.DataFrame, name: str, digits: int) -> str:
    """Say where the paper's arm and default fine-tuning stand in a quantity."""
    return ", ".join(f"{ARM_LABELS[arm]} {levels.loc[arm, name]:.{digits}f}" for arm in _PAIR)


def _medians(levels: pd.DataFrame, cube: Cube) -> str:
    medians = [f"{ARM_LABELS[arm]} {signed(levels.loc[arm, 'median'], 3)}" for arm in _PAIR]
    kept = [f"{levels.loc[arm, 'unchanged']:.0%}" for arm in _PAIR]
    return (
        f"Medians: {', '.join(medians)}, the best other arm "
        f"{signed(levels['median'].drop(PAPER).max(), 3)}. On {kept[0]} and {kept[1]} of the "
        "tables these two kept the weights as they were. Where about half of the tables do, a "
        "median is zero whatever happens on the others. That, and not only the number of tables, "
        "makes *undecided* likely."
    )


def _spreads(levels: pd.DataFrame, cube: Cube) -> str:
    lead = sd_lead(cube)
    (claim,) = (each for each in CLAIMS if each.quantities == ("spread_lead",))
    verdict = claim.verdict({"spread_lead": lead})
    shown = with_interval(lead.value, lead.low, lead.high)
    return (
        f"Interquartile ranges: {_level(levels, 'iqr', 3)}. Standard deviations: "
        f"{_level(levels, 'sd', 3)}; their difference, {shown}, would make it *{verdict}*. The "
        "paper does not say which of them its ± is."
    )


def _ranks(levels: pd.DataFrame, cube: Cube) -> str:
    best = levels["mean_rank"].drop(_PAIR).idxmin()
    chance = chance_of_rank_lead(cube, PAPER), chance_of_rank_lead(cube, DEFAULT, PAPER)
    shares = rank_verdicts_by_chance(cube).rename_axis("verdict").rename("share")
    rule = describe_rank_rule(shares.reset_index())
    friedman = stats.friedmanchisquare(*np.nanmean(cube.values, axis=1).round(6).T).pvalue
    return (
        f"Mean ranks: {_level(levels, 'mean_rank', 2)}, {ARM_LABELS[best]} "
        f"{levels.loc[best, 'mean_rank']:.2f}. The rule holds an arm against the best of all "
        "others, and the best of several is ahead by chance alone. If the order of arms on each "
        f"table were random, the first would be as far behind as it is in {chance[0]:.0%} of "
        f"cases, the second in {chance[1]:.0%}. {rule} Friedman's test does not ask for the best "
        f"one: p = {friedman:.2f}. So *not reproduced* says that the two are not first and second "
        "here, and not that another arm is better."
    )


def _gaps(levels: pd.DataFrame, cube: Cube) -> str:
    if levels["gap"].isna().all():
        return ""
    return (
        f"Median gaps: {_level(levels, 'gap', 2)}; the paper's are 0.30 and 0.67. A curve that "
        "says nothing has 1."
    )


_LEVELS: dict[int, Callable[[pd.DataFrame, Cube], str]] = {
    1: _medians,
    2: _spreads,
    3: _ranks,
    11: _gaps,
}
"""What stands beside a claim's figure: where the arms themselves are, and what the rule owes."""


def _elsewhere(results: Path, judge: str) -> str:
    """Give the verdicts and figures of the runs that do not judge."""
    told = []
    for name in (name for name in _JUDGES if name != judge and len(Store(results / name))):
        store = Store(results / name)
        judged = judge_claims(store)
        told.append(f"What if the runs of `results/{name}` judged? {describe_progress(store)}")
        own = judged[(judged["arm"] == PAPER) & (judged["claim"] > 0)]
        for (number, verdict), rows in own.groupby(["claim", "verdict"]):
            figures = " and ".join(map(_figure, known_rows(rows)))
            told.append(f"Claim {number} would be {verdict}{f': {figures}' if figures else ''}.")
        told.append(_compared(own))
    return " ".join(told)


def _figure(row: Any) -> str:
    return figure_of(row).replace("-", "−")
