"""The engine and its store: resuming, failing, dying workers, stopping, merging, bad files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import grimp
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from causalmix.benchmarks import engine
from causalmix.benchmarks import store as store_module
from causalmix.benchmarks.engine import Kind, Run, code_hash, compute
from causalmix.benchmarks.merging import merge_stores
from causalmix.benchmarks.store import COLUMNS, Store, compare_outcomes
from causalmix.benchmarks.traits import read_traits
from causalmix.cli import main
from causalmix.data.dataset import TabularDataset
from causalmix.errors import CausalMixError

HERE = Path(__file__).resolve().parents[1]
QUICK = Kind("benchmarks.made_runs:perform", ("errors",))
SPLITS = Kind(
    "benchmarks.made_runs:perform", ("errors",), "benchmarks.made_runs:prepare", ("split",)
)


def rows_of(store: Store) -> dict[str, dict[str, object]]:
    """Return the rows of a store, but for when, where and how fast they were made."""
    places = {"device", "seconds", "timings", "versions", "commit", "finished"}
    keys = [key for status in ("ok", "failed") for key in store.runs(status=status).index]
    return {key: {n: v for n, v in store[key].items() if n not in places} for key in keys}


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    monkeypatch.setitem(engine.KINDS, "quick", QUICK)
    monkeypatch.setitem(engine.KINDS, "splits", SPLITS)


def table(n: int) -> TabularDataset:
    frame = pd.DataFrame({"x": np.arange(n) / 4, "target": ["a", "b"] * (n // 2)})
    return TabularDataset.from_frame(frame, "target")


def numbers(n: int, **settings: object) -> list[Run]:
    return [Run("quick", {"number": i} | settings, label=f"number {i}") for i in range(n)]


def test_a_row_has_settings_outcome_curves_and_origin(tmp_path):
    runs = [Run("quick", {"number": 3, "data": "h"}, "six")]
    done = compute(runs, Store(tmp_path / "store"), {"six": table(6)})
    assert (done.done, done.failed, done.missing) == (1, 0, 0)
    store = Store(tmp_path / "store")
    (row,) = store.runs("quick").to_dict("records")
    assert (row["number"], row["square"], row["rows"]) == (3, 9, 6)
    assert row["device"].startswith("cpu, ")  # and which: another rounds otherwise
    if (told := Path("/proc/cpuinfo")).exists():  # of Linux
        names = re.findall(r"model name\s*: (.*)", told.read_text())
        assert all(name in row["device"] for name in names[:1])
    curves = store.curves([runs[0].key])
    assert curves["loss"].tolist() == [1.0, 0.25]
    stored = store[runs[0].key]
    assert json.loads(stored["versions"])["torch"]
    assert json.loads(stored["timings"]) == {"part": 0.5}
    assert store.runs("splits").empty


def test_what_is_there_is_not_made_again(tmp_path, monkeypatch):
    store = Store(tmp_path)
    compute(numbers(3), store, {})
    made = []
    monkeypatch.setattr(engine, "perform", lambda run, *_: made.append(run.label) or row_of(run))
    assert compute(numbers(5), Store(tmp_path), {}).done == 5
    assert made == ["number 3", "number 4"]


def row_of(run: Run, **changes: object) -> dict[str, object]:
    row = dict.fromkeys(COLUMNS, "{}") | {"key": run.key, "kind": run.kind, "status": "ok"}
    return row | {"seconds": 1.0, "finished": time.time(), "error": None, "curves": None} | changes


def test_the_key_changes_with_all_that_decides_and_nothing_else(monkeypatch):
    run = Run("quick", {"number": 1, "config": {"b": 1, "a": 2}})
    same = Run("quick", {"config": {"a": 2, "b": 1}, "number": 1}, "t", {"file": "f"}, "l", 9)
    assert run.key == same.key
    other = Run("quick", {"number": 1, "config": {"b": 1, "a": 3}})
    assert len({run.key, other.key, Run("splits", run.settings).key}) == 3
    before = run.key
    monkeypatch.setitem(engine.KINDS, "quick", Kind(QUICK.perform, ("atomic",)))
    assert run.key != before


def test_comments_and_docstrings_are_no_code_and_embedded_weights_are(tmp_path, monkeypatch):
    room = tmp_path / "causalmix" / "room"
    room.mkdir(parents=True)
    monkeypatch.setattr(engine, "__file__", str(room.parent / "benchmarks" / "engine.py"))

    def hashed(text: str) -> str:
        (room / "a.py").write_text(text)
        code_hash.cache_clear()
        return code_hash(("room",))

    first = hashed("def f(x):\n    return x + 1\n")
    assert hashed('"""Text."""\n\n\ndef f(x):\n    """More."""\n    return x + 1  # why\n') == first
    assert hashed("def f(x):\n    return x + 2\n") != first
    (room / "model.safetensors").write_bytes(b"weights")  # that generators draw from
    assert hashed("def f(x):\n    return x + 1\n") != first
    code_hash.cache_clear()


AROUND = {
    "finetuning/metrics",
    "scm/random_scm",
}  # of the comparison; of tables, known by their data


@pytest.mark.parametrize(
    "kind",
    ["finetuning", "known_models", "rules", "csuite", "discovery", "published_discovery"],
)
def test_a_key_covers_the_rooms_that_a_run_imports(kind):
    performed = engine.KINDS[kind].perform.partition(":")[0]
    imported = grimp.build_graph("causalmix").find_upstream_modules(performed)
    parts = {name.removeprefix("causalmix.").replace(".", "/") for name in imported}
    covered = engine.KINDS[kind].code
    missing = {p for p in parts if not any(f"{p}/".startswith(f"{part}/") for part in covered)}
    rooms = ("data/", "tfm/", "prior/", "discovery/", "scm/", "generation/", "finetuning/")
    assert {part for part in missing if part.startswith(rooms)} <= AROUND
    plumbing = {"engine", "store", "timing", "rows", "comparison", "rule_summary", "alternatives"}
    plumbing |= {"csuite_data"}  # tables too
    assert {p for p in missing if "benchmarks/" in p} <= {f"benchmarks/{p}" for p in plumbing}


def test_a_failed_run_is_a_row_with_its_traceback_and_made_again_on_request(tmp_path):
    runs = [*numbers(2), Run("quick", {"number": 7, "fails": True})]
    store = Store(tmp_path)
    assert compute(runs, store, {}).failed == 1
    error = Store(tmp_path).runs(status="failed")["error"].iloc[0]
    assert "ValueError: number 7 is refused" in error
    assert "Traceback" in error
    assert 'File "causalmix/benchmarks/engine.py"' in error
    assert compute(runs, store, {}).failed == 1
    store.add(row_of(runs[2], outcome='{"square": 49}'))  # made elsewhere
    assert compute(runs, store, {}, retry=True).failed == 0


def test_what_runs_share_is_prepared_once_and_its_failure_is_theirs(tmp_path):
    log = tmp_path / "log"
    runs = [
        Run("splits", {"number": i, "split": split}, places={"log": str(log)})
        for split in (0, 1, -1)
        for i in range(3)
    ]
    store = Store(tmp_path / "store")
    done = compute(runs, store, {})
    assert (done.done, done.failed) == (6, 3)
    assert log.read_text().split() == ["0", "1"]
    assert store.runs()["prepared"].tolist() == store.runs()["split"].tolist()
    assert store.runs(status="failed")["error"].str.contains("no such split").all()


def test_dask_gives_the_same_store_and_a_worker_that_dies_costs_its_run_only(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]))
    runs = numbers(8)
    log = {"log": str(tmp_path / "log")}
    runs += [Run("splits", {"number": i, "split": 0}, "six", log) for i in range(2)]
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    compute(runs, here, {"six": table(6)})
    killer = Run("quick", {"number": 1, "kills": True})
    done = compute([*runs[:4], killer, *runs[4:]], there, {"six": table(6)}, workers=2)
    assert (done.done, done.failed) == (10, 1)
    assert "KilledWorker" in there.runs(status="failed")["error"].iloc[0]
    for run in runs:
        assert there[run.key]["outcome"] == here[run.key]["outcome"]
        assert there[run.key]["curves"] == here[run.key]["curves"]


SCRIPT = """
import sys
from pathlib import Path
from causalmix.benchmarks import engine
from causalmix.benchmarks.engine import Kind, Run, compute
from causalmix.benchmarks.store import Store
class Telling(Store):
    def add(self, row):
        super().add(row)
        print("made", flush=True)
if __name__ == "__main__":
    engine.KINDS["quick"] = Kind("benchmarks.made_runs:perform", ("errors",))
    runs = [Run("quick", {"number": i}, places={"seconds": 0.2}) for i in range(12)]
    compute(runs, Telling(sys.argv[1]), {}, workers=int(sys.argv[2]), progress=True)
"""


def start(folder: Path, workers: int) -> subprocess.Popen:
    script = folder.parent / "script.py"
    script.write_text(SCRIPT)
    path = os.pathsep.join([str(HERE), *sys.path])
    command = [sys.executable, str(script), str(folder), str(workers)]
    return subprocess.Popen(
        command,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a group of its own, as a terminal's command has
        # A shell's background jobs ignore it, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


@pytest.mark.parametrize(
    ("workers", "how"),
    [(0, signal.SIGINT), (0, signal.SIGTERM), (1, signal.SIGKILL)],
)
def test_a_benchmark_that_is_stopped_goes_on_to_the_same_store(tmp_path, workers, how):
    whole = Store(tmp_path / "whole")
    compute(numbers(12), whole, {})
    folder = tmp_path / "stopped"
    first = start(folder, workers)
    assert first.stdout.readline() == "made\n"
    first.send_signal(how)
    assert first.wait(30) != 0
    again = Store(folder)
    assert (how != signal.SIGKILL) <= len(again) < 12
    assert compute(numbers(12), again, {}, workers=workers).done == 12
    assert rows_of(Store(folder)) == rows_of(whole)


def test_ctrl_c_reaches_all_processes_and_one_line_says_what_is_kept(tmp_path):
    first = start(tmp_path / "stopped", workers=1)
    assert first.stdout.readline() == "made\n"
    os.killpg(first.pid, signal.SIGINT)
    said = first.communicate(timeout=60)[1]
    assert first.returncode != 0
    assert said.count("Traceback") == 1  # of the script itself
    assert "distributed" not in said.partition("Traceback")[0]
    assert f"Stopped. What is done is kept in {tmp_path / 'stopped'}." in said
    assert len(Store(tmp_path / "stopped")) >= 1


CLUSTER = """
import time
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        time.sleep(120)
"""


def test_any_scheduler_gives_the_same_store_and_one_that_dies_costs_nothing_done(tmp_path):
    whole, store = Store(tmp_path / "whole"), Store(tmp_path / "store")
    compute(numbers(12), whole, {})
    (tmp_path / "cluster.py").write_text(CLUSTER)
    path = os.pathsep.join([str(HERE), *sys.path])
    cluster = subprocess.Popen(
        [sys.executable, str(tmp_path / "cluster.py")],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        address = cluster.stdout.readline().strip()
        assert compute(numbers(4), store, {}, scheduler=address).done == 4
        slow = [Run("quick", {"number": i}, places={"seconds": 0.5}) for i in range(12)]
        killer = threading.Timer(2.0, lambda: os.killpg(cluster.pid, signal.SIGKILL))
        killer.start()
        with pytest.raises(CausalMixError, match="went away"):
            compute(slow, store, {}, scheduler=address)
        killer.join()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(cluster.pid, signal.SIGKILL)
        cluster.wait()
    again = Store(tmp_path / "store")
    assert 4 <= len(again) < 12
    assert compute(numbers(12), again, {}).done == 12
    assert rows_of(again) == rows_of(whole)


def test_small_files_are_put_together_without_a_loss(tmp_path):
    store = Store(tmp_path)
    for run in numbers(40):
        store.add(row_of(run))
        store.flush()
    assert len(list(tmp_path.glob("part-*"))) <= 25
    other = Store(tmp_path)
    assert len(other) == 40
    other.compact()
    assert len(list(tmp_path.glob("part-*"))) == 1
    assert rows_of(Store(tmp_path)) == rows_of(store)


def test_two_programs_write_to_one_folder(tmp_path):
    one, two = Store(tmp_path), Store(tmp_path)
    for k, run in enumerate(numbers(6)):
        (one if k % 2 else two).add(row_of(run))
    one.compact()
    two.compact()
    assert len(Store(tmp_path)) == 6


def test_files_that_are_put_together_while_a_store_is_opened_are_read(tmp_path, monkeypatch):
    for run in numbers(3):
        store = Store(tmp_path)
        store.add(row_of(run))
        store.flush()
    read = store_module._read_part
    others = iter([lambda: Store(tmp_path).compact()])

    def interrupted(path):
        found = read(path)
        next(others, lambda: None)()
        return found

    monkeypatch.setattr(store_module, "_read_part", interrupted)
    assert len(Store(tmp_path)) == 3


def test_of_two_failures_the_later_is_told_by_the_line_that_names_it(tmp_path):
    (run,) = numbers(1)
    store = Store(tmp_path)
    traces = ["OSError: no room", "pkg.ValidationError: 1 value\nmembers\n  no number\n  See https"]
    for when, trace in enumerate(traces):
        store.add(row_of(run, status="failed", error=f"Traceback:\n{trace}", finished=float(when)))
    assert store.why(run.key) == "pkg.ValidationError: 1 value"


def test_the_earlier_of_two_rows_stays_and_differences_are_named(tmp_path):
    first, second = Store(tmp_path / "a"), Store(tmp_path / "b")
    run, near, only = numbers(3)
    first.add(row_of(run, outcome='{"auc": 0.9, "step": 4}', finished=1.0))
    second.add(row_of(run, outcome='{"auc": 0.7, "step": 4}', finished=2.0, device="cuda"))
    first.add(row_of(near, outcome='{"auc": 0.8}', finished=2.0))
    second.add(row_of(near, outcome='{"auc": 0.8004}', finished=1.0))
    second.add(row_of(only))
    (found,) = first.merge(second)
    assert (found.key, found.name, found.first, found.second) == (run.key, "auc", 0.9, 0.7)
    again = Store(tmp_path / "a")
    assert len(again) == 3
    assert again.runs()["auc"].dropna().tolist() == [0.9, 0.8004]
    assert len(first.merge(second, tolerance=0.3)) == 0


def stored(folder: Path, *numbered: Run, plan: str = "splits: 2\n", traits: str = "a") -> Path:
    store = Store(folder)
    for run in numbered:
        store.add(row_of(run))
    store.flush()
    (folder / "paper-1.yml").write_text(plan)
    (folder / "tables.csv").write_text(
        f"dataset,data,rows,features,categorical,classes\n{traits},0,9,2,0.5,2\n"
    )
    return folder


def test_stores_are_merged_with_their_plans_and_tables(tmp_path):
    runs = numbers(3)
    one, two = stored(tmp_path / "1", *runs[:2]), stored(tmp_path / "2", *runs[1:], traits="b")
    failed = Store(tmp_path / "new")
    failed.add(row_of(runs[0], status="failed", error="ValueError: no"))
    failed.flush()
    assert merge_stores(tmp_path / "new", [one, two]) == (3, [])
    assert len(Store(tmp_path / "new")) == 3
    assert (tmp_path / "new" / "paper-1.yml").read_text() == "splits: 2\n"
    assert list(read_traits(tmp_path / "new")["dataset"]) == ["a", "b"]
    other = Store(tmp_path / "3")
    other.add(row_of(runs[0], outcome='{"square": 7}', finished=9e9))
    other.flush()
    said = CliRunner().invoke(main, ["merge", str(one), str(tmp_path / "3")])
    assert said.exit_code == 1
    assert f"{runs[0].key} differs in square: None was kept, not 7." in said.output
    rows = [
        row_of(runs[0], outcome=json.dumps(each))
        for each in (
            {"auc": 0.7002, "reason": "from 0.5183"},
            {"auc": 0.7001, "reason": "from 0.5185"},
        )
    ]
    assert compare_outcomes(*rows, 1e-3) == []  # the reason says numbers in words
    assert [each.name for each in compare_outcomes(*rows, 1e-6)] == ["auc"]


def test_stores_of_different_benchmarks_are_kept_apart(tmp_path):
    one = stored(tmp_path / "1", *numbers(1))
    two = stored(tmp_path / "2", *numbers(2), plan="splits: 3\n")
    with pytest.raises(CausalMixError, match=r"2/paper-1\.yml is another plan than .*1/paper"):
        merge_stores(one, [two])
    with pytest.raises(CausalMixError, match=r"nothing has no runs"):
        merge_stores(one, [two, tmp_path / "nothing"])
    assert len(Store(one)) == 1


def test_a_damaged_file_is_named_and_the_rest_read(tmp_path):
    store = Store(tmp_path)
    store.add(row_of(numbers(1)[0]))
    store.flush()
    (path,) = tmp_path.glob("part-*")
    broken = path.with_name("part-broken.parquet")
    broken.write_bytes(path.read_bytes()[:-20])
    with pytest.warns(UserWarning, match=r"part-broken\.parquet is damaged"):
        assert len(Store(tmp_path)) == 1
    assert broken.exists()
    pd.DataFrame({"a": [1]}).to_parquet(broken)
    with pytest.warns(UserWarning, match=r"part-broken\.parquet is no file of a store"):
        assert len(Store(tmp_path)) == 1


def test_no_byte_can_be_changed_unseen(tmp_path):
    store = Store(tmp_path / "whole")
    store.add(row_of(numbers(1)[0]))
    store.flush()
    (path,) = (tmp_path / "whole").glob("part-*")
    whole = path.read_bytes()
    for position in range(4, len(whole), 97):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        folder = tmp_path / str(position)
        folder.mkdir()
        (folder / "part-1.parquet").write_bytes(flipped)
        with warnings.catch_warnings(record=True) as told, suppress(CausalMixError):
            warnings.simplefilter("always")
            assert rows_of(Store(folder)) == rows_of(store) or told, position


def test_a_store_of_another_version_is_refused(tmp_path):
    table = pa.table({"key": ["a"]}).replace_schema_metadata({"causalmix_store": "9"})
    pq.write_table(table, tmp_path / "part-1.parquet")
    with pytest.raises(CausalMixError, match="version 9 of the store's format"):
        Store(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CausalMixError, match="is a file"):
        Store(tmp_path / "file")


def test_no_run_begins_that_would_end_too_late(tmp_path):
    slow = [Run("quick", {"number": i}, places={"seconds": 0.3}) for i in range(20)]
    done = compute(slow, Store(tmp_path), {}, hours=1 / 3600)
    assert 1 <= done.done <= 3
    assert done.missing == 20 - done.done


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "localhost", "nonsense://host:1"])
def test_a_scheduler_that_does_not_answer_is_named(address, monkeypatch):
    monkeypatch.setattr(engine, "_ANSWERS_WITHIN", "1s")
    with pytest.raises(CausalMixError, match=f"No Dask scheduler answers at {address}"):
        compute(numbers(1), Store(), {}, scheduler=address)


def test_a_finished_run_does_not_wait_for_the_next_one_to_end(tmp_path, monkeypatch):
    """Which may be hours away: a kill costs the rows of the last seconds at most."""
    monkeypatch.setattr("causalmix.benchmarks.store.FLUSH_SECONDS", 0.2)
    store = Store(tmp_path / "store")
    for run in numbers(3):
        store.add(row_of(run))
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and len(Store(tmp_path / "store")) < 3:
        time.sleep(0.05)
    assert len(Store(tmp_path / "store")) == 3
