"""Tables of every dtype, with gaps, odd names and odd values, through the whole package.

Whatever the table, there is a result of the right shape or an error of our own.
"""

from __future__ import annotations

import os
import string
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_checkpoints import write_official

from causalmix import CausalMixClassifier, make_generator
from causalmix.errors import CausalMixError

EXAMPLES = int(os.environ.get("CAUSALMIX_EXAMPLES", "25"))
"""Tables drawn; a longer search is asked for by the environment variable."""

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
TAME = st.floats(-1e6, 1e6)
WORDS = st.text(string.ascii_letters + " äß<>%$,.-0123456789", max_size=8)
MARKS = st.sampled_from(
    ["", "NA", "n.a.", "<5", "5,5", "12 %", "#DIV/0!", "true", "1.0", " a ", "?"]
)
DAYS = st.datetimes(pd.Timestamp("1700-01-01"), pd.Timestamp("2200-01-01"))
SPANS = st.timedeltas(pd.Timedelta(days=-9999), pd.Timedelta(days=9999))


def series(cells: st.SearchStrategy, dtype: object = None, gaps: bool = True) -> st.SearchStrategy:
    """Return columns of cells, as many as a table has rows, as a function of that number."""
    cells = st.none() | cells if gaps else cells

    def of_length(n: int) -> st.SearchStrategy:
        pool = st.lists(cells, min_size=1, max_size=n)
        return pool.map(lambda drawn: pd.Series([*drawn * n][:n], dtype=dtype))

    return of_length


def dates(unit: str, zone: str | None = None) -> st.SearchStrategy:
    made = series(DAYS)
    return lambda n: made(n).map(
        lambda column: pd.to_datetime(column).dt.tz_localize(zone).dt.as_unit(unit)
    )


COLUMNS = [
    series(FLOATS, "float64"),
    series(TAME, "float32"),
    series(TAME, "Float64"),
    series(st.integers(-(2**63), 2**63 - 1), "int64", gaps=False),
    series(st.integers(0, 9), "uint8", gaps=False),
    series(st.integers(-99, 99), "Int16"),
    series(st.booleans(), "bool", gaps=False),
    series(st.booleans(), "boolean"),
    series(WORDS, "object"),
    series(WORDS | MARKS | st.integers(0, 3) | st.booleans() | TAME, "object"),
    series(WORDS, "string"),
    series(WORDS, "category"),
    series(st.integers(0, 4), "category"),
    series(TAME.map(lambda x: f"{x:.2f}") | MARKS, "object"),
    series(st.integers(0, 99), "int64[pyarrow]"),
    series(WORDS, "string[pyarrow]"),
    series(SPANS, "timedelta64[ns]"),
    series(DAYS.map(lambda day: day.strftime("%d/%m/%Y")), "object"),
    *(dates(unit) for unit in ("s", "ms", "ns")),
    dates("us", "Europe/Berlin"),
]
LABELS = [["a", "b"], [0, 1], [True, False], ["NA", "no", "yes"], [1.0, 2.0]]


@st.composite
def tables(draw: st.DrawFn) -> tuple[pd.DataFrame, pd.Series]:
    n = draw(st.integers(16, 40))
    kinds = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4))
    texts = st.text(min_size=1, max_size=12) | st.sampled_from(["self", "$x$", "target_", "[0]"])
    names = draw(st.sampled_from([texts, st.integers(0, 9)]))  # scikit-learn refuses a mixture
    names = draw(st.lists(names, min_size=len(kinds), max_size=len(kinds), unique_by=str))
    frame = pd.DataFrame({name: draw(kind(n)) for name, kind in zip(names, kinds, strict=True)})
    labels = draw(st.sampled_from(LABELS))
    drawn = [labels[i % len(labels)] for i in draw(st.permutations(range(n)))]
    index = draw(st.sampled_from([range(n), range(5, 5 + n), [f"r{i}" for i in range(n)]]))
    return frame.set_axis(index), pd.Series(drawn, index=index, name="target")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_official("tabpfn_v3", tmp_path_factory.mktemp("made"))


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="CAUSALMIX_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(tables())
@pytest.mark.filterwarnings("ignore")
def test_a_table_is_read_or_refused_with_a_reason(checkpoint, tmp_path_factory, table):
    X, y = table
    folder = tmp_path_factory.mktemp("saved") / "model"
    model = CausalMixClassifier(
        tfm=checkpoint, generator=None, steps=0, n_estimators=1, random_state=0
    )
    with warnings.catch_warnings(action="ignore"):
        try:
            model.fit(X, y)
        except CausalMixError:
            return
        probabilities = model.predict_proba(X)
        assert probabilities.shape == (len(X), y.nunique())
        assert list(model.classes_) == sorted(y.unique())
        alone = np.concatenate([model.predict_proba(X.iloc[[i]]) for i in (0, len(X) // 2)])
        assert alone == pytest.approx(probabilities[[0, len(X) // 2]], abs=1e-5)
        model.save(folder)
        again = CausalMixClassifier.load(folder).predict_proba(X)
        assert again == pytest.approx(probabilities, abs=1e-6)


def test_one_row_is_predicted_as_among_others_whatever_its_size(checkpoint):
    small = [None, 4, None, 97, -86, 67, -6, None, -67, None, -16]
    counts = [None, 2, 1, None, 2, None, 0, 4, None, None, 0, *[None] * 5]
    spans = [None, 645235681001128, None, None, 86401095000132, None, -25142309992506, *[None] * 6]
    X = pd.DataFrame(
        {
            0: pd.array((small * 3)[:28], "Int16"),
            1: pd.Series((counts * 2)[:28], dtype=object).astype("category"),
            2: [27320345227430720, -135989637993965040] * 14,
            3: pd.to_timedelta((spans * 3)[:28], "us"),
        }
    )
    model = CausalMixClassifier(
        tfm=checkpoint, generator=None, steps=0, n_estimators=1, random_state=0
    ).fit(
        X,
        [{"A": "NA", "n": "no", "y": "yes"}[c] for c in "AnyyyynyAnAAAAyyAnnnAAynynAn"],
    )
    alone = np.concatenate([model.predict_proba(X.iloc[[i]]) for i in range(len(X))])
    assert alone == pytest.approx(model.predict_proba(X), abs=1e-5)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="CAUSALMIX_EXAMPLES" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(tables(), st.sampled_from(["causal", "smote_nc", "perturbation", "mixup", "copula"]))
@pytest.mark.filterwarnings("ignore")
def test_synthetic_rows_have_the_columns_and_types_of_the_table(table, name):
    X, y = table
    options = {"n_bootstraps": 2, "n_dags": 2} if name == "causal" else {}
    with warnings.catch_warnings(action="ignore"):
        try:
            generator = make_generator(name, **options).fit(X, y)
        except CausalMixError:
            return
        rows, labels = generator.sample(7, 0)
    assert list(rows) == list(X)
    assert len(rows) == len(labels) == 7
    assert set(labels) <= set(y)
    for column in X:
        assert rows[column].dtype == X[column].dtype, column
        if isinstance(X[column].dtype, pd.CategoricalDtype | pd.StringDtype):
            assert set(rows[column].dropna()) <= set(X[column].dropna())
