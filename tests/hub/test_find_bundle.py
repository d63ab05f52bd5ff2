"""A bundle by its folder, its zip, or its name."""

import json
import pickle

import pytest
import torch

from passion_components.data.errors import UserError
from passion_components.files import sha256_of
from passion_components.hub import find_bundle
from passion_components.hub.install import home, put_in_place


def test_a_folder_is_taken_as_it_is(make_zip, passion_home):
    put_in_place(make_zip(), passion_home / "bundles" / "small")
    assert find_bundle(passion_home / "bundles" / "small") == passion_home / "bundles" / "small"


def test_a_name_is_that_of_a_downloaded_bundle(make_zip, passion_home):
    put_in_place(make_zip(), passion_home / "bundles" / "small")
    assert find_bundle("small") == passion_home / "bundles" / "small"


def test_a_zip_is_unpacked_once_and_again_when_it_has_changed(make_zip):
    path = make_zip()
    first = find_bundle(path)
    assert first.name == "small" and (first / "docs/README.md").is_file()
    (first / "docs/README.md").write_text("kept")
    assert find_bundle(path) == first and (first / "docs/README.md").read_text() == "kept"
    make_zip(more={"small/docs/new.md": b"new"})
    second = find_bundle(path)
    assert second != first and (second / "docs/new.md").is_file()
    assert not [left for left in home().rglob("*.new")]


@pytest.mark.parametrize("name", ["other", "../bundles/small", ".small.lock", "", "/nowhere/small"])
def test_what_is_none_is_told_with_the_names_that_are_there(make_zip, passion_home, name):
    put_in_place(make_zip(), passion_home / "bundles" / "small")
    with pytest.raises(UserError, match="(?s)(accepted: .*small|is no bundle).*"):
        find_bundle(name)


def test_another_folder_is_no_bundle(tmp_path):
    with pytest.raises(UserError, match="is no bundle: it has no configs/metadata.json"):
        find_bundle(tmp_path)


@pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
def test_weights_are_no_bundle_though_a_checkpoint_is_a_zip(tmp_path, name):
    torch.save({"a": torch.ones(1)}, tmp_path / name)
    with pytest.raises(UserError, match=rf"{name}: is a file of weights; name the bundle's folder"):
        find_bundle(tmp_path / name)


class TestWhatIsUnpackedIsCheckedFirst:
    def refusal(self, path, passion_home):
        with pytest.raises(UserError) as refused:
            find_bundle(path)
        left = [file for file in passion_home.rglob("*") if file.is_file() and file.name != ".lock"]
        assert not left and "\n" not in str(refused.value)
        return str(refused.value)

    def test_a_pickle_as_weights_is_refused_and_not_run(self, make_zip, passion_home, tmp_path):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        raw = make_zip(more={"small/models/model.pt": pickle.dumps(Evil())})
        assert "small/models/model.pt holds more than weights" in self.refusal(raw, passion_home)
        torch.save({"head": Evil()}, tmp_path / "model.pt")
        wrapped = make_zip(more={"small/models/model.pt": (tmp_path / "model.pt").read_bytes()})
        assert "could be read only by executing it" in self.refusal(wrapped, passion_home)
        assert not (tmp_path / "ran").exists()

    def test_weights_that_are_not_those_of_the_json_are_refused(self, make_zip, passion_home, tmp_path):
        torch.save({"head": torch.zeros(2)}, tmp_path / "model.pt")
        weights = (tmp_path / "model.pt").read_bytes()
        right = {"sha256": sha256_of(tmp_path / "model.pt")}
        good = {"small/models/model.pt": weights, "small/models/model.json": json.dumps(right).encode()}
        assert find_bundle(make_zip(more=good)).is_dir()

    @pytest.mark.parametrize(
        ("more", "said"),
        [
            ({"small/models/model.json": b'{"sha256": "00"}', "small/models/model.pt": b"x"}, "is not the file that"),
            ({"small/models/model.json": b"[]"}, "model.json is damaged"),
            ({"small/models/evaluation.json": b'{"cases": "x"}'}, "is not as a bundle has it"),
            ({"small/models/evaluation.json": b"{"}, "evaluation.json is damaged"),
        ],
    )
    def test_facts_that_contradict_or_are_damaged_are_refused(self, make_zip, passion_home, more, said):
        assert said in self.refusal(make_zip(more=more), passion_home)


class TestPuttingInPlace:
    def test_a_newer_one_replaces_the_older_whole(self, make_zip, passion_home):
        target = passion_home / "small"
        put_in_place(make_zip(more={"small/docs/old.md": b""}), target)
        put_in_place(make_zip(version="0.2.0"), target)
        assert not (target / "docs/old.md").exists() and "0.2.0" in (target / "configs/metadata.json").read_text()
        assert sorted(path.name for path in passion_home.iterdir()) == ["small"]

    def test_a_bad_one_leaves_the_older_untouched(self, make_zip, passion_home):
        target = passion_home / "small"
        put_in_place(make_zip(), target)
        with pytest.raises(UserError, match="damaged"):
            put_in_place(make_zip(version="0.2.0", more={"small/models/model.json": b"{"}), target)
        assert "0.1.0" in (target / "configs/metadata.json").read_text()
        assert sorted(path.name for path in passion_home.iterdir()) == ["small"]

    def test_what_a_kill_between_two_renames_left_comes_back(self, make_zip, passion_home):
        target = passion_home / "small"
        put_in_place(make_zip(), target)
        target.rename(passion_home / ".small.old")
        with pytest.raises(UserError):
            put_in_place(make_zip(version="0.2.0", more={"small/models/model.json": b"{"}), target)
        assert "0.1.0" in (target / "configs/metadata.json").read_text()

    def test_a_zip_of_another_name_is_refused(self, make_zip, passion_home):
        with pytest.raises(UserError, match="holds the bundle 'other', expected 'small'"):
            put_in_place(make_zip("other"), passion_home / "small")
        assert not list(passion_home.glob("*"))
