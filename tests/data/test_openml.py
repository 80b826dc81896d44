from __future__ import annotations

import io
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
import sklearn.datasets._openml

from causalmix.data.dataset import load_dataset
from causalmix.errors import DataError, UnknownNameError

ANSWERS = Path(__file__).parent / "openml"


class Answer(io.BytesIO):
    """A reply of urlopen: bytes with headers."""

    def info(self):
        return {}


class Server:
    """Stands for openml.org: answers what is stored, and keeps count of the requests."""

    def __init__(self):
        self.reachable = True
        self.damage = False
        self.requests = []

    def __call__(self, request, *args, **kwargs):
        url = request.full_url
        self.requests.append(url)
        if not self.reachable:
            raise URLError("network is unreachable")
        for part, file in (
            ("/data/list/data_name/tea/", "list.json"),
            ("/json/data/features/990061", "features.json"),
            ("/json/data/qualities/990061", "qualities.json"),
            ("/json/data/990061", "description.json"),
            ("/download/990062/", "download.arff"),
        ):
            if part in url:
                content = (ANSWERS / file).read_bytes()
                return Answer(content[:-40] if self.damage and "arff" in file else content)
        raise HTTPError(url, 412, "Precondition failed", {}, io.BytesIO())


@pytest.fixture
def server(monkeypatch, tmp_path):
    server = Server()
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setattr(sklearn.datasets._openml, "urlopen", server)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return server


@pytest.mark.parametrize("identifier", ["990061", "tea"])
def test_types_target_and_provenance_are_those_of_openml(server, identifier):
    dataset = load_dataset(f"openml:{identifier}")
    assert list(dataset.X) == ["temperature", "leaf", "minutes"]
    assert dataset.categorical == ("leaf",)
    assert dataset.class_names == ("bitter", "fine")
    assert dataset.y.name == "taste"
    assert dataset.X.isna().sum().to_dict() == {"temperature": 1, "leaf": 1, "minutes": 0}
    assert dataset.X["temperature"].iloc[0] == 95.5
    assert dataset.provenance == "OpenML 990061: tea, version 2; licence CC0"


def test_id_and_name_give_the_same_content(server):
    assert load_dataset("openml:tea").content_hash == load_dataset("openml:990061").content_hash


def test_another_target_can_be_chosen(server):
    with pytest.warns(UserWarning, match="Dropped 1 row without"):
        dataset = load_dataset("openml:tea", target="leaf")
    assert dataset.class_names == ("black", "green", "white")
    assert "taste" in dataset.categorical


def test_second_load_needs_no_network(server):
    first = load_dataset("openml:tea")
    asked = len(server.requests)
    server.reachable = False
    assert load_dataset("openml:tea").content_hash == first.content_hash
    assert len(server.requests) == asked


def test_unreachable_network_is_said(server, tmp_path):
    server.reachable = False
    with pytest.raises(DataError, match=r"openml:tea .*cannot be reached.*network is unreachable"):
        load_dataset("openml:tea")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    server.reachable = True
    assert load_dataset("openml:tea").n_rows == 12


@pytest.mark.parametrize("identifier", ["12345678", "no-such-table"])
def test_unknown_dataset_is_said(server, identifier):
    with pytest.raises(UnknownNameError, match=f"no dataset '{identifier}'"):
        load_dataset(f"openml:{identifier}")


def test_empty_identifier_is_said(server):
    with pytest.raises(UnknownNameError, match="openml:31"):
        load_dataset("openml:")
    assert server.requests == []


def test_damaged_download_is_said_and_replaced(server):
    server.damage = True
    with (
        pytest.warns(RuntimeWarning, match="redownloading"),
        pytest.raises(DataError, match="checksum"),
    ):
        load_dataset("openml:tea")
    server.damage = False
    with pytest.warns(RuntimeWarning, match="redownloading"):
        assert load_dataset("openml:tea").n_rows == 12
