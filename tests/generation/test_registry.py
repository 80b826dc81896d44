from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from causalmix.discovery.edge_probabilities import read_mark_weights
from causalmix.discovery.knowledge import BackgroundKnowledge
from causalmix.errors import CausalMixError, DataError, UnknownNameError
from causalmix.generation.causal import CausalGenerator
from causalmix.generation.registry import (
    GENERATORS,
    PerturbationGenerator,
    SMOTENCGenerator,
    make_generator,
)

Table = tuple[pd.DataFrame, pd.Series]
SLOW = [  # on two tables only
    "causal_sampled",
    "causal_paper",
    "causal_random_label",
    "causal_posterior",
    "causal_base_labels",
    "tabebm",
    "tfm_conditional",
    "tfm_conditional_dag",
    "tfm_conditional_cpdag",
    "tfm_conditional_drawn",
]
FAST = ["causal", "smote_nc", "perturbation", "mixup", "copula"]


def from_sklearn(loader, n: int) -> Table:
    X, y = loader(as_frame=True, return_X_y=True)
    y = y.astype(str).astype("category")
    X, _, y, _ = train_test_split(X, y, train_size=n, stratify=y, random_state=0)
    return X, y


def mixed(n: int = 90) -> Table:
    """Every kind of column; missing cells; a class with one row; an unseen category and class."""
    rng = np.random.default_rng(0)
    size = rng.normal(10, 3, n)
    X = pd.DataFrame(
        {
            "size": np.where(rng.random(n) < 0.2, np.nan, size),
            "count": rng.poisson(size),
            "colour": pd.Categorical(
                np.where(size > 10, "red", "blue"), categories=["red", "blue", "green"]
            ),
            "shape": pd.Categorical(np.where(rng.random(n) < 0.3, None, "round")),
            "constant": np.ones(n, dtype=int),
            "y": rng.normal(size=n),  # the target's own name
        },
        index=rng.permutation(n),
    )
    label = np.where(size + rng.normal(size=n) > 10, "big", "small")
    label[0] = "odd"
    categories = ["big", "never", "odd", "small"]
    return X, pd.Series(pd.Categorical(label, categories=categories), index=X.index, name="y")


def numbered(X: pd.DataFrame, y: pd.Series) -> Table:
    """Names that are numbers, but for one; the target's is one too."""
    names = {name: j for j, name in enumerate(X.columns[:-1])}
    return X.rename(columns=names), y.rename(99)


def categorical(n: int = 60) -> Table:
    rng = np.random.default_rng(0)
    X = pd.DataFrame({c: pd.Categorical(rng.choice(list("pqr"), n)) for c in "abc"})
    return X, pd.Series(pd.Categorical(np.where(X.a == "p", "1", "0")), name="label")


def shared(folder, path: str, target: str, n: int) -> Table:
    frame = pd.read_parquet(folder / "classification" / path).sample(n, random_state=0)
    y = frame.pop(target).astype(str).astype("category")
    for name in frame.select_dtypes(exclude="number"):
        frame[name] = frame[name].astype("category")
    return frame, y


TABLES = {
    "iris": lambda: from_sklearn(load_iris, 60),
    "wine": lambda: from_sklearn(load_wine, 60),
    "mixed": mixed,
    "categorical": categorical,
    "one feature": lambda: (mixed()[0][["size"]], mixed()[1]),
    "numbered columns": lambda: numbered(*mixed(40)),
    "five rows": lambda: (mixed()[0][:5], mixed()[1][:5]),
}


FEW_GRAPHS = {"n_dags": 2, "n_bootstraps": 2}
QUICK = {
    **{name: FEW_GRAPHS for name in GENERATORS if name.startswith("causal")},
    "tfm_conditional_dag": FEW_GRAPHS,
    "tfm_conditional_drawn": {"n_bootstraps": 2, "mechanisms_per_column": 1},
    "tabebm": {"n_steps": 2},
}


def quick(name: str, **options):
    return make_generator(name, **QUICK.get(name, {}), **options)


def check_like_training(X, y, X_new, y_new, n) -> None:
    assert len(X_new) == len(y_new) == n
    pd.testing.assert_series_equal(X_new.dtypes, X.dtypes)  # names, order, dtypes, categories
    assert y_new.dtype == y.dtype
    assert y_new.name == y.name
    assert list(X_new.index) == list(y_new.index) == list(range(n))
    assert set(y_new) <= set(y)
    for name in X:
        seen, new = X[name].dropna(), X_new[name].dropna()
        assert X_new[name].isna().any() <= X[name].isna().any()
        if X[name].dtype == "category":
            assert set(new) <= set(seen)
        else:
            assert new.between(seen.min(), seen.max()).all()


@pytest.mark.parametrize(
    ("table", "name", "purified"),
    [
        *product(TABLES, FAST, [False]),
        *product(["mixed", "five rows"], SLOW, [False]),
        *product(["mixed", "numbered columns"], ["mixup"], [True]),
    ],
)
@pytest.mark.filterwarnings("ignore::causalmix.errors.GenerationWarning")
def test_samples_are_like_the_training_table(table, name, purified):
    X, y = TABLES[table]()
    before = X.copy(), y.copy()
    generator = quick(name, purified=purified)
    assert generator.fit(X, y) is generator
    for n in (1, 200):
        X_new, y_new = generator.sample(n, seed=5)
        check_like_training(X, y, X_new, y_new, n)
    again_X, again_y = generator.sample(200, seed=5)
    pd.testing.assert_frame_equal(X_new, again_X)
    pd.testing.assert_series_equal(y_new, again_y)
    assert not (X_new.equals(generator.sample(200, seed=6)[0]))
    pd.testing.assert_frame_equal(X, before[0])
    pd.testing.assert_series_equal(y, before[1])
    refitted = quick(name, purified=purified).fit(X, y).sample(200, seed=5)
    pd.testing.assert_frame_equal(X_new, refitted[0])


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize(
    ("path", "target"),
    [("cc18/dresses-sales.parquet", "target"), ("tabarena/anneal.parquet", "target")],
)
def test_samples_are_like_real_tables(shared_data, path, target, name):
    X, y = shared(shared_data, path, target, 100)
    X_new, y_new = quick(name).fit(X, y).sample(150, seed=0)
    check_like_training(X, y, X_new, y_new, 150)


@pytest.mark.parametrize("name", [*FAST, "tfm_conditional"])
def test_missing_shares_and_class_balance_are_kept(name):
    X, y = mixed()
    X_new, y_new = quick(name).fit(X, y).sample(2000, seed=0)
    assert X_new["size"].isna().mean() == pytest.approx(X["size"].isna().mean(), abs=0.05)
    assert X_new["shape"].isna().mean() == pytest.approx(X["shape"].isna().mean(), abs=0.15)
    share, new = (s.value_counts(normalize=True, sort=False) for s in (y, y_new))
    assert (share - new).abs().max() < 0.12
    assert new["odd"] > 0  # one training row
    assert (X_new["count"] % 1 == 0).all()


@pytest.mark.parametrize("name", FAST)
def test_generated_rows_train_a_classifier(name):
    X, y = load_breast_cancer(as_frame=True, return_X_y=True)
    X = X.iloc[:, :12]
    X, X_test, y, y_test = train_test_split(X, y, train_size=120, stratify=y, random_state=0)
    X_new, y_new = quick(name).fit(X, y.astype(str).astype("category")).sample(500, seed=0)
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X_new, y_new)
    assert roc_auc_score(y_test, model.predict_proba(X_test)[:, 1]) > 0.95


def test_causal_rows_come_from_all_graphs():
    X, y = TABLES["iris"]()
    generator = CausalGenerator(n_dags=3, n_bootstraps=4).fit(X, y)
    assert len(generator.dags_) == 3
    assert generator.target_ == "target"
    assert generator.edges_.names == (*X.columns, "target")
    assert all(set(dag.predecessors("target")) == set(X.columns) for dag in generator.dags_)
    adjacent = CausalGenerator(n_dags=1, n_bootstraps=1, target_parents="adjacent").fit(X, y)
    assert set(adjacent.dags_[0].predecessors("target")) < set(X.columns)


def test_columns_that_identify_the_rows_have_no_edges():
    X, y = mixed(60)
    X = X.assign(case_id=range(7, 67), name=[None, *(f"row{i}" for i in range(59))])
    with pytest.warns(UserWarning, match="identify the rows.*: 'case_id', 'name'"):
        generator = CausalGenerator(**FEW_GRAPHS, completion_alpha=1).fit(X, y)
    for dag in generator.dags_:
        assert dag.degree("case_id") == dag.degree("name") == 0
        assert dag.in_degree(generator.target_) == X.shape[1] - 2


def test_smote_interpolates_within_a_class():
    rng = np.random.default_rng(0)
    low, high = rng.normal(0, 1, (40, 2)), rng.normal(20, 1, (10, 2))
    X = pd.DataFrame(np.vstack([low, high]), columns=["a", "b"])
    y = pd.Series(["l"] * 40 + ["h"] * 10, dtype="category", name="y")
    X_new, y_new = SMOTENCGenerator().fit(X, y).sample(500, seed=0)
    assert (y_new == "h").sum() == 100  # the share of training, not balanced
    assert ((X_new.a > 10) == (y_new == "h")).all()
    assert len(X_new.merge(X)) < 10  # synthetic rows, no copies


def test_perturbation_keeps_rows_recognisable():
    X, y = TABLES["iris"]()
    copies = PerturbationGenerator(noise=0, swap=0).fit(X, y).sample(50, seed=0)[0]
    assert len(copies.merge(X.drop_duplicates())) == 50
    X_new, _ = PerturbationGenerator(noise=0.1).fit(X, y).sample(2000, seed=0)
    nearest = [np.abs(X.to_numpy() - row).mean(axis=1).min() for row in X_new.to_numpy()[:200]]
    assert 0 < np.mean(nearest) < 0.1 * X.to_numpy().std(axis=0).mean()
    X, y = categorical()
    X_new, _ = PerturbationGenerator(swap=1.0).fit(X, y).sample(3000, seed=0)
    np.testing.assert_allclose(
        X_new.a.value_counts(normalize=True).sort_index(),
        X.a.value_counts(normalize=True).sort_index(),
        atol=0.03,
    )


@pytest.mark.parametrize(("name", "purified"), [*product(FAST, [False]), ("mixup", True)])
@pytest.mark.filterwarnings("ignore::causalmix.errors.GenerationWarning")
def test_rows_and_labels_are_paired_by_position(name, purified):
    X, y = mixed(30)
    for index in (np.arange(30)[::-1], np.arange(100, 130)):
        generator = quick(name, purified=purified)
        aligned = generator.fit(X.reset_index(drop=True), y.reset_index(drop=True)).sample(20, 0)
        apart = generator.fit(X.reset_index(drop=True), y.set_axis(index)).sample(20, 0)
        pd.testing.assert_frame_equal(apart[0], aligned[0])
        pd.testing.assert_series_equal(apart[1], aligned[1])


@pytest.mark.parametrize("name", FAST)
def test_targets_of_other_types_come_back_as_they_were(name):
    X, y = TABLES["iris"]()
    for dtype in (int, object):
        codes = y.astype(str).astype(dtype).rename(None)
        _, y_new = quick(name).fit(X, codes).sample(20, seed=0)
        assert y_new.dtype == codes.dtype
        assert y_new.name is None


def test_unknown_names_and_options():
    with pytest.raises(UnknownNameError, match="Did you mean 'causal'"):
        make_generator("casual")
    for name in ("causal", "causal_paper"):
        with pytest.raises(UnknownNameError, match=r"Unknown option 'n_dag'.* 'n_dags'"):
            make_generator(name, n_dag=3)
    for name in ("copula", "mixup", "tabebm", "ctgan"):
        with pytest.raises(UnknownNameError, match="Unknown option 'n_dags'"):
            make_generator(name, n_dags=3)
    with pytest.raises(UnknownNameError, match=r"'n_bootstraps'.*Valid: .*alpha.*n_dags"):
        CausalGenerator(n_bootstrap=5)
    with pytest.raises(UnknownNameError, match="mechanism"):
        make_generator("causal", mechanism="lineal")
    for option, value in (
        ("noise_correlation", 2),
        ("completion_alpha", -0.1),
        ("n_dags", 0),
        ("n_bootstraps", 0),
        ("max_columns", 0),
        ("alpha", 1),
        ("possible_dsep_seconds", 0),
        ("boss_seconds", 0),
        ("algorithms", 3),
        ("algorithms", "pc"),
        ("mark_weights", "hard"),
    ):
        with pytest.raises(CausalMixError, match=f"{option}.*{value}|{value}.*{option}"):
            make_generator("causal", **{option: value})
    with pytest.raises(CausalMixError, match="swap"):
        make_generator("perturbation", swap=2)
    with pytest.raises(CausalMixError, match="k_neighbors is 0"):
        make_generator("smote_nc", k_neighbors=0)


@pytest.mark.parametrize("name", FAST)
def test_errors_name_what_is_wrong(name):
    X, y = TABLES["iris"]()
    with pytest.raises(CausalMixError, match="not fitted"):
        quick(name).sample(1, 0)
    with pytest.raises(CausalMixError, match="n is 0; a whole number, at least 1"):
        quick(name).fit(X, y).sample(0, 0)
    with pytest.raises(DataError, match="X is a DataFrame and y a ndarray"):
        quick(name).fit(X, y.to_numpy())
    with pytest.raises(DataError, match="column of X has no name"):
        quick(name).fit(X.rename(columns={X.columns[0]: None}), y)
    with pytest.raises(DataError, match="60 rows and y 59"):
        quick(name).fit(X, y[:-1])
    with pytest.raises(DataError, match="0 rows"):
        quick(name).fit(X[:0], y[:0])
    with pytest.raises(DataError, match="'target' is missing in 1 rows"):
        quick(name).fit(X, y.where(np.arange(60) > 0))
    near = pd.Series(
        np.where(y == y.iloc[0], 2**60, 2**60 + 1), name=("a", 1)
    )  # classes, no numbers
    assert set(quick(name).fit(X, near).sample(40, 0)[1]) <= {2**60, 2**60 + 1}
    with pytest.raises(DataError, match="'target' holds values of type list"):
        quick(name).fit(X, pd.Series([[1], [2]] * 30))
    with pytest.raises(DataError, match="infinities"):
        quick(name).fit(X * np.inf, y)
    for dtype in (object, "category"):
        with pytest.raises(DataError, match="infinities"):
            quick(name).fit(X.assign(more=pd.Series([1.0, np.inf] * 30).astype(dtype)), y)


def test_columns_named_by_numbers_are_known_to_the_causal_generator():
    X, y = numbered(*mixed(40))
    knowledge = BackgroundKnowledge(required=[(0, 1)], tiers=[[0, 1, "y"], [99]])
    generator = CausalGenerator(**FEW_GRAPHS, knowledge=knowledge).fit(X, y)
    assert generator.target_ == 99
    assert all(dag.has_edge(0, 1) and dag.has_edge("y", 99) for dag in generator.dags_)
    pd.testing.assert_index_equal(generator.sample(5, 0)[0].columns, X.columns)
    with pytest.raises(UnknownNameError, match=r"7\. Valid: 0, 1, 2, 3, 4, y, 99"):
        CausalGenerator(knowledge=BackgroundKnowledge(forbidden=[(7, "y")])).fit(X, y)


def test_names_that_cannot_be_told_apart_are_refused():
    X, y = mixed(20)
    twins = X.rename(columns={"size": 1, "y": "1"})
    with pytest.raises(DataError, match="columns 1 and '1' look the same"):
        CausalGenerator(**FEW_GRAPHS).fit(twins, y)
    levels = X.set_axis(pd.MultiIndex.from_product([["a"], X.columns]), axis=1)
    with pytest.raises(DataError, match="names of several levels"):
        SMOTENCGenerator().fit(levels, y)


def test_ctgan_samples_are_like_the_training_table():
    pytest.importorskip("ctgan")
    for X, y in (mixed(), numbered(*mixed())):
        generator = make_generator("ctgan", epochs=2)
        X_new, y_new = generator.fit(X, y).sample(100, seed=5)
        check_like_training(X, y, X_new, y_new, 100)
        pd.testing.assert_frame_equal(X_new, generator.sample(100, seed=5)[0])


def test_every_row_knows_its_graph():
    X, y = mixed()
    generator = CausalGenerator(n_dags=3, n_bootstraps=3).fit(X, y)
    dag_of_row = generator.dag_of_rows(90, seed=4)
    assert np.bincount(dag_of_row).tolist() == [30, 30, 30]
    with pytest.raises(CausalMixError, match="n is -3"):
        generator.dag_of_rows(-3, seed=4)
    with pytest.raises(CausalMixError, match="not fitted"):
        CausalGenerator().dag_of_rows(5, seed=4)
    rows, _ = generator.sample(90, seed=4)
    # the rows of one graph are those that its model alone draws
    rng = np.random.default_rng(4)
    rng.permutation(90)
    seed = int(rng.integers(2**31))
    alone = generator.models_[0].sample(30, seed, noise_correlation=generator.noise_correlation)
    first = rows[dag_of_row == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(first, alone[first.columns])


@pytest.mark.parametrize("kind", [str, int])
def test_classes_come_in_the_shares_asked_for(kind):
    X, y = from_sklearn(load_iris, 90)
    y = pd.Series(pd.Categorical(y.astype(int).map(kind)), index=y.index)
    shares = {kind(0): 0.1, kind(1): 0.6, kind(2): 0.3}
    generator = CausalGenerator(n_dags=2, n_bootstraps=3, class_shares=shares).fit(X, y)
    X_new, y_new = generator.sample(100, seed=0)
    assert y_new.value_counts().to_dict() == {kind(1): 60, kind(2): 30, kind(0): 10}
    assert len(X_new) == 100
    pd.testing.assert_series_equal(y_new, generator.sample(100, seed=0)[1])


def test_rows_in_the_shares_asked_for_know_their_graph():
    X, y = from_sklearn(load_iris, 90)
    y = pd.Series(pd.Categorical(y.astype(int)), index=y.index)
    shares = {0: 0.1, 1: 0.6, 2: 0.3}
    generator = CausalGenerator(n_dags=3, n_bootstraps=3, class_shares=shares).fit(X, y)
    for k, model in enumerate(generator.models_):
        # A model whose rows can be told from the others'.
        def marked(n, seed, *, draw=model.sample, mark=1000.0 * k, **options):
            rows = draw(n, seed, **options)
            rows[X.columns[0]] += mark
            return rows

        model.sample = marked
    rows, _ = generator.sample(80, seed=2)
    expected = (rows.iloc[:, 0] // 500 / 2).tolist()
    assert generator.dag_of_rows(80, seed=2).tolist() == expected
    generator.sample(80, seed=3)
    assert generator.dag_of_rows(80, seed=2).tolist() == expected
    detached = generator.detached()
    rows, _ = detached.sample(80, seed=2)
    assert generator.detached().dag_of_rows(80, seed=2).tolist() == (
        (rows.iloc[:, 0] // 500 / 2).tolist()
    )


def test_wide_tables_are_searched_in_part():
    X, y = from_sklearn(load_wine, 60)
    with pytest.warns(UserWarning, match="searches the 3 most dependent on 'target'"):
        generator = CausalGenerator(**FEW_GRAPHS, max_columns=3).fit(X, y)
    joined = generator.edges_.matrix.sum(0) + generator.edges_.matrix.sum(1)
    assert (joined > 0).sum() <= 3


def test_class_shares_that_make_no_sense_are_refused():
    X, y = from_sklearn(load_iris, 60)
    with pytest.raises(CausalMixError, match=r"sum to 0\.9"):
        CausalGenerator(class_shares={"0": 0.5, "1": 0.4}).fit(X, y)
    for share in (np.nan, -0.5, "half"):
        with pytest.raises(CausalMixError, match=f"The share of class '2' is {share!r}; a number"):
            CausalGenerator(class_shares={"0": 0.5, "1": 0.5, "2": share}).fit(X, y)
    with pytest.raises(CausalMixError, match="classes without a training row: 'never'"):
        CausalGenerator(class_shares={"big": 0.9, "never": 0.1}).fit(*mixed())
    with pytest.raises(UnknownNameError, match="'7'"):
        CausalGenerator(class_shares={"7": 1.0}).fit(X, y)


def test_options_of_another_type_are_named():
    for options, message in (
        (
            {"class_shares": [0.5, 0.5]},
            r"class_shares must be a mapping or None, got \[0\.5, 0\.5\]",
        ),
        ({"do": ["a"]}, r"do must be a mapping or None, got \['a'\]"),
        ({"edges": "x"}, "edges is 'x'; EdgeProbabilities are needed"),
    ):
        with pytest.raises(CausalMixError, match=message):
            CausalGenerator(**options)


def test_smote_of_a_single_class_is_refused():
    X, y = from_sklearn(load_iris, 60)
    with pytest.raises(DataError, match="only one class; SMOTE needs two"):
        make_generator("smote_nc").fit(X[y == "0"], y[y == "0"])


def test_the_papers_preset_takes_the_graph_literally():
    X, y = from_sklearn(load_iris, 90)
    paper = CausalGenerator.paper(n_dags=5, n_bootstraps=4).fit(X, y)
    assert read_mark_weights(paper.mark_weights)["<->"] == (0.0, 0.0)
    assert paper.target_parents == "free"
    discovered = paper.edges_.matrix + paper.edges_.matrix.T > 0
    names = list(paper.edges_.names)
    for dag in paper.dags_:  # not completed: no pair that discovery did not join
        assert all(discovered[names.index(a), names.index(b)] for a, b in dag.edges)
    assert paper.sample(40, seed=0)[0].shape == (40, 4)
    assert CausalGenerator.paper(mechanism="linear").mechanism == "linear"
