"""The rooms of the package: imports run along the pipeline, and faces offer what they name."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import causalmix

ROOT = Path(__file__).resolve().parents[1]
ROOMS = [info.name for info in pkgutil.iter_modules(causalmix.__path__) if info.ispkg]


def test_imports_run_along_the_pipeline():
    lint = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    done = subprocess.run(lint, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_a_face_offers_all_that_it_names(room):
    face = importlib.import_module(f"causalmix.{room}".rstrip("."))
    assert face.__all__
    assert dir(face) == sorted(face.__all__)
    assert all(getattr(face, name) is not None for name in face.__all__)
