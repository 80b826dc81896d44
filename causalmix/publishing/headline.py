"""What a store of runs says, in sentences: the head of the chapter that shows its figures."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import pandas as pd

from causalmix.benchmarks.analysis import MARGIN, SPLITS_OF_A_TABLE
from causalmix.benchmarks.candidates import AUC_HARM, CHOSEN, LOSS_HARM, NOISE
from causalmix.benchmarks.claims import BEFORE, CLAIMS, DEFAULT, PAPER
from causalmix.benchmarks.comparison import verdicts
from causalmix.benchmarks.labels import ARM_LABELS
from causalmix.benchmarks.store import Store
from causalmix.benchmarks.store_analysis import plan_progress
from causalmix.benchmarks.tabulate import LEAST_TABLES
from causalmix.data.columns import counted
from causalmix.publishing.markdown import code_span, enumerated, with_interval

_OURS, _REHEARSAL = CHOSEN[0], "rehearsal"
_SHUFFLED = (("causal_rehearsal", "causal_shuffled_rehearsal"), ("causal", "causal_shuffled"))
SCORE_NAMES = {"auc": "ROC-AUC", "log_loss": "log-loss"}
_TRAITS = {
    "rows": "number of rows",
    "features": "number of features",
    "categorical": "share of categorical features",
    "classes": "number of classes",
    "zero_shot_error": "zero-shot error",
}


def describe_progress(store: Store) -> str:
    """Say how far the plans of a store are, and what follows where one is not complete.

    Parameters
    ----------
    store : Store

    Returns
    -------
    str
        Markdown of a few sentences.
    """
    progress = plan_progress(store)
    said = [
        f"All {n:,} runs of the frozen plan `{name}` are there."
        if 0 < n <= done
        else f"Of the frozen plan `{name}`, {done:,} of {n:,} runs are there"
        f"{f', and {failed:,} failed' if failed else ''}."
        for name, (done, failed, n) in progress.items()
    ]
    if any(done + failed < n or not n for done, failed, n in progress.values()):
        said.append("**The verdicts are provisional until all of them are.**")
    return " ".join(said) or "**No plan was frozen before these runs.**"


def describe_evidence(found: Mapping[str, pd.DataFrame]) -> str:
    """Say what the runs show: verdicts, harm, when it helps, what is not shown, what to do.

    Parameters
    ----------
    found : mapping of str to DataFrame
        As :func:`causalmix.benchmarks.store_analysis.analyse_store` returns it.

    Returns
    -------
    str
        A Markdown list. A difference is called *better* or *worse* only where its 95 % interval
        lies on one side of 0, and six tables or more are behind it; what the store has no runs for
        is said to be missing.
    """
    points = {
        "Is fine-tuning worth it?": _worth(found),
        "Is one way better than another?": _compared(found),
        "Is it the causal structure?": _structure(found),
        "The paper's claims": _claims(found["claims"], found["rank_rule"]),
        "Who is harmed?": _harmed(found["harm"]),
        "When does it help?": _helped(found),
        "What is not shown?": _not_shown(found),
        "What to do": _advice(found),
    }
    closed = {title if title.endswith("?") else f"{title}.": text for title, text in points.items()}
    return "\n".join(f"- **{title}** {text}" for title, text in closed.items())


def _name(arm: str) -> str:
    return ARM_LABELS.get(arm) or code_span(arm)  # a plan names arms as it likes


def _names(arms: Iterable[str]) -> str:
    return ", ".join(map(_name, arms))


def _counted_names(arms: Collection[str]) -> str:
    return f"{len(arms)} ({_names(arms)})" if len(arms) else "none"


def _differences(found: Mapping[str, pd.DataFrame], reference: str) -> pd.DataFrame:
    """Paired differences from an arm, of the ways of fine-tuning."""
    table = found["differences"]
    return table[(table["reference"] == reference) & (table["arm"] != NOISE)]


def describe_difference(rows: pd.DataFrame) -> str:
    """Say whether an arm is better than another, in both scores.

    Parameters
    ----------
    rows : DataFrame
        Those of one pair of arms, as
        :func:`causalmix.benchmarks.analysis.paired_differences` returns them.

    Returns
    -------
    str
        To follow "it is": a verdict, the figures with their intervals, and how many tables.
    """
    told, before = [], ""
    for verdict, row in zip(verdicts(rows), rows.itertuples(), strict=True):
        score, unit = SCORE_NAMES[row.score], " nats" if row.score == "log_loss" else ""
        figure = with_interval(row.difference, row.low, row.high)
        told.append(f"{'' if verdict == before else f'{verdict} '}in {score} ({figure}{unit})")
        before = verdict
    return f"{' and '.join(told)}, on {counted(rows['tables'].iloc[0], 'table')}"


def _worth(found: Mapping[str, pd.DataFrame]) -> str:
    rows = _differences(found, BEFORE)
    if rows.empty:
        return "No way of fine-tuning was run."
    better = rows[verdicts(rows) == "better"]
    auc, loss = (_counted_names(better[better["score"] == score]["arm"]) for score in SCORE_NAMES)
    own = rows[rows["arm"] == _OURS]
    ways = counted(rows["arm"].nunique(), "way")
    text = f"Better than zero-shot prediction, of {ways} to go beyond it: in ROC-AUC {auc}, in "
    text += f"log-loss {loss}."
    if len(better):
        sure = _counted_names(better[better["p_holm"] < 0.05]["arm"].unique())
        text += f" Wilcoxon's test, corrected for the number of arms, agrees on {sure}."
    if len(own):
        text += f" {_name(_OURS)}, the default of this package, is {describe_difference(own)}."
        gains = found["gains"].query("arm == @_OURS").groupby("dataset").mean(numeric_only=True)
        for score in own["score"][verdicts(own) == "better"]:
            share = share_of_three(gains[f"{score}_gain"])
            text += (
                f" Three tables make up {share:.0%} of the gain in {SCORE_NAMES[score]}; on how "
                "many single ones the verdict hangs is said below."
            )
    power = found["power"]
    power = power[(power["reference"] == BEFORE) & (power["score"] == "auc")]
    seen = power.set_index("arm")["detectable"].drop(NOISE, errors="ignore").dropna()
    if len(seen):
        text += (
            f" A t-test of one arm would find a true mean difference of {seen.min():.4f} to "
            f"{seen.max():.4f} ROC-AUC, by arm, in four such benchmarks of five. Intervals here "
            "are somewhat wider than its."
        )
    return text


def share_of_three(by_table: pd.Series) -> float:
    """Return the share of a gain that the three tables with the most have.

    Parameters
    ----------
    by_table : Series
        Mean gain of each table.

    Returns
    -------
    float
        Above 1 where the others lose.
    """
    return by_table.nlargest(3).sum() / by_table.sum()


def _compared(found: Mapping[str, pd.DataFrame]) -> str:
    """Compare ways of fine-tuning with each other: the pairs that were planned, and their ranks."""
    rows = found["contrasts"]
    rows = rows[rows["reference"] != BEFORE]
    told = [
        f"{_name(arm)}, against {_name(reference)}, is {describe_difference(own)}."
        for (arm, reference), own in rows.groupby(["arm", "reference"], sort=False)
        if (arm, reference) not in _SHUFFLED
    ]
    ranks = found["ranks"]
    if ranks["p"].notna().all():
        first, last = ranks.iloc[0], ranks.iloc[-1]
        apart = last["mean_rank"] - first["mean_rank"]
        told.append(
            f"Mean ranks of {len(ranks)} arms in ROC-AUC go from {first['mean_rank']:.2f} "
            f"({_name(first['arm'])}) to {last['mean_rank']:.2f} ({_name(last['arm'])}), "
            f"{'more' if apart > first['critical_difference'] else 'less'} than the critical "
            f"difference of {first['critical_difference']:.2f} apart; Friedman's test: p = "
            f"{first['p']:.2g}."
        )
    return " ".join(told) or "No pairs were planned, and there are too few arms to rank."


def _structure(found: Mapping[str, pd.DataFrame]) -> str:
    """Compare an arm with itself on shuffled graphs, where a plan has named the pair."""
    pairs = found["contrasts"].groupby(["arm", "reference"], sort=False)
    told = [
        f"{_name(arm)}, against the same with shuffled graphs, is {describe_difference(rows)}."
        for (arm, reference), rows in pairs
        if (arm, reference) in _SHUFFLED
    ]
    return " ".join(told) or "No runs with shuffled graphs were planned."


def _claims(claims: pd.DataFrame, rank_rule: pd.DataFrame) -> str:
    rows = claims[(claims["arm"] == PAPER) & (claims["claim"] > 0)]
    by_verdict = rows.groupby("verdict")["claim"].unique()
    told = [
        f"claim {n[0]} is {verdict}" if len(n) == 1 else f"claims {enumerated(n)} are {verdict}"
        for verdict, n in by_verdict.items()
    ]
    shown, open_ = (
        enumerated(claim.number for claim in CLAIMS if getattr(claim, what))
        for what in ("shown_by", "reason")
    )
    told = (
        f"On what {_name(PAPER)} is worth, {'; '.join(told)}. Claims {shown} say what the method "
        f"is, and tests show them; claim {open_} cannot be tested. {describe_rank_rule(rank_rule)}"
    )
    return told.strip()


def describe_rank_rule(shares: pd.DataFrame) -> str:
    """Say what the rule of claim 3 says where no arm differs from any other.

    Parameters
    ----------
    shares : DataFrame
        As ``rank_rule`` of :func:`causalmix.benchmarks.store_analysis.analyse_store`.

    Returns
    -------
    str
        Empty where there are too few arms.
    """
    if shares.empty:
        return ""
    share = shares.set_index("verdict")["share"]
    against, for_it = (share.get(name, 0.0) for name in ("not reproduced", "reproduced"))
    return (
        "Claim 3 holds an arm against the best of the others, which is hard on it: where no arm "
        f"differs from any other, its rule says *not reproduced* in {against:.0%} of cases, and "
        f"*reproduced* in {for_it:.0%}."
    )


def _harmed(harm: pd.DataFrame) -> str:
    shown = harm.set_index("arm")
    known = [arm for arm in (DEFAULT, PAPER, _OURS) if arm in shown.index]
    if not known:
        return "No way of fine-tuning was run."
    told = [
        f"{shown.loc[arm, 'runs_harmed']:.0%} of the {shown.loc[arm, 'runs']:.0f} of {_name(arm)}"
        for arm in known
    ]
    floor = harm["noise_floor"].iloc[0]
    chance = f" For scale: the untouched model falls as far in {floor:.0%} with other ensemble "
    chance = "" if np.isnan(floor) else f"{chance}members, which change every run."
    changed = harm.loc[harm["arm"] != NOISE, "changed_harmed"]
    if not np.isnan(floor) and changed.notna().any():
        chance += (
            f" Of the runs that fine-tuning changed, {changed.min():.0%} to {changed.max():.0%} "
            "do, by arm."
        )
    worse = harm[(harm["worse_tables"] != "") & (harm["arm"] != NOISE)]
    sure = [
        f"{', '.join(map(code_span, each.worse_tables.split(', ')))} (by {_name(each.arm)})"
        for each in worse.itertuples()
    ]
    tables = f"Tables that fall by more than chance over splits explains: {'; '.join(sure)}."
    if not sure:
        tables = "No table is known to fall so far by more than chance over splits explains."
    if not sure and harm["runs"].sum() < SPLITS_OF_A_TABLE * harm["tables"].sum():
        tables += f" Those with fewer than {SPLITS_OF_A_TABLE} splits cannot be judged."
    return (
        f"Runs that fall by more than {AUC_HARM} ROC-AUC or {LOSS_HARM} nats: {', '.join(told)}."
        f"{chance} {tables}"
    )


def _helped(found: Mapping[str, pd.DataFrame]) -> str:
    rows = _differences(found, BEFORE)
    arm = _OURS if _OURS in set(rows["arm"]) else DEFAULT
    own = rows[(rows["arm"] == arm) & (rows["score"] == "auc")]
    if own.empty:
        return "That cannot be said."
    row = own.iloc[0]
    text = (
        f"{_name(arm)} gains more than {MARGIN} ROC-AUC on {row.wins} of "
        f"{counted(row.tables, 'table')}, and loses more than that on {row.losses}."
    )
    traits = found["traits"]
    traits = traits[(traits["arm"] == arm) & (traits["tables"] >= LEAST_TABLES)]
    traits = traits[traits["p_holm"].notna()]
    if traits.empty:
        return f"{text} There are too few tables to say on which."
    surest = traits.loc[traits["p_holm"].idxmin()]
    told = (
        f"its {_TRAITS[surest['trait']]} (Spearman's ρ = {surest['rho']:+.2f}, corrected p = "
        f"{surest['p_holm']:.2g})"
    ).replace("ρ = -", "ρ = −")
    if surest["p_holm"] < 0.05:
        return f"{text} What a table gains goes with {told}."
    return (
        f"{text} No trait of a table is shown to tell on which, and so few tables would show a "
        f"strong one only; the nearest to it is {told}."
    )


def _not_shown(found: Mapping[str, pd.DataFrame]) -> str:
    rows = _differences(found, BEFORE)
    better = set(rows["arm"][verdicts(rows) == "better"])
    none = sorted(set(rows["arm"]) - better, key=_name)
    text = f"That these are better than zero-shot in either score: {_names(none) or 'none'}."
    if better and none:
        text += " An arm that is better than it is not thereby better than an undecided one."
    return text


def _advice(found: Mapping[str, pd.DataFrame]) -> str:
    """Stand by the default, chosen before the runs, unless they are against it."""
    rows = _differences(found, BEFORE)
    if _OURS not in set(rows["arm"]):
        return "The store has no runs of the package's default."
    own = rows[rows["arm"] == _OURS]
    if (verdicts(own) == "worse").any():
        return "Predict with the model as it is, without fine-tuning: the default is worse here."
    text = (
        "Where you fine-tune, keep the default settings of `CausalMixClassifier`. It takes real "
        "rows, rows of causal models and tasks of the prior, and leaves the weights alone where "
        "the validation rows are against it."
    )
    if not (verdicts(own) == "better").any():
        text += (
            " It is not shown to be better than zero-shot prediction, which `steps=0` gives: that "
            "is a fair choice, and takes seconds."
        )
    seconds = found["cost"].set_index("arm")["seconds"]
    known = pd.concat([found["contrasts"], found["other_contrasts"]])
    pairs = known.groupby(["arm", "reference"])
    if (_OURS, DEFAULT) in pairs.groups:
        told = describe_difference(pairs.get_group((_OURS, DEFAULT)))
        text += f" It was chosen before these runs; against {_name(DEFAULT)} it is {told}."
    graphs = [pairs.get_group(pair) for pair in _SHUFFLED if pair in pairs.groups]
    idle = graphs and not any((verdicts(pair) == "better").any() for pair in graphs)
    if not idle or (_OURS, _REHEARSAL) not in pairs.groups:
        return text
    alone = pairs.get_group((_OURS, _REHEARSAL))
    if not (verdicts(alone) == "better").any():
        text += (
            " No gain from the graphs themselves is shown, so `generator=None` (rehearsal alone) "
            f"is a fair choice where time is short: {seconds[_REHEARSAL]:.0f} s a run in place of "
            f"{seconds[_OURS]:.0f} s. The default, against it, is {describe_difference(alone)}."
        )
    return text
