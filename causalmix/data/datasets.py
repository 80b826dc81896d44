"""Classification tables that come with scikit-learn and statsmodels; no network is needed.

Codes are replaced by the names that the documentation of the data gives them. Ordered scales
(ratings, left to right placements, income brackets) stay numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
import pandas as pd
from sklearn import datasets as sk
from statsmodels.datasets import anes96, fair, modechoice, randhie

from causalmix.data.files import RawTable

PARTY = {
    0: "strong Democrat",
    1: "weak Democrat",
    2: "independent Democrat",
    3: "independent",
    4: "independent Republican",
    5: "weak Republican",
    6: "strong Republican",
}
SCHOOLING = {
    1: "grades 1-8",
    2: "some high school",
    3: "high school",
    4: "some college",
    5: "college degree",
    6: "master's degree",
    7: "PhD",
}
OCCUPATION = {
    1: "student",
    2: "farming, semi-skilled or unskilled",
    3: "white-collar",
    4: "teaching, nursing, arts or skilled",
    5: "managerial or business",
    6: "professional with advanced degree",
}
TRAVEL_MODE = {1: "air", 2: "train", 3: "bus", 4: "car"}


def load_embedded(name: str) -> RawTable:
    """Return an embedded table.

    Parameters
    ----------
    name : str
        Key of `EMBEDDED`.

    Returns
    -------
    RawTable
        Its target is the last column, its types are stated.
    """
    load, provenance = EMBEDDED[name]
    frame = load()
    return RawTable(frame, provenance, frame.columns[-1], typed=True)


def _from_sklearn(load: Callable, target: str) -> pd.DataFrame:
    """Return a scikit-learn table with class names for codes and without constant columns."""
    bunch = load(as_frame=True)
    frame = bunch.data.loc[:, bunch.data.nunique() > 1]
    classes = dict(enumerate(str(name) for name in bunch.target_names))
    return frame.assign(**{target: _named(bunch.target, classes)})


def _anes96() -> pd.DataFrame:
    """Voters: the choice between Clinton and Dole in 1996 by person and opinions."""
    data = anes96.load_pandas().data
    whole = ["popul", "TVnews", "selfLR", "ClinLR", "DoleLR", "age", "income"]
    names = {"PID": PARTY, "educ": SCHOOLING, "vote": {0: "Clinton", 1: "Dole"}}
    named = {column: _named(data[column], each) for column, each in names.items()}
    return data[whole].astype(np.int64).assign(**named)


def _fair() -> pd.DataFrame:
    """Married women: any extramarital affair, by marriage and person."""
    data = fair.load_pandas().data
    whole = ["rate_marriage", "religious"]
    return data.drop(columns=["affairs"]).assign(
        **data[whole].astype(np.int64),
        occupation=_named(data["occupation"], OCCUPATION),
        occupation_husb=_named(data["occupation_husb"], OCCUPATION),
        affair=_named(data["affairs"] > 0, {False: "no", True: "yes"}),
    )


def _modechoice() -> pd.DataFrame:
    """Travellers: plane, train, bus or car, by time and cost of each."""
    data = modechoice.load_pandas().data
    mode = data["mode"].map(TRAVEL_MODE)
    wide = data.assign(mode=mode).pivot(index="individual", columns="mode")
    offers = {
        f"{measure}_{name}": wide[measure, name]
        for name in TRAVEL_MODE.values()
        for measure in ("ttme", "invc", "invt", "gc")
        if (measure, name) != ("ttme", "car")  # a car is not waited for: always 0
    }
    chosen = data.assign(mode=mode)[data["choice"] == 1].set_index("individual")
    frame = pd.DataFrame(offers | {"hinc": chosen["hinc"], "psize": chosen["psize"]})
    frame = frame.astype(np.int64).assign(mode=chosen["mode"].astype("category"))
    return frame.reset_index(drop=True)


def _randhie() -> pd.DataFrame:
    """People in the RAND health insurance experiment: self-rated health."""
    data = randhie.load_pandas().data
    dummies = ["hlthg", "hlthf", "hlthp"]
    rating = data[dummies].to_numpy() @ np.array([1, 2, 3])
    names = {0: "excellent", 1: "good", 2: "fair", 3: "poor"}
    return data.drop(columns=dummies).assign(
        idp=_named(data["idp"], {0: "no", 1: "yes"}), health=_named(pd.Series(rating), names)
    )


def _named(codes: pd.Series, names: Mapping[int, str]) -> pd.Series:
    """Replace codes by names; the order of the codes is kept as that of the categories."""
    ordered = pd.CategoricalDtype([*names.values()], ordered=True)
    return codes.map(names).astype(ordered)


_UCI = "UCI, via scikit-learn; CC BY 4.0"

EMBEDDED: dict[str, tuple[Callable[[], pd.DataFrame], str]] = {
    "anes96": (
        _anes96,
        "American National Election Study 1996 (subset), via statsmodels; public domain",
    ),
    # Tumours, benign or malignant, from images of cell nuclei.
    "breast_cancer": (
        partial(_from_sklearn, sk.load_breast_cancer, "diagnosis"),
        f"Breast Cancer Wisconsin (Diagnostic), {_UCI}",
    ),
    # Handwritten digits, 8 by 8 pixels with values 0 to 16.
    "digits": (
        partial(_from_sklearn, sk.load_digits, "digit"),
        "Optical Recognition of Handwritten Digits (test part, pixels that are always 0 left out), "
        f"{_UCI}",
    ),
    "fair": (
        _fair,
        "Fair (1978), Redbook survey, affairs as yes or no, via statsmodels; included there "
        "with permission of the author",
    ),
    # Flowers of three species of iris by four lengths.
    "iris": (partial(_from_sklearn, sk.load_iris, "species"), f"Iris, {_UCI}"),
    "modechoice": (
        _modechoice,
        "Greene and Hensher (1997), travel mode choice, one row a traveller, via statsmodels; "
        "public domain",
    ),
    "randhie": (
        _randhie,
        "RAND Health Insurance Experiment (subset; a person has several rows, one a year), via "
        "statsmodels; public domain",
    ),
    # Wines of three cultivars by chemical analysis.
    "wine": (partial(_from_sklearn, sk.load_wine, "cultivar"), f"Wine, {_UCI}"),
}
"""Loaders of the embedded tables and where these come from, by name."""
