"""Every writer in real processes that are killed, run out of disk, may not write, or are two."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from made_checkpoints import write_official
from nbformat.v4 import new_markdown_cell, new_notebook

from causalmix.atomic import check_writable, hidden_content, replace_folder, sole_writer
from causalmix.benchmarks.store import COLUMNS, Store
from causalmix.data.files import read_table
from causalmix.discovery.edge_probabilities import EdgeProbabilities
from causalmix.errors import CausalMixError
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.pretraining.heldout import content_hash, read_tasks, write_tasks
from causalmix.prior.tasks import TaskBatch
from causalmix.publishing.notebooks import run_notebook, save_notebook
from causalmix.tfm.model import load_tfm

resource = pytest.importorskip("resource", reason="needs limits of a process")
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes to break")

BIG = 40_000  # characters of content, more than `LITTLE` bytes
LITTLE = 8192


def edges(k):
    names = tuple(f"{'x' * BIG}{j}" for j in range(2))
    return EdgeProbabilities(names, np.array([[0, k / 10], [0, 0]]), pd.DataFrame(columns=["mark"]))


def batches(k):
    return [TaskBatch(torch.full((5000, 1, 1), float(k)), torch.zeros(5000, 1), 3)]


def folder_of(k):
    def write(new):
        for name in ("a.html", "deep/b.html"):
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_text(str(k) * BIG)

    return write


def read_folder(path):
    texts = {file.read_text()[0] for file in path.rglob("*.html")}
    assert len(texts) == 1  # of one writer
    return int(texts.pop())


@pytest.fixture(scope="module")
def classifiers(tmp_path_factory):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    tfm = write_official("tabpfn_v3", tmp_path_factory.mktemp("tfm"))
    settings = {"tfm": tfm, "n_estimators": 1, "steps": 0, "device": "cpu", "generator": None}
    return [CausalMixClassifier(**settings, random_state=k).fit(X, X["a"] > k / 9) for k in (1, 2)]


# By name: the ending of the path, a writer of content k, and a reader that returns k.
WRITERS = {
    "edge probabilities": (
        ".json",
        lambda path, k: edges(k).save(path),
        lambda path: round(EdgeProbabilities.load(path).matrix[0, 1] * 10),
    ),
    "tasks": (
        ".safetensors",
        lambda path, k: write_tasks(path, batches(k)),
        lambda path: int(read_tasks_of(path)),
    ),
    "notebook": (
        ".ipynb",
        lambda path, k: save_notebook(new_notebook(cells=[new_markdown_cell(str(k) * BIG)]), path),
        lambda path: int(nbformat.read(path, as_version=4).cells[0].source[0]),
    ),
    "book": ("", lambda path, k: replace_folder(path, folder_of(k)), read_folder),
    "model": (
        "",
        lambda path, k: MODELS[k - 1].save(path),
        lambda path: CausalMixClassifier.load(path, device="cpu").random_state,
    ),
}
MODELS: list[CausalMixClassifier] = []


def read_tasks_of(path):
    for k in (1, 2):
        try:
            return read_tasks(path, content_hash(batches(k))) and k
        except CausalMixError:
            continue
    raise AssertionError(f"{path} is neither of the two")


@pytest.fixture(params=WRITERS)
def writer(request, classifiers, tmp_path):
    MODELS[:] = classifiers
    ending, write, read = WRITERS[request.param]
    return tmp_path / f"result{ending}", write, read


def child(work, *, file_size=None, at_step=None, by=signal.SIGKILL):
    """Do some work in another process; return how it ended, and what it said of a refusal."""
    receive, send = os.pipe()
    process = os.fork()
    if process:
        os.close(send)
        with os.fdopen(receive) as pipe:
            said = pipe.read()
        return os.waitpid(process, 0)[1], said
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if file_size is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # an error in place of a signal
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
        if at_step is not None:
            break_at(at_step, by)
        work()
        os._exit(0)
    except CausalMixError as error:
        os.write(send, str(error).encode())
        os._exit(2)
    finally:
        os._exit(1)


def break_at(step, by):
    """Send this process a signal before its n-th call that brings something to the disk."""
    left = [step]

    def breaking(call):
        def counted(*arguments):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), by)
            return call(*arguments)

        return counted

    for name in ("fsync", "replace"):
        setattr(os, name, breaking(getattr(os, name)))


@pytest.mark.parametrize("signals", [(signal.SIGKILL, signal.SIGTERM), (signal.SIGINT,)])
def test_an_end_at_any_step_leaves_the_old_or_the_new_one(writer, signals):
    path, write, read = writer
    write(path, 1)
    for step in range(1, 30):
        by = signals[step % len(signals)]
        status, _ = child(lambda: write(path, 2), at_step=step, by=by)
        left = hidden_content(path)
        if by == signal.SIGINT:
            assert not left  # it has tidied up
        if not path.exists():  # between the two names of a folder: both are there, under others
            assert len(left) == 2
            (old,) = (other for other in left if "-old-" in other.name)
            old.rename(path)
        assert read(path) in (1, 2)
        write(path, 1)
        assert (read(path), hidden_content(path)) == (1, [])
        if status == 0:
            break
    assert 3 < step < 29
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_full_disk_is_told_with_the_path_and_leaves_the_old_one(writer, monkeypatch):
    path, write, read = writer
    monkeypatch.setattr(tempfile, "tempdir", str(path.parent))
    status, said = child(lambda: write(path, 1), file_size=LITTLE)
    assert os.waitstatus_to_exitcode(status) == 2
    assert f"{path} cannot be written: File too large. Make room on the disk of" in said
    assert list(path.parent.iterdir()) == []
    write(path, 1)  # nothing is in the way
    status, said = child(lambda: write(path, 2), file_size=LITTLE)
    assert f"{path} cannot be written" in said
    assert read(path) == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_of_two_writers_at_a_time_one_wins_whole(writer):
    path, write, read = writer
    write(path, 1)
    others = []
    for k in (1, 2):
        if not (process := os.fork()):
            try:
                for _ in range(8):
                    write(path, k)
                os._exit(0)
            finally:
                os._exit(1)
        others.append(process)
    assert [os.waitpid(process, 0)[1] for process in others] == [0, 0]
    assert read(path) in (1, 2)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def as_nobody(work):
    """Do some work without the rights of an administrator, whom no folder refuses."""

    def other():
        if os.geteuid() == 0:
            os.setuid(65534)
        work()

    return other


@pytest.fixture
def locked_folder():
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_without_rights_is_told(writer, locked_folder):
    path, write, _ = writer
    status, said = child(as_nobody(lambda: write(locked_folder / path.name, 1)))
    assert os.waitstatus_to_exitcode(status) == 2
    assert f"{locked_folder / path.name} cannot be written: Permission denied." in said


@pytest.mark.parametrize("name", ["deep/er/result.csv", "result.csv"])
def test_where_nothing_can_be_written_is_found_beforehand(locked_folder, name):
    status, said = child(as_nobody(lambda: check_writable(locked_folder / name)))
    assert os.waitstatus_to_exitcode(status) == 2
    assert (
        f"{locked_folder / name} cannot be written: {locked_folder} may not be written to" in said
    )
    status, said = child(as_nobody(lambda: run_notebook("01", output=locked_folder / "a.ipynb")))
    assert "a.ipynb cannot be written" in said


def test_a_second_run_in_a_folder_is_refused_while_the_first_one_lives(tmp_path):
    receive, send = os.pipe()
    first = os.fork()
    if not first:
        with sole_writer(tmp_path):
            if not os.fork():  # a worker, which outlives its parent and holds no lock
                signal.alarm(3)
                signal.pause()
            os.write(send, b"x")
            signal.alarm(30)
            signal.pause()
    os.read(receive, 1)
    with (
        pytest.raises(CausalMixError, match="Another process is writing into"),
        sole_writer(tmp_path),
    ):
        pass
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    with sole_writer(tmp_path):
        assert list(tmp_path.iterdir()) == []


def test_a_store_survives_a_full_disk(tmp_path):
    row = dict.fromkeys(COLUMNS, "{}") | {"status": "ok", "seconds": 1.0, "finished": 1.0}
    noise = np.random.default_rng(0).bytes(BIG).hex()  # which does not compress

    def add(key, text):
        store = Store(tmp_path / "rows.runs")
        store.add(row | {"key": key, "outcome": text})
        store.flush()

    status, said = child(lambda: add("long", noise), file_size=LITTLE)
    assert os.waitstatus_to_exitcode(status) == 2
    assert "rows.runs" in said
    assert "cannot be written" in said
    add("a", "{}")
    child(lambda: add("long", noise), file_size=LITTLE)
    assert [*Store(tmp_path / "rows.runs").runs().index] == ["a"]
    assert len(list((tmp_path / "rows.runs").iterdir())) == 1


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_names_that_no_system_takes_are_told(writer, name):
    path, write, _ = writer
    odd = path.with_name(name + path.suffix)
    calls = {
        "write": lambda: write(odd, 1),
        "check": lambda: check_writable(odd),
        "model": lambda: CausalMixClassifier.load(odd),
        "edges": lambda: EdgeProbabilities.load(odd),
        "tasks": lambda: read_tasks(odd),
        "checkpoint": lambda: load_tfm(odd.with_suffix(".ckpt")),
    }
    for call in calls.values():
        with pytest.raises(CausalMixError, match=r"too long|null byte|No such|No checkpoint"):
            call()


def test_a_name_as_long_as_the_system_takes_is_written(writer):
    path, write, read = writer
    long = path.with_name("x" * (255 - len(path.suffix)) + path.suffix)
    write(long, 1)
    write(long, 2)
    assert read(long) == 2
    assert [file.name for file in path.parent.iterdir()] == [long.name]


DAMAGE = [b"", b"{", b"\xff\xfe\x00", b"[1, 2]", b"[" * 100_000]


@pytest.mark.parametrize("content", DAMAGE)
def test_damaged_files_are_named(tmp_path, classifiers, content):
    folder = classifiers[0].save(tmp_path / "model")
    readers = {
        folder / "classifier.json": lambda file: CausalMixClassifier.load(file.parent),
        tmp_path / "edges.json": EdgeProbabilities.load,
        tmp_path / "tasks.safetensors": lambda file: read_tasks(file, ""),
        tmp_path / "model.safetensors": load_tfm,
        tmp_path / "model.ckpt": load_tfm,
    }
    for file, read in readers.items():
        file.write_bytes(content)
        with pytest.raises(CausalMixError, match=file.name.replace(".", r"\.")):
            read(file)


def without_files(work):
    """Do some work in this process where no further file can be opened."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    with contextlib.suppress(OSError):
        while True:
            os.dup(0)
    work()


def test_no_file_left_to_open_is_told(writer, tmp_path):
    path, write, read = writer
    write(path, 1)
    (tmp_path / "t.csv").write_text("a,target\n1,x\n2,y\n")
    for work in (lambda: write(path, 2), lambda: read_table(tmp_path / "t.csv")):
        status, said = child(lambda work=work: without_files(work))
        assert os.waitstatus_to_exitcode(status) == 2, said
        assert "Too many open files" in said
    assert read(path) == 1


def test_a_folder_that_is_gone_is_told(writer, tmp_path):
    path, write, _ = writer

    def work():
        (tmp_path / "gone").mkdir()
        os.chdir(tmp_path / "gone")
        os.rmdir(tmp_path / "gone")
        write(Path(path.name), 1)

    status, said = child(work)
    assert os.waitstatus_to_exitcode(status) == 2, said
    assert path.name in said
