"""Places that cannot be written are refused before any work, by every command that writes."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from causalmix.atomic import check_writable
from causalmix.cli import main
from causalmix.errors import CausalMixError

# What they would read is not there either: work of any kind would end in another message.
FILES = [
    "predict gone gone.csv --out",
    "generate gone.csv --target y --out",
    "generate gone.csv --target y --out rows.csv --graph-out",
    "evaluate-tfm --data gone --out",
    "benchmark-generation --csuite gone --out",
    "benchmark-generation --data gone --out",
    "benchmark-discovery --csuite gone --out",
    "benchmark-finetuning --data gone --out",
    "compare-published-discovery --csuite gone --out",
]
FOLDERS = [
    "fit gone.csv --target y --out",
    "benchmark smoke --data gone --out",
    "benchmark-structure --csuite gone --out",
    "analyse . --out",
    "book --out",
]
SPEED = [
    "evaluate-tfm --speed --tfm gone --out",
    "benchmark-generation --speed gone --out",
    "benchmark-finetuning --speed --tfm gone --out",
]
ENDINGS = {"run 01 --output": "a.ipynb", "merge": ""} | dict.fromkeys(FILES, "a.csv")
ENDINGS |= dict.fromkeys(FOLDERS, "a") | dict.fromkeys(SPEED, "a.json")


@pytest.mark.parametrize("command", ENDINGS)
@pytest.mark.parametrize("place", ["/proc", "file"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(
    command, place, tmp_path, monkeypatch
):
    if place == "/proc" and not Path(place).is_dir():
        pytest.skip("of Linux")
    (tmp_path / "file").touch()
    (tmp_path / "other").mkdir()
    if not command.startswith(("run", "book")):  # those find the project by the working directory
        monkeypatch.chdir(tmp_path)
    out = str(Path(place if place == "/proc" else tmp_path / "file") / "deep" / ENDINGS[command])
    others = [str(tmp_path / "other")] if command == "merge" else []
    done = CliRunner().invoke(main, [*shlex.split(command), out, *others])
    assert done.exit_code == 2, done.output
    assert f"{out.rstrip('/')} cannot be written: " in done.output.replace("_speed", "")
    assert {path.name for path in tmp_path.iterdir()} == {"file", "other"}


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path):
    before = tmp_path.stat().st_mtime_ns
    for path in (tmp_path / "a.csv", tmp_path / "deep" / "er" / "a.csv"):
        check_writable(path)
    check_writable(tmp_path, folder=True)
    assert not list(tmp_path.iterdir())
    assert tmp_path.stat().st_mtime_ns == before
    with pytest.raises(CausalMixError, match="it is a folder"):
        check_writable(tmp_path)


def test_rows_are_written_to_a_folder_that_is_made(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{'xy'[i % 2]}\n" for i in range(40)))
    out, graph = tmp_path / "made" / "rows.csv", tmp_path / "figures" / "graph.svg"
    command = ["generate", str(table), "--target", "y", "-n", "9", "--out", str(out)]
    done = CliRunner().invoke(main, [*command, "--graph-out", str(graph)])
    assert done.exit_code == 0, done.output
    assert len(out.read_text().splitlines()) == 10
    assert "<svg" in graph.read_text()
