"""Foundation models: the checkpoint format, TabPFN's own predictions, and bad files."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from made_checkpoints import REFERENCE, SMALL, random_network, write_official
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from tabpfn import TabPFNClassifier

from causalmix.data.dataset import TabularDataset
from causalmix.data.splitting import low_data_split
from causalmix.errors import CausalMixError, CheckpointError, DataError, UnknownNameError
from causalmix.finetuning.config import FinetuneConfig
from causalmix.finetuning.run import finetune, predict_proba
from causalmix.pretraining.run import INFERENCE_CONFIG
from causalmix.tfm.model import EMBEDDED_CHECKPOINT, OFFICIAL_VERSIONS, FoundationModel, load_tfm


@pytest.fixture(scope="module")
def embedded() -> FoundationModel:
    return load_tfm("embedded")


@pytest.fixture(scope="module")
def table() -> tuple[pd.DataFrame, np.ndarray]:
    """Numeric and categorical columns with gaps; three classes that depend on both."""
    rng = np.random.default_rng(0)
    n = 150
    X = pd.DataFrame(
        {
            "size": rng.normal(size=n),
            "count": rng.integers(0, 50, n),
            "colour": pd.Categorical(rng.choice(["red", "green", "blue"], n)),
            "tail": rng.exponential(size=n) ** 3,
            "flag": rng.integers(0, 2, n),
        }
    )
    y = (X["size"] > 0).astype(int).to_numpy() + (X["colour"] == "red").to_numpy()
    X.loc[rng.random(n) < 0.2, "size"] = np.nan
    X.loc[rng.random(n) < 0.2, "colour"] = np.nan
    return X, y


@pytest.mark.parametrize("name", SMALL)
def test_every_architecture_agrees_with_tabpfn_and_survives_saving(name, table, tmp_path):
    X, y = table
    X_context, y_context, X_query = X[:60], y[:60], X[60:100]
    path = write_official(name, tmp_path)
    options = {"n_estimators": 2, "random_state": 1}
    expected = (
        TabPFNClassifier(model_path=str(path), **REFERENCE, **options)
        .fit(X_context, y_context)
        .predict_proba(X_query)
    )
    assert expected.std(axis=0).min() > 1e-4  # the rows are told apart

    tfm = load_tfm(path)
    assert tfm.architecture_name == name
    encoder = tfm.encoder(X_context, y_context, **options)
    got = encoder.predict_proba(tfm.network, encoder.transform(X_query), 3)
    np.testing.assert_allclose(got, expected, atol=1e-6)

    saved = tfm.save(tmp_path / "saved.safetensors")
    again = load_tfm(saved)
    assert again.content_hash == tfm.content_hash
    reloaded = TabPFNClassifier(model_path=str(saved), **REFERENCE, **options)
    np.testing.assert_array_equal(
        reloaded.fit(X_context, y_context).predict_proba(X_query), expected
    )


@pytest.mark.parametrize("name", SMALL)
def test_layers_computed_anew_give_the_same_gradient(name, table, tmp_path, monkeypatch):
    X, y = table
    tuned = load_tfm(write_official(name, tmp_path)).copy()
    encoder = tuned.encoder(X[:60], y[:60], n_estimators=1)
    (rows,), labels = encoder.transform(X[:60]), torch.as_tensor(y[:60])[:, None]
    kept = []

    def gradient():
        tuned.network.zero_grad()
        held = torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t)
        with held:
            logits = encoder.members[0].logits(
                tuned.network, rows[:40, None], labels[:40], rows[40:, None]
            )
        torch.nn.functional.cross_entropy(logits[:, 0], labels[40:, 0]).backward()
        size, given = sum(t.numel() for t in kept), [p.grad for p in tuned.network.parameters()]
        kept.clear()
        return size, torch.cat([each.flatten() for each in given if each is not None])

    whole, expected = gradient()
    monkeypatch.setattr("causalmix.tfm.encoding._RECOMPUTED_CELLS", 0)
    less, found = gradient()
    assert less < whole / 2
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", SMALL)
def test_a_gradient_step_changes_the_copy_only(name, table, tmp_path):
    X, y = table
    tfm = load_tfm(write_official(name, tmp_path))
    tuned, before = tfm.copy(), tfm.content_hash
    encoder = tuned.encoder(X[:60], y[:60], n_estimators=1)
    (rows,), labels = encoder.transform(X[:60]), torch.as_tensor(y[:60])
    tasks = torch.stack([torch.randperm(60), torch.randperm(60)], dim=1)  # (R, B)
    context, query = tasks[:40], tasks[40:]
    member = encoder.members[0]
    logits = member.logits(tuned.network, rows[context], labels[context], rows[query])
    assert logits.shape == (20, 2, 10)
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[query].flatten()).backward()
    torch.optim.SGD(tuned.network.parameters(), lr=0.1).step()
    assert tuned.content_hash != before
    assert tfm.content_hash == before

    saved = tuned.save(tmp_path / "tuned.safetensors")
    assert load_tfm(saved).content_hash == tuned.content_hash
    by_tabpfn = TabPFNClassifier(model_path=str(saved), **REFERENCE, n_estimators=1)
    expected = by_tabpfn.fit(X[:60], y[:60]).predict_proba(X[60:])
    queries = encoder.transform(X[60:])
    got = encoder.predict_proba(tuned.network.eval(), queries, 3)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert np.abs(encoder.predict_proba(tfm.network, queries, 3) - expected).max() > 1e-4


def test_embedded_checkpoint_predicts_as_tabpfn_predicts(embedded, table):
    X, y = table
    options = {"n_estimators": 4, "random_state": 3}
    by_path = TabPFNClassifier(model_path=str(EMBEDDED_CHECKPOINT), **REFERENCE, **options)
    expected = by_path.fit(X[:100], y[:100]).predict_proba(X[100:])
    by_specs = embedded.classifier(**options).fit(X[:100], y[:100]).predict_proba(X[100:])
    encoder = embedded.encoder(X[:100], y[:100].astype(np.int8), **options)
    rows = encoder.transform(X[100:])
    np.testing.assert_array_equal(by_specs, expected)
    np.testing.assert_allclose(
        encoder.predict_proba(embedded.network, rows, 3), expected, atol=1e-6
    )
    assert len(encoder.members) == 4
    assert all(len(row) == 50 for row in rows)
    # Levels and singular vectors come on top of the five columns; fine-tuning pays for each.
    assert max(row.shape[1] for row in rows) <= 12
    # The fitted rows come out the same whichever way they went in.
    for member, again in zip(encoder.members, encoder.transform(X[:100]), strict=True):
        torch.testing.assert_close(again, member.context, equal_nan=True)


@pytest.mark.parametrize("unit", [1e-7, 1e-12, 1e35])
def test_another_unit_changes_little(embedded, unit):
    """In single precision products of small numbers vanish, and large ones are infinite."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 3)), columns=list("abc")).assign(
        far=rng.normal(size=200)
    )
    y = (X.a + X.b * X.c + X.far + 0.3 * rng.normal(size=200) > 0).to_numpy(np.int64)

    def predicted(table: pd.DataFrame) -> np.ndarray:
        encoder = embedded.encoder(table.head(100), y[:100])
        queries = encoder.transform(table.tail(100))
        return encoder.predict_proba(embedded.network, queries, 2)[:, 1]

    other = predicted((X * unit).assign(far=1e12 + X.far))
    assert np.abs(other - predicted(X)).mean() < 0.02
    again = predicted((X * unit * 8).assign(far=1e12 + X.far))
    np.testing.assert_allclose(again, other, atol=1e-5)


def test_default_ensemble_is_the_checkpoints(embedded, table):
    X, y = table
    classifier = embedded.classifier().fit(X[:60], y[:60])
    assert classifier.n_estimators_ == embedded.inference_config.N_ESTIMATORS == 2


def test_order_of_categories_does_not_matter_and_a_new_one_is_missing(embedded, table):
    X, y = table
    encoder = embedded.encoder(X[:100], y[:100], n_estimators=2)
    query = X[100:]
    other = query.copy()
    other["colour"] = query["colour"].cat.set_categories(["red", "violet", "blue", "green"])
    for a, b in zip(encoder.transform(query), encoder.transform(other), strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)
    violet = query.assign(colour=pd.Categorical(["violet"] * len(query)))
    assert all(torch.isfinite(row).any() for row in encoder.transform(violet))
    probabilities = encoder.predict_proba(embedded.network, encoder.transform(violet), 3)
    assert np.isfinite(probabilities).all()


@pytest.mark.parametrize("name", ["tabpfn_v2", "tabpfn_v3"])
def test_a_class_that_the_context_lacks_gets_no_probability(name, table, tmp_path):
    X, y = table
    tfm = load_tfm(write_official(name, tmp_path))
    encoder = tfm.encoder(X[:100], y[:100], n_estimators=1)
    member, (rows,) = encoder.members[0], encoder.transform(X[:100])
    labels = torch.as_tensor(y[:100])
    all_classes, without_one = torch.arange(40), torch.arange(100)[labels != 1][:40]
    context = torch.stack([all_classes, without_one], dim=1)
    query = rows[60:, None].expand(-1, 2, -1)
    with torch.no_grad():
        logits = member.logits(tfm.network, rows[context], labels[context], query)
        alone = member.logits(
            tfm.network, rows[all_classes, None], labels[all_classes, None], query[:, :1]
        )
    probability = logits.softmax(dim=-1)
    assert torch.isfinite(logits).all()
    assert probability[:, 1, 1].max() < 1e-6
    assert probability[:, 1, [0, 2]].min() > 1e-4
    assert probability[:, 0, 1].min() > 1e-4
    # One task's context says nothing about another's.
    torch.testing.assert_close(logits[:, :1], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("load", [load_breast_cancer, load_iris])
def test_embedded_model_has_learned(load, embedded):
    X, y = load(return_X_y=True)
    split = train_test_split(X, y, train_size=60, stratify=y, random_state=0)
    X_context, X_query, y_context, y_query = split
    proba = embedded.classifier().fit(X_context, y_context).predict_proba(X_query)
    score = proba[:, 1] if len(proba[0]) == 2 else proba
    assert roc_auc_score(y_query, score, multi_class="ovr") > 0.95


def test_embedded_checkpoint_is_small():
    assert EMBEDDED_CHECKPOINT.stat().st_size <= 15e6


def test_classifier_has_weights_of_its_own(embedded):
    classifier = embedded.classifier()
    parameter = next(classifier.model_path.model.parameters())
    assert parameter.data_ptr() != next(embedded.network.parameters()).data_ptr()


# ---- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((2_001, 5, 2), r"2,001 training rows.*'embedded'.*at most 2,000"),
        ((50, 101, 2), r"101 features.*at most 100"),
        ((50, 5, 11), r"11 classes.*at most 10"),
        ((50, 5, 1), "only one class"),
    ],
)
def test_a_table_beyond_the_limits_is_refused(embedded, size, message):
    with pytest.raises(DataError, match=message):
        embedded.check(*size)


def test_a_table_at_the_limits_is_accepted(embedded):
    limits = embedded.limits
    embedded.check(limits.max_rows, limits.max_features, limits.max_classes)


# ---- bad files and names -------------------------------------------------------------------------


def test_unknown_name_lists_the_nearest():
    with pytest.raises(UnknownNameError, match=r"Did you mean 'embedded'"):
        load_tfm("embeded")
    with pytest.raises(CausalMixError, match="name must be a string or a Path, got 5"):
        load_tfm(5)


def test_missing_file_is_named_and_not_downloaded(tmp_path):
    with pytest.raises(CheckpointError, match=r"No checkpoint at .*absent\.ckpt"):
        load_tfm(tmp_path / "absent.ckpt")
    with pytest.raises(CheckpointError, match=r"expected \.safetensors or \.ckpt"):
        load_tfm(tmp_path / "weights.bin")


@pytest.mark.parametrize(("version", "name"), zip(OFFICIAL_VERSIONS, SMALL, strict=True))
def test_official_weights_are_found_where_tabpfn_keeps_them(
    version, name, table, tmp_path, monkeypatch
):
    monkeypatch.setattr("tabpfn.model_loading.get_cache_dir", lambda: tmp_path)
    with pytest.raises(CheckpointError, match=rf"tabpfn-{version}.*licen[cs]e") as info:
        load_tfm(version)
    expected = Path(str(info.value).removeprefix("No checkpoint at ").split(". The")[0])
    assert expected.parent == tmp_path
    write_official(name, tmp_path, expected)
    tfm = load_tfm(version)
    assert (tfm.name, tfm.source, tfm.architecture_name) == (version, expected.name, name)

    X, y = table
    dataset = TabularDataset.from_frame(X.assign(target=[f"c{k}" for k in y]), "target")
    split = low_data_split(dataset, 60, 30, seed=0)
    got = predict_proba(tfm, split.train, split.test.X)
    by_tabpfn = TabPFNClassifier(model_path=str(expected), **REFERENCE)
    codes = split.train.y.cat.codes.to_numpy(dtype=int)
    np.testing.assert_allclose(
        got, by_tabpfn.fit(split.train.X, codes).predict_proba(split.test.X), atol=1e-6
    )
    step = FinetuneConfig(steps=1, validate_every=1, warmup_steps=0, learning_rate=1e-3)
    before, after = finetune(tfm, split, config=step).history["val_log_loss"]
    assert after != before  # it is the step that moved the weights


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_damaged_files_are_named(suffix, tmp_path):
    whole = write_official("tabpfn_v3" if suffix == ".safetensors" else "tabpfn_v2", tmp_path)
    content = whole.read_bytes()
    for damaged in (b"", content[:200], content[: len(content) // 2], b"not a checkpoint" * 9):
        path = tmp_path / f"damaged{suffix}"
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="damaged"):
            load_tfm(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture_name": ["tabpfn_v2"]},
        {"state_dict": {"weights": "x"}},
        {"state_dict": {1: torch.zeros(1)}},
    ],
)
def test_files_of_another_content_are_named(tmp_path, changes):
    path = write_official("tabpfn_v2", tmp_path)
    torch.save(torch.load(path, weights_only=True) | changes, path)
    with pytest.raises(CheckpointError, match="is no checkpoint: "):
        load_tfm(path)
    path.write_bytes(b"hello world")
    with pytest.raises(CheckpointError):
        load_tfm(path)


class _Intruder:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    path, trace = tmp_path / "model.ckpt", tmp_path / "trace"
    torch.save({"state_dict": {}, "config": _Intruder(trace)}, path)
    with pytest.raises(CheckpointError, match=r"model\.ckpt.*can run code.*save_as_safetensors"):
        load_tfm(path)
    path.write_bytes(pickle.dumps(_Intruder(trace), protocol=2))
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        load_tfm(path)
    assert not trace.exists()


def test_files_that_are_no_classifier_are_refused(tmp_path):
    network, config = random_network("tabpfn_v3")
    path = tmp_path / "model.ckpt"
    whole = {
        "state_dict": network.state_dict(),
        "config": config,
        "architecture_name": "tabpfn_v3",
        "inference_config": INFERENCE_CONFIG,
    }
    for change, message in (
        ({"config": config | {"max_num_classes": 0}}, "regression checkpoint"),
        ({"architecture_name": "tabpfn_v9"}, "unknown architecture 'tabpfn_v9'"),
        ({"config": config | {"nlayers": 2}}, "does not fit the architecture tabpfn_v3"),
        ({"inference_config": {"NO_SUCH_OPTION": 1}}, "does not fit"),
        ({"inference_config": INFERENCE_CONFIG | {"N_ESTIMATORS": 10**9}}, "N_ESTIMATORS is 1,0"),
    ):
        torch.save(whole | change, path)
        with pytest.raises(CheckpointError, match=message):
            load_tfm(path)
    torch.save({"state_dict": {}}, path)
    with pytest.raises(CheckpointError, match="lacks config"):
        load_tfm(path)


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("tabpfn_v2", "nlayers", 10**9),
        ("tabpfn_v2_6", "emsize", 10**6),
        ("tabpfn_v2_6", "num_thinking_rows", 10**10),
        ("tabpfn_v3", "nlayers", 10**9),
        ("tabpfn_v3", "dist_embed_num_blocks", 10**9),
        ("tabpfn_v3", "embed_dim", 10**6),
        ("tabpfn_v3", "embed_dim", 10**30),
        ("tabpfn_v3", "icl_num_heads", 10**9),
        ("tabpfn_v3", "num_buckets", 10**12),
        ("tabpfn_v3", "max_num_classes", 10**12),
        ("tabpfn_v3", "decoder_head_dim", 10**9),
        ("tabpfn_v3_5", "feat_agg_num_cls_tokens", 10**11),
    ],
)
def test_a_network_far_larger_than_its_weights_is_refused_before_it_is_built(
    name, setting, value, tmp_path, monkeypatch
):
    def build(architecture, config):
        raise AssertionError("was built")

    network, config = random_network(name)
    whole = {"state_dict": network.state_dict(), "config": config | {setting: value}}
    torch.save(whole | {"architecture_name": name}, tmp_path / "model.ckpt")
    monkeypatch.setattr("causalmix.tfm.model.build_network", build)
    with pytest.raises(CheckpointError, match=rf"model.ckpt does not fit the architecture {name}"):
        load_tfm(tmp_path / "model.ckpt")


def test_a_model_is_saved_as_safetensors_only(embedded, tmp_path):
    with pytest.raises(CheckpointError, match=r"model\.ckpt"):
        embedded.save(tmp_path / "model.ckpt")
