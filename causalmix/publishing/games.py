"""What the games of pre-training gave, in sentences and tables for the model card."""

from __future__ import annotations

from typing import Any

import pandas as pd

from causalmix.publishing.markdown import markdown_table, signed, with_interval

_NAMES = {"softmax": "Softmax over gaps", "bandit": "Bandit"}


def describe_games(
    games: pd.DataFrame, rounds: pd.DataFrame, summary: pd.DataFrame, settings: dict[str, Any]
) -> str:
    """Say whether the game pays, and where.

    Parameters
    ----------
    games, rounds, summary : pandas.DataFrame
        As `causalmix.pretraining.comparison.GameComparison` has them.
    settings : dict
        Of the manifest beside them.

    Returns
    -------
    str
        Markdown.
    """
    played = games[games["rule"] != "plain"]
    learners = ", ".join(settings["learners"].values())
    paper = summary[(summary["rule"] == "softmax") & (summary["measure"] == "held-out loss")]
    start = (
        f"**{_HEADLINES[_verdict(paper.iloc[0].to_dict())]}** Each game took "
        f"{games['steps'].max():,} steps on {played['tables'].mean():,.0f} synthetic tables (the "
        f"paper draws fewer than 100,000), with {settings['seeds']} seeds. What is possible on a "
        f"task was estimated with {learners}. Of {settings['rounds'] * len(played)} rounds, "
        f"{played['undone'].sum() or 'none'} had to be undone."
    )
    overall = summary[(summary["measure"] != "gap") | (summary["knob"] == "all")]
    rows = [
        (_NAMES[row["rule"]], _WHAT[row["measure"]], _interval(row), _bound(row), _verdict(row))
        for row in overall.to_dict("records")
    ]
    head = ["Game", "Against plain continuation", "Difference", "Could be found", "Verdict"]
    many = (
        f"Intervals are not corrected for their number, {len(rows)} here and more below: one that "
        "leaves out zero is what chance gives, the more so where seeds are few."
    )
    parts = (start, markdown_table(head, rows), many, _moves(rounds), _regions(summary))
    return "\n\n".join(parts)


_HEADLINES = {
    "undecided": "On held-out tasks the game is neither better nor worse than plain continuation, "
    "as far as so few steps can tell.",
    "the game is better": "The game pays: held-out tasks are predicted better than after plain "
    "continuation.",
    "the game is worse": "The game does harm: held-out tasks are predicted worse than after plain "
    "continuation.",
}

_WHAT = {
    "held-out loss": "log-loss on held-out ordinary tasks, nats",
    "auc": "ROC-AUC on real tables",
    "log_loss": "log-loss on real tables, nats",
    "gap": "gap on tasks of all regions, nats",
}


def _interval(row: dict[str, Any]) -> str:
    return with_interval(row["difference"], row["low"], row["high"])


def _bound(row: dict[str, Any]) -> str:
    found = row["detectable"]
    return "" if pd.isna(found) else f"{found:.4f}"


def _verdict(row: dict[str, Any]) -> str:
    if row["low"] <= 0 <= row["high"]:
        return "undecided"
    good = row["low"] > 0 if row["measure"] == "auc" else row["high"] < 0
    return "the game is better" if good else "the game is worse"


def _moves(rounds: pd.DataFrame) -> str:
    """Say which regions the softmax favours most, against as often as the knob's others."""
    own = rounds[rounds["rule"] == "softmax"]
    mean = own.groupby(["knob", "region"])["probability"].mean()
    lift = (mean * mean.groupby("knob").transform("size")).sort_values(ascending=False)
    told = [
        f"{knob}: {region} ({mean[knob, region]:.0%}, {times:.1f} times as often as by chance)"
        for (knob, region), times in lift.head(3).items()
    ]
    return f"The softmax moved the prior most to {'; '.join(told)}. Means over rounds and seeds."


def _regions(summary: pd.DataFrame) -> str:
    """Return the gap of the start and what each game changes, region by region."""
    own = summary[(summary["measure"] == "gap") & (summary["knob"] != "all")]
    starts = own.drop_duplicates(["knob", "region"]).set_index(["knob", "region"])
    starts = starts["start"].sort_values(ascending=False)
    changes = own.set_index(["knob", "region", "rule"])
    largest = starts.idxmax()
    rules = list(dict.fromkeys(own["rule"]))
    rows = [
        (
            knob,
            region,
            signed(start, 3),
            *(_interval(changes.loc[(knob, region, rule)].to_dict()) for rule in rules),
        )
        for (knob, region), start in starts.items()
    ]
    ahead = (
        f"Before any game the gap is below zero in {(starts < 0).sum()} of {len(starts)} regions. "
        f"It is largest in {largest[0]}: {largest[1]}, {signed(starts[largest], 3)} nats. Of so "
        "many intervals, one in twenty leaves zero out by chance."
    )
    head = ["Knob", "Region", "Gap before", *(_NAMES[each] for each in rules)]
    return f"{ahead}\n\n{markdown_table(head, rows)}"
