import pytest
import torch
from torch import nn

from passion_components.backbones.weight_files import read_weights


@pytest.fixture
def good(tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "good.pt")
    return tmp_path / "good.pt"


def test_both_formats_of_torch_are_read(good, tmp_path):
    torch.save({"a": torch.ones(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert all(torch.equal(read_weights(path)["a"], torch.ones(3)) for path in (good, tmp_path / "old.pt"))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "is empty; fetch or write it again"),
        (b"no weights", "is damaged, or no weight file; fetch or write it again"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a Git LFS pointer.*; run `git lfs pull`"),
        (b"\n<!DOCTYPE html>\n<html>", "is a web page, not weights; download the file itself"),
        (b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix", "could be read only by executing it"),
    ],
    ids=["empty", "text", "pointer", "page", "pickle"],
)
def test_what_is_no_weight_file_is_named(tmp_path, content, line):
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=line) as refusal:
        read_weights(path)
    assert str(refusal.value).startswith(str(path))
    assert "\n" not in str(refusal.value) and "weights_only" not in str(refusal.value)


def test_half_a_file_is_damaged(good):
    good.write_bytes(good.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"good.pt is damaged, or no weight file; fetch or write it again$"):
        read_weights(good)


def test_more_than_tensors_is_refused_without_pytorchs_advice(tmp_path):
    class Payload:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    for content in ({"a": nn.Linear(1, 1)}, Payload()):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(ValueError, match="w.pt holds more than weights and could be read only by") as refusal:
            read_weights(tmp_path / "w.pt")
        assert "weights_only" not in str(refusal.value) and not (tmp_path / "ran").exists()


def test_a_list_of_tensors_is_no_state(tmp_path):
    torch.save([torch.ones(1)], tmp_path / "w.pt")
    with pytest.raises(ValueError, match="w.pt holds a list; expected names with their tensors"):
        read_weights(tmp_path / "w.pt")
