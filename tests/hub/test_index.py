"""``bundles.json``: written from zips, read with distrust."""

import json

import pytest

from passion_components.data.errors import UserError
from passion_components.hub.index import MAX_BYTES, read_index, write_index

ENTRY = {
    "name": "small",
    "version": "0.1.0",
    "file": "small_v0.1.0.zip",
    "size": 10,
    "sha256": "0" * 64,
    "title": "PASSION on RFNet, phantoms",
    "data_licence": "none",
    "weights": True,
    "scores": {"cases": 3, "subsets": {"t1": {"n": 3, "dice": {"WT": 0.5}}}},
}


def refusal(content) -> str:
    with pytest.raises(UserError) as refused:
        read_index(content if isinstance(content, bytes) else json.dumps(content).encode(), "index")
    assert "\n" not in str(refused.value) and str(refused.value).startswith("index: ")
    return str(refused.value)


def test_an_index_tells_what_the_zips_hold(make_zip, tmp_path):
    evaluation = {
        "cases": 2,
        "subsets": {
            "t1": {"n": 2, "dice": {"WT": 0.25, "TC": None, "ET": float("nan")}},
            "t2": {"n": 1, "dice": {"WT": 0.75}},
        },
    }
    more = {"small/models/evaluation.json": json.dumps(evaluation).encode(), "small/models/model.pt": b"weights"}
    archives = [make_zip(more=more, folder=tmp_path / "dist"), make_zip("bare", folder=tmp_path / "dist")]
    write_index(tmp_path / "dist", archives)
    index = read_index((tmp_path / "dist/bundles.json").read_bytes(), "index")
    assert list(index) == ["bare", "small"]
    assert index["small"].size == archives[0].stat().st_size and index["small"].file == archives[0].name
    assert index["small"].weights and not index["bare"].weights and index["bare"].scores is None
    subsets = {"t1": {"n": 2, "dice": {"WT": 0.25}}, "t2": {"n": 1, "dice": {"WT": 0.75}}}
    assert index["small"].scores == {"cases": 2, "subsets": subsets}


def test_two_versions_of_one_bundle_are_refused(make_zip, tmp_path):
    archives = [make_zip(version=version) for version in ("0.1.0", "0.2.0")]
    with pytest.raises(UserError, match="small_v0.1.0.zip and small_v0.2.0.zip hold one bundle"):
        write_index(tmp_path, archives)
    assert not (tmp_path / "bundles.json").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("file", "file:///etc/passwd"),
        ("file", "../small.zip"),
        ("file", "/etc/small.zip"),
        ("file", "https://example.org/small.zip"),
        ("file", ".hidden.zip"),
        ("file", "small.zip\n"),
        ("file", "small.tar"),
        ("name", "../small"),
        ("name", ".small"),
        ("name", ""),
        ("name", "a" * 101),
        ("version", "0.1/0"),
        ("size", 0),
        ("size", -1),
        ("size", "10"),
        ("size", True),
        ("size", 2**37),
        ("sha256", "0" * 63),
        ("sha256", "G" * 64),
        ("title", "two\nlines"),
        ("title", "\x1b[2J"),
        ("data_licence", None),
        ("weights", "yes"),
        ("scores", {"cases": 3}),
        ("scores", {"cases": 3, "subsets": {"t1": {"n": 3, "dice": {"WT": "good"}}}}),
    ],
)
def test_an_entry_that_could_mislead_is_told_by_its_place(key, value):
    message = refusal({"format": 1, "bundles": [ENTRY, ENTRY | {key: value}]})
    assert f"$.bundles[1].{key}" in message and len(message) < 700


def test_unknown_and_missing_keys_are_told():
    assert "'url' was unexpected" in refusal({"format": 1, "bundles": [ENTRY | {"url": "https://example.org"}]})
    without = {key: value for key, value in ENTRY.items() if key != "sha256"}
    assert "'sha256' is a required" in refusal({"format": 1, "bundles": [without]})


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b"[]", b"\xff\xfe", b'{"a":' * 100_000, b" " * (MAX_BYTES + 1), b"1" * 10_000],
    ids=["empty", "page", "list", "bytes", "deep", "long", "digits"],
)
def test_what_is_no_index_is_told(content):
    assert "is no index of bundles" in refusal(content)


def test_another_format_asks_for_an_update():
    assert "has the format 2, this version reads 1" in refusal({"format": 2, "packages": {}})


def test_a_bundle_that_stands_twice_is_refused():
    assert "stands in it twice" in refusal({"format": 1, "bundles": [ENTRY, ENTRY]})
