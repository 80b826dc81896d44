"""Free memory, and files that promise more than fits into it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from causalmix.data import files
from causalmix.data.dataset import load_dataset
from causalmix.data.files import read_table
from causalmix.data.memory import _left, _left_of_limit, free_memory
from causalmix.discovery.bootstrap import discover
from causalmix.errors import CausalMixError, DataError


def test_a_container_leaves_its_limit_less_what_is_used_for_good(tmp_path):
    (tmp_path / "limit").write_text("1000\n")
    (tmp_path / "used").write_text("600\n")
    (tmp_path / "stat").write_text("anon 500\ninactive_file 100\n")
    assert _left(tmp_path, "limit", "used", "stat") == 500
    (tmp_path / "limit").write_text("max\n")
    assert _left(tmp_path, "limit", "used", "stat") == math.inf
    assert _left(tmp_path, "none", "used", "stat") == math.inf
    assert free_memory() > 0


def test_parquet_file_that_promises_more_than_fits_is_refused_before_it_is_read(
    tmp_path, monkeypatch
):
    path = tmp_path / "zeros.parquet"
    zeros = np.zeros(1_000_000)
    pq.write_table(pa.table({"a": zeros, "target": zeros}), path)
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(files, "free_memory", lambda: 2.0**20)
    monkeypatch.setattr(files.pq.ParquetFile, "read", lambda self: pytest.fail("was read"))
    with pytest.raises(DataError, match="promises 1,000,000 rows of 2 columns, which take"):
        read_table(path)


def test_damaged_text_in_a_parquet_file_is_named(tmp_path):
    path = tmp_path / "text.parquet"
    table = pa.table({"a": ["wholly legible", "b"], "target": [0, 1]})
    pq.write_table(table, path, use_dictionary=False, compression="none", write_statistics=False)
    path.write_bytes(path.read_bytes().replace(b"wholly", b"w\xff\xfelly"))
    with pytest.raises(DataError, match=r"text\.parquet is not a readable Parquet file"):
        read_table(path)


@pytest.mark.parametrize("target", ["target", "none"])
def test_long_names_are_cut_in_messages(tmp_path, target):
    long = "measured " * 600
    frame = pd.DataFrame({long: [1.0, np.inf, 2.0], "target": ["a", "b", "a"]})
    frame.to_csv(tmp_path / "long.csv", index=False)
    for work in (
        lambda: load_dataset(tmp_path / "long.csv", target=target),
        lambda: discover(frame, target=target),
    ):
        with pytest.raises(CausalMixError) as caught:
            work()
        assert "measured m" in str(caught.value)
        assert len(str(caught.value)) < 500


def test_a_limit_of_the_address_space_counts(monkeypatch):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2**40, 2**41))
    limited = _left_of_limit()
    assert 0 <= 2**40 - limited < 2**40
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY,) * 2)
    assert _left_of_limit() == math.inf
