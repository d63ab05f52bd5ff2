"""What is unpacked from a zip, and what is refused with nothing written."""

import stat
import zipfile

import pytest

from passion_components.data.errors import UserError
from passion_components.hub import archive as module
from passion_components.hub.archive import bundle_name, unpack


def of_kind(name: str, mode: int) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    return member


def refusal(path, into) -> str:
    with pytest.raises(UserError) as refused:
        unpack(path, into)
    assert "\n" not in str(refused.value) and not into.exists()
    return str(refused.value)


def test_files_and_folders_come_out_as_they_went_in_without_their_modes(make_zip, tmp_path):
    more = {of_kind("small/run.sh", 0o104777): b"content", zipfile.ZipInfo("small/models/"): b""}
    path = make_zip(more=more)
    assert bundle_name(path) == "small"
    assert unpack(path, tmp_path / "out") == tmp_path / "out" / "small"
    assert (tmp_path / "out/small/run.sh").read_bytes() == b"content" and (tmp_path / "out/small/models").is_dir()
    assert not (tmp_path / "out/small/run.sh").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("../small/x", "no plain path"),
        ("small/../../x", "no plain path"),
        ("/etc/x", "no plain path"),
        ("small//x", "no plain path"),
        ("small/./x", "no plain path"),
        ("small/a\\..\\x", "no plain path"),
        ("C:/x", "no plain path"),
        ("small/a\nb", "no plain path"),
        (of_kind("small/link", stat.S_IFLNK | 0o777), "is a link or a device"),
        (of_kind("small/device", stat.S_IFBLK | 0o600), "is a link or a device"),
        (of_kind("small/pipe", stat.S_IFIFO | 0o600), "is a link or a device"),
        (of_kind("small/folder/", stat.S_IFLNK | 0o777), "is a link or a device"),
        ("small/docs/readme.MD", "two members have one name"),
        ("Small/x", "at its top are Small, small"),
        ("small/docs/README.md/x", "two members have one name"),
        ("other/x", "at its top are other, small"),
        ("x", "at its top are small, x"),
    ],
)
def test_a_member_that_could_land_elsewhere_is_refused(make_zip, tmp_path, member, said):
    message = refusal(make_zip(more={member: b"/etc/passwd"}), tmp_path / "out")
    assert said in message and message.startswith("small_v0.1.0.zip: ")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(make_zip, tmp_path):
    assert "two members have one name" in refusal(make_zip(more={"small/docs/README.md": b""}), tmp_path / "out")


def test_a_bomb_is_refused_by_its_ratio(make_zip, tmp_path):
    message = refusal(make_zip(more={"small/models/model.pt": bytes(2_000_000)}), tmp_path / "out")
    assert "bytes that unpack to 2,000," in message


def test_too_many_bytes_are_refused(make_zip, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_UNPACKED", 50)
    assert "bytes that unpack to" in refusal(make_zip(), tmp_path / "out")


def test_a_bomb_that_tells_a_smaller_size_is_refused_and_never_grows(make_zip, tmp_path):
    """The local sizes are not what counts: bytes beyond the told size are not written."""
    path = make_zip(more={"small/models/model.pt": bytes(100_000)})
    size = (100_000).to_bytes(4, "little")
    content = path.read_bytes()
    assert content.count(size) == 2
    path.write_bytes(content.replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(UserError, match="damaged"):
        unpack(path, tmp_path / "out")
    assert (tmp_path / "out/small/models/model.pt").stat().st_size <= 100


def test_too_many_members_are_refused(make_zip, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_MEMBERS", 1)
    assert "holds 2 members" in refusal(make_zip(), tmp_path / "out")


@pytest.mark.parametrize(("flag", "said"), [(0x1, "is encrypted"), (0x800, None)])
def test_an_encrypted_member_is_refused(make_zip, tmp_path, flag, said):
    path = make_zip()
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 8 : central + 10] = flag.to_bytes(2, "little")
    path.write_bytes(content)
    if said is None:
        assert unpack(path, tmp_path / "out").is_dir()
    else:
        assert said in refusal(path, tmp_path / "out")


def test_other_methods_of_compression_are_refused(make_zip, tmp_path):
    member = zipfile.ZipInfo("small/x")
    path = make_zip()
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr(member, b"x" * 100, compress_type=zipfile.ZIP_BZIP2)
    assert "another method than deflate" in refusal(path, tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"<!doctype html>", b"PK\x03\x04 cut off"])
def test_what_is_no_zip_is_told(tmp_path, content):
    path = tmp_path / "small.zip"
    path.write_bytes(content)
    assert "is damaged, or no zip" in refusal(path, tmp_path / "out")


def test_an_empty_zip_is_told(tmp_path):
    path = tmp_path / "small.zip"
    zipfile.ZipFile(path, "w").close()
    assert "is empty" in refusal(path, tmp_path / "out")
