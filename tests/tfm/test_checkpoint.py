"""Checkpoint files: equal content, equal file; settings beside the weights."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import torch
from safetensors.torch import load_file
from tabpfn.checkpoint import Checkpoint

from causalmix.manifest import file_hash
from causalmix.tfm.checkpoint import write_checkpoint
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, load_tfm

CONTENT = {
    "architecture_name": "tabpfn_v3",
    "config": {"b": 1, "a": 2},
    "inference_config": {"y": [1, 2], "x": None},
}
WRITE = f"""
import pathlib, sys, torch
from causalmix.tfm.checkpoint import write_checkpoint
for path in sys.argv[1:]:
    weights = {{"w": torch.arange(3.0), "v": torch.ones(2, 2)}}
    write_checkpoint(pathlib.Path(path), {{"state_dict": weights, **{CONTENT!r}}})
"""


def test_equal_content_gives_an_equal_file_in_every_process(tmp_path, monkeypatch):
    paths = [tmp_path / f"{k}.safetensors" for k in range(4)]
    monkeypatch.setattr(sys, "argv", ["", *map(str, paths[:2])])
    exec(WRITE, {})
    subprocess.run([sys.executable, "-c", WRITE, *paths[2:]], check=True)
    assert len({path.read_bytes() for path in paths}) == 1
    read = Checkpoint(paths[0]).load()
    assert {name: read[name] for name in CONTENT} == CONTENT
    torch.testing.assert_close(load_file(paths[0])["w"], torch.arange(3.0))


def test_hashes_of_file_and_content_are_told_apart(tmp_path):
    tfm = load_tfm()
    assert tfm.file_hash == file_hash(EMBEDDED_CHECKPOINT)
    assert tfm.hashes == (
        f"file SHA-256 {tfm.file_hash[:16]}, content SHA-256 {tfm.content_hash[:16]}"
    )
    # In single precision the file is another one; the weights are the same.
    again = load_tfm(tfm.save(tmp_path / "again.safetensors"))
    assert again.content_hash == tfm.content_hash
    assert again.file_hash != tfm.file_hash


def test_inference_settings_change_the_hash_of_runs_but_not_that_of_the_content():
    tfm = load_tfm()
    settings = dataclasses.replace(tfm.inference_config, SOFTMAX_TEMPERATURE=0.7)
    other = dataclasses.replace(tfm, inference_config=settings)
    assert other.content_hash == tfm.content_hash
    assert other.run_hash.split("-")[0] == tfm.run_hash.split("-")[0]
    assert other.run_hash != tfm.run_hash


def test_a_weight_changes_the_content_hash():
    tfm = load_tfm()
    tuned = tfm.copy()
    with torch.no_grad():
        next(tuned.network.parameters()).view(-1)[0] += 1e-3
    assert tuned.content_hash != tfm.content_hash


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    write_checkpoint(path, {"state_dict": {"w": torch.ones(1)}, **CONTENT})
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
