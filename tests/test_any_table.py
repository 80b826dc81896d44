"""Tables of any dtype, with gaps, odd names and odd values, from reading to synthetic rows."""

from __future__ import annotations

import datetime as dt
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_checkpoints import write_official

from causalmix.data.dataset import TabularDataset, load_dataset
from causalmix.errors import CausalMixError
from causalmix.finetuning.estimator import CausalMixClassifier
from causalmix.generation.registry import make_generator

_FOLDER = tempfile.TemporaryDirectory()
_NETWORK = write_official("tabpfn_v2_6", Path(_FOLDER.name))

_WORDS = [
    "a ",
    "A",
    "",
    "NA",
    "True",
    "1",
    "1.0",
    "1,5",
    "<5",
    "n.a.",
    "#DIV/0!",
    "3 %",
    "2.1.2024",
]
_FLOATS = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([0.0, -0.0, 1e154, 1e-300, 2.0**53, np.inf, np.nan])
)
_INTS = st.one_of(st.integers(-5, 5), st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63)]))
_DAYS = st.dates(dt.date(1, 1, 1), dt.date(9999, 12, 31))
_TEXTS = st.one_of(st.sampled_from(_WORDS), st.text(max_size=4), _DAYS.map(str))


def _dates(unit):
    return lambda days: pd.Series(np.array(days, dtype="datetime64[D]").astype(f"M8[{unit}]"))


_KINDS = [
    (_FLOATS, lambda v: pd.Series(v, dtype="float64")),
    (_FLOATS, lambda v: pd.Series(v, dtype="float32")),
    (_FLOATS, lambda v: pd.Series(pd.array(v, dtype="Float64"))),
    (_INTS, lambda v: pd.Series(v, dtype="int64")),
    (st.none() | _INTS, lambda v: pd.Series(pd.array(v, dtype="Int64"))),
    (st.none() | _INTS, lambda v: pd.Series(pd.array(v, dtype="int64[pyarrow]"))),
    (st.integers(0, 2**64 - 1), lambda v: pd.Series(v, dtype="uint64")),
    (st.booleans(), lambda v: pd.Series(v, dtype="bool")),
    (st.none() | st.booleans(), lambda v: pd.Series(pd.array(v, dtype="boolean"))),
    (st.none() | _TEXTS, lambda v: pd.Series(v, dtype="object")),
    (st.none() | _TEXTS, lambda v: pd.Series(v, dtype="string")),
    (st.none() | _TEXTS, lambda v: pd.Series(v, dtype="category")),
    (st.none() | _DAYS, lambda v: pd.Series(v, dtype="object")),
    (_DAYS, _dates("s")),
    (_DAYS, _dates("us")),
    (st.integers(0, 10**6), lambda v: pd.Series(pd.to_timedelta(v, "s"))),
    (st.integers(0, 3), lambda v: pd.Series(pd.arrays.SparseArray(v))),
]


@st.composite
def tables(draw):
    n = draw(st.integers(12, 40))
    names = draw(st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True))
    columns = {}
    for name in names:
        cells, make = draw(st.sampled_from(_KINDS))
        some = draw(st.lists(cells, min_size=1, max_size=8))
        columns[name] = make([some[i % len(some)] for i in range(n)])
    return pd.DataFrame(columns).set_axis(range(5, 5 + n)), np.resize(["p", "q"], n)


def _ours(work, *arguments):
    """What work returns, or None where it refuses the table in our words."""
    try:
        return work(*arguments)
    except CausalMixError:
        return None


def _check_loading(X, y, path):
    frame = X.assign(**{"the classes": y})
    dataset = _ours(lambda: TabularDataset.from_frame(frame, "the classes"))
    if dataset is None:
        return
    assert set(dataset.X) <= set(X)
    dataset.frame().to_parquet(path)
    again = load_dataset(path, target="the classes")
    assert again.class_names == dataset.class_names
    for name in again.X.select_dtypes("category"):
        assert list(again.X[name].cat.categories) == list(dataset.X[name].cat.categories)


def _check_classifier(X, y, path):
    options = {"n_estimators": 1, "steps": 0, "random_state": 0, "device": "cpu"}
    model = CausalMixClassifier(generator=None, tfm=_NETWORK, **options)
    if _ours(model.fit, X, y) is None:
        return
    expected = model.predict_proba(X)
    np.testing.assert_allclose(model.predict_proba(X.astype(object)), expected, atol=1e-5)
    model.save(path)
    loaded = CausalMixClassifier.load(path, device="cpu")
    assert loaded._schema == model._schema
    np.testing.assert_allclose(loaded.predict_proba(X), expected, atol=1e-5)


def _check_generator(X, y):
    generator = make_generator("mixup")
    if _ours(generator.fit, X, pd.Series(y, name="the classes")) is None:
        return
    rows, labels = generator.sample(9, 0)
    pd.testing.assert_index_equal(rows.columns, X.columns)
    assert list(rows.index) == list(range(9))
    assert set(labels) <= {"p", "q"}
    for name in X:
        assert rows[name].dtype == X[name].dtype


@settings(
    max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(tables())
def test_any_table_is_read_or_refused_in_our_words(table):
    X, y = table
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _check_loading(X, y, Path(folder) / "t.parquet")
        _check_classifier(X, y, Path(folder) / "model")
        _check_generator(X, y)
