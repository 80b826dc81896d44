from __future__ import annotations

import json

import pytest

from causalmix.benchmarks import results
from causalmix.benchmarks.fitting_speed import PRESETS
from causalmix.benchmarks.results import load_record, load_result
from causalmix.errors import CausalMixError


def test_every_table_of_results_is_read_and_has_a_manifest():
    manifests = {path.stem for path in results._RESULTS.rglob("*manifest.json")}
    for path in results._RESULTS.rglob("*_summary.csv"):
        name = path.relative_to(results._RESULTS).with_suffix("").as_posix()
        assert len(load_result(name))
        manifest = path.with_name(path.name.replace("_summary.csv", "_manifest.json"))
        assert manifest.stem in manifests
        assert json.loads(manifest.read_text())["commit"]


def test_every_record_of_speed_is_read_with_its_commit():
    paths = list(results._RESULTS.rglob("*speed.json"))
    assert paths
    for path in paths:
        name = path.relative_to(results._RESULTS).with_suffix("").as_posix()
        assert load_record(name)["commit"]


def test_the_seconds_of_fitting_are_those_of_the_presets():
    for measured in load_record("generation/speed")["tables"].values():
        assert set(measured["mechanisms"]) == set(PRESETS)


def test_a_missing_table_is_named_with_those_that_are_there(tmp_path, monkeypatch):
    with pytest.raises(CausalMixError, match=r"'generation/none'; there are: .*tfm/evaluation"):
        load_result("generation/none")
    with pytest.raises(CausalMixError, match=r"'tfm/none'; there are: .*generation/speed"):
        load_record("tfm/none")
    monkeypatch.setattr(results, "_RESULTS", tmp_path)
    with pytest.raises(CausalMixError, match="there are: none"):
        load_result("generation/none")
