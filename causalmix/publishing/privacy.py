"""The page on privacy: what synthetic rows give away, from the committed runs that measured it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from causalmix.benchmarks.results import read_record, read_result
from causalmix.benchmarks.utility import REAL
from causalmix.generation.causal import CausalGenerator
from causalmix.publishing.blanks import fill_blanks
from causalmix.publishing.markdown import markdown_table
from causalmix.quality.privacy import FALSE_POSITIVES

_KEPT = CausalGenerator().noise_correlation

_LABELS = {
    "causal_close": "CausalMix, noise kept with a correlation of 0.95",
    "causal": f"CausalMix, with one of {_KEPT:g} (default in fine-tuning)",
    "causal_sampled": "CausalMix, all noise fresh (default of `generate`)",
    "causal_paper": "CausalMixFT (paper), all noise fresh",
    "smote_nc": "SMOTE-NC",
    "perturbation": "Row perturbation",
}


def fill_privacy(page: Path, results: Path) -> None:
    """Fill the page on privacy: see `causalmix.publishing.book.fill_page`."""
    rows = read_result(results / "generation" / "privacy.csv")
    manifest = read_record(results / "generation" / "privacy_manifest.json")
    texts = {
        "protocol": lambda: _protocol(manifest),
        "leaks": lambda: _leaks(rows),
        "answer": lambda: _answer(rows),
        "command": lambda: _command(manifest),
    }
    fill_blanks(page, texts, {})


def _protocol(manifest: dict[str, Any]) -> str:
    settings, names = manifest["settings"], sorted(manifest["data"])
    return (
        f"{len(names)} embedded tables ({', '.join(f'`{name}`' for name in names)}), "
        f"{settings['n_train'][0]} rows to learn from, {settings['n_synthetic']:,} synthetic rows, "
        f"{settings['seeds']} splits of each table"
    )


def _by_table(rows: pd.DataFrame) -> pd.DataFrame:
    scores = rows.assign(use=rows[["linear_synthetic", "boosting_synthetic"]].mean(axis=1))
    names = ["membership_auc", "members_found", "use"]
    return scores.groupby(["generator", "dataset"])[names].mean()


def _leaks(rows: pd.DataFrame) -> str:
    found, cells = _by_table(rows), []
    for name, label in (_LABELS | {REAL: "The real rows themselves"}).items():
        if name not in found.index:
            continue
        own = found.loc[name]
        attack = ["given away", ""]
        if name != REAL:
            attack = [_range(own["membership_auc"]), f"{own['members_found'].mean():.0%}"]
        cells.append((label, *attack, f"{own['use'].mean():.3f}"))
    head = ["Rows", "Membership AUC (by table)", "Members found", "ROC-AUC learned from them"]
    return markdown_table(head, cells)


def _range(values: pd.Series) -> str:
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"


def _answer(rows: pd.DataFrame) -> str:
    found = _by_table(rows)
    kept, fresh = (found.loc[name] for name in ("causal", "causal_sampled"))
    above = (kept["membership_auc"] > fresh["membership_auc"]).sum()
    return (
        f"With kept noise ({_KEPT:g}, the default in fine-tuning) the attack reaches "
        f"{kept['membership_auc'].mean():.2f}, with fresh noise "
        f"{fresh['membership_auc'].mean():.2f}; 0.5 is guessing. Kept noise gives more away on "
        f"{above} of {len(kept)} tables. Where {FALSE_POSITIVES:.0%} of the people who were not "
        f"there are taken for members, it finds {kept['members_found'].mean():.0%} of those who "
        f"were, against {fresh['members_found'].mean():.0%} from rows with fresh noise."
    )


def _command(manifest: dict[str, Any]) -> str:
    settings = manifest["settings"]
    options = [
        f"--datasets {' '.join(manifest['data'])}",
        f"--n-train {' '.join(map(str, settings['n_train']))} --seeds {settings['seeds']}",
        f"--generators {' '.join(settings['generators'])}",
        "--out results/generation/privacy.csv",
    ]
    return "$ causalmix benchmark-generation " + " \\\n    ".join(options)
