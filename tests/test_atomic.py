"""Files written in one step: a kill leaves the old content, and the next write tidies up."""

from __future__ import annotations

import os
import signal

import pytest

from causalmix.atomic import hidden_content, replace_file
from causalmix.errors import CausalMixError


def write_half_and_die(path):
    path.write_text("ne")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process to kill")
def test_a_kill_leaves_the_old_file_and_the_next_write_tidies_up(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old")
    child = os.fork()
    if child == 0:
        try:
            replace_file(path, write_half_and_die)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert path.read_text() == "old"
    (half,) = hidden_content(path)
    other = tmp_path / f"{half.name}.gz"  # of another file
    other.touch()
    for hidden in (half, other):
        os.utime(hidden, (0, 0))
    replace_file(path, lambda temporary: temporary.write_text("new"))
    assert path.read_text() == "new"
    assert sorted(tmp_path.iterdir()) == [other, path]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old")

    def fail(temporary):
        temporary.write_text("ne")
        raise OSError("disk full")

    with pytest.raises(CausalMixError, match=r"log\.csv cannot be written: disk full\.$"):
        replace_file(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
