"""What is left of running notebooks when the process that started them is ended or killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
SLEEPS = (
    "import os, pathlib, time\n"
    "pathlib.Path('{stem}').write_text(f'{{os.getpid()}} {{os.getppid()}}\\n')\n"
    "time.sleep(120)"
)
RUN = """
import signal
from pathlib import Path
from causalmix.publishing.execution import plan, run_notebooks
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job has it ignored
    run_notebooks(plan({}, smoke=False, root=Path.cwd()), Path.cwd(), 1, print)
"""


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def runs(pid):
    """Whether a process runs; one that nobody has asked for its end does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_runs_on_and_no_queued_notebook_starts(tmp_path, ending):
    for stem in ("01_one", "02_two"):
        cells = [
            new_code_cell("k: int = 0  # a number", metadata={"tags": ["parameters"]}),
            new_code_cell(SLEEPS.format(stem=stem)),
        ]
        (tmp_path / "notebooks").mkdir(exist_ok=True)
        path = tmp_path / "notebooks" / f"{stem}.ipynb"
        nbformat.write(new_notebook(cells=cells, metadata=KERNEL), path)
    (tmp_path / "run.py").write_text(RUN)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "run.py"],
        cwd=tmp_path,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pids = [process.pid]
    try:
        started = tmp_path / "01_one"
        assert wait_for(lambda: started.exists() and started.read_text().endswith("\n"))
        pids += [int(pid) for pid in started.read_text().split()]
        if ending == signal.SIGINT:  # as Ctrl-C in a terminal: all of the foreground's processes
            os.killpg(process.pid, ending)
        else:
            process.send_signal(ending)
        assert process.wait(timeout=20) != 0
        assert wait_for(lambda: not any(map(runs, pids)), 20)
        assert not (tmp_path / "02_two").exists()
    finally:
        for pid in filter(runs, pids):
            os.kill(pid, signal.SIGKILL)


SLOW = """
import os, pathlib, time
pathlib.Path({pid!r}).write_text(f'{{os.getpid()}}\\n')
time.sleep(120)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_rendering_ends_with_the_process_that_started_it(tmp_path, ending):
    started = tmp_path / "pid"
    (tmp_path / "slow.py").write_text(SLOW.format(pid=str(started)))
    (tmp_path / "intro.md").write_text("# Intro\n")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: intro\n")
    (tmp_path / "_config.yml").write_text(
        "title: Small\nsphinx:\n  local_extensions:\n    slow: '.'\n"
    )
    code = (
        "from pathlib import Path\n"
        "from causalmix.publishing.book import render\n"
        "render(Path.cwd(), Path('out').absolute())"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        stderr=subprocess.DEVNULL,
    )
    pids = [process.pid]
    try:
        assert wait_for(lambda: started.exists() and started.read_text().endswith("\n"))
        pids.append(int(started.read_text()))
        process.send_signal(ending)
        assert process.wait(timeout=20) != 0
        assert wait_for(lambda: not any(map(runs, pids)), 20)
    finally:
        for pid in filter(runs, pids):
            os.kill(pid, signal.SIGKILL)
