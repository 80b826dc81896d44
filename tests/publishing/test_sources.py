"""Where tables and figures come from: what the pages say is what plans and manifests hold."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from chapters import MISSING

from causalmix.benchmarks.plan import read_plan
from causalmix.errors import CausalMixError
from causalmix.publishing.privacy import fill_privacy
from causalmix.publishing.tables import fill_tables

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "results"
RERUN = (ROOT / "book" / "rerun.md").read_text(encoding="utf-8")


def manifest(name: str) -> dict:
    return json.loads((RESULTS / f"{name}_manifest.json").read_text())


def rows() -> dict[str, dict[str, str]]:
    with (RESULTS / "tables" / "measuring.csv").open(newline="") as file:
        return {row["table"]: row for row in csv.DictReader(file)}


def test_every_measuring_table_has_a_source_a_licence_and_its_content():
    listed = rows()
    used = manifest("tfm/evaluation")["data"] | manifest("tfm/small")["data"]
    assert set(listed) == set(used)
    for name, row in listed.items():
        assert row["source"], name
        assert row["licence"], name
        assert used[name].startswith(row["content"]), name


def test_the_page_lists_every_one(tmp_path):
    page = shutil.copy(ROOT / "book" / "tables.md", tmp_path / "tables.md")
    fill_tables(Path(page), RESULTS)
    text = Path(page).read_text(encoding="utf-8")
    assert "{{" not in text
    assert not MISSING.search(text)
    for name, row in rows().items():
        line = next(line for line in text.splitlines() if line.startswith(f"| `{name}`; "))
        assert row["content"] in line
        assert row["licence"] in line


def test_parts_of_the_tables_are_those_of_plan_and_manifests():
    parts = {name: row["part"] for name, row in rows().items()}
    of = {part: {name for name in parts if parts[name] == part} for part in set(parts.values())}
    assert of["benchmark"] == set(read_plan("paper").data)
    assert of["tuning"] == set(manifest("tfm/evaluation")["settings"]["tuning"])
    assert of["earlier choices"] == set(manifest("finetuning/rules")["data"])


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["EARLIER"], "finetuning/rules"),
        (["EARLIER"], "finetuning/splits"),
        (["EARLIER", "OTHERS"], "generation/utility"),
    ],
)
def test_commands_name_the_tables_of_the_manifests(words, name):
    given = " ".join(re.search(rf'^\$ {word}="(.*)"$', RERUN, re.M)[1] for word in words)
    assert set(given.split()) == set(manifest(name)["data"])
    used = " ".join(f"${word}" for word in words)
    line = next(line for line in RERUN.splitlines() if f"results/{name}.csv" in line)
    assert f"--datasets {used} " in line


def test_every_committed_result_has_a_command():
    made = {p.relative_to(ROOT).with_suffix("") for p in RESULTS.rglob("*.csv")}
    made -= {
        p.parent / p.stem for p in made if p.stem.endswith(("_summary", "_traits", "_comparison"))
    }
    made = {p for p in made if p.parts[1] not in ("pretrain", "tables") and p.name != "tables"}
    pages = RERUN + (ROOT / "book" / "privacy.md").read_text(encoding="utf-8")
    assert not [p for p in made if f"{p.as_posix()}.csv" not in pages]
    stores = {p.parent.relative_to(ROOT).as_posix() for p in RESULTS.rglob("part-*.parquet")}
    for store in (each for each in stores if not each.endswith(".runs")):  # not committed
        assert re.search(rf"\b{Path(store).name}\b", RERUN), store


def test_the_page_on_privacy_is_filled_from_its_runs(tmp_path):
    shutil.copy(ROOT / "book" / "privacy.md", tmp_path / "privacy.md")
    fill_privacy(tmp_path / "privacy.md", RESULTS)
    text = (tmp_path / "privacy.md").read_text(encoding="utf-8")
    assert "{{" not in text
    assert not MISSING.search(text)
    runs = pd.read_csv(RESULTS / "generation" / "privacy.csv")
    found = runs.groupby(["generator", "dataset"])["membership_auc"].mean()
    kept, fresh = (found[name] for name in ("causal", "causal_sampled"))
    assert f"the attack reaches {kept.mean():.2f}, with fresh noise {fresh.mean():.2f}" in text
    assert f"{kept.mean():.2f} ({kept.min():.2f} to {kept.max():.2f})" in text
    assert (kept > fresh).all()  # as the page's advice has it
    assert "--datasets anes96 breast_cancer fair \\\n" in text


def test_missing_figures_on_privacy_are_named(tmp_path):
    with pytest.raises(CausalMixError, match=r"privacy\.csv.*git checkout"):
        fill_privacy(tmp_path / "privacy.md", tmp_path)
