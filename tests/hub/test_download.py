"""Bundles fetched from folders and over loopback http: resumed, checked, and never half there."""

import hashlib
import json
import socket
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from passion_components.data.errors import UserError
from passion_components.hub import web
from passion_components.hub.download import download
from passion_components.hub.index import write_index
from passion_components.hub.sources import source_at


def fetch(where, folder, name="small", **options) -> bool:
    source = source_at(str(where))
    return download(source.index()[name], source, folder, moved=options.pop("moved", lambda have: None), **options)


def refusal(where, folder, **options) -> str:
    """The line that refuses, where nothing is left of a bundle, whole or in part."""
    with pytest.raises(UserError) as refused:
        fetch(where, folder, **options)
    assert "\n" not in str(refused.value)
    left = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert not left
    return str(refused.value)


def version_of(folder: Path) -> str:
    return json.loads((folder / "small/configs/metadata.json").read_text())["version"]


@pytest.fixture
def out(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def zip_file(published) -> Path:
    return published / "small_v0.1.0.zip"


def test_from_a_folder_and_over_http_it_is_the_same_and_tells_where_from(published, server, tmp_path):
    assert fetch(published, tmp_path / "a") and fetch(server.address, tmp_path / "b")
    files = [sorted(path.relative_to(out) for path in out.rglob("*")) for out in (tmp_path / "a", tmp_path / "b")]
    assert [f for f in files[0] if ".downloads" not in str(f)] == [f for f in files[1] if ".downloads" not in str(f)]
    record = json.loads((tmp_path / "b/small/download.json").read_text())
    sha256 = hashlib.sha256((published / "small_v0.1.0.zip").read_bytes()).hexdigest()
    assert record == {
        "version": "0.1.0",
        "source": f"{server.address}/",
        "file": "small_v0.1.0.zip",
        "sha256": sha256,
    }


def test_what_is_there_is_not_fetched_again(server, out):
    assert fetch(server.address, out) is True
    server.asked.clear()
    assert fetch(f"{server.address}/bundles.json", out) is False
    assert server.asked == [("/bundles.json", None)]
    assert fetch(server.address, out, force=True) is True


class TestInterrupted:
    def test_it_goes_on_by_itself_where_the_server_closed(self, server, out, zip_file):
        server.cuts, seen = [1000], []
        assert fetch(server.address, out, moved=seen.append)
        assert [wanted for path, wanted in server.asked if path.endswith("zip")] == [None, "bytes=1000-"]
        assert seen == [1000, zip_file.stat().st_size] and version_of(out) == "0.1.0"

    def test_without_ranges_it_starts_anew(self, server, out, zip_file):
        server.cuts, server.ranges, seen = [1000], False, []
        assert fetch(server.address, out, moved=seen.append)
        assert seen == [1000, zip_file.stat().st_size]

    def test_given_up_it_keeps_what_came_and_the_next_call_goes_on(self, server, out, zip_file):
        server.cuts = [700, 500, *[0] * web.TRIES]
        with pytest.raises(UserError, match=r"cut off after 1,200 of [\d,]+ bytes .* run the command again"):
            fetch(server.address, out)
        assert not (out / "small").exists()
        server.asked.clear()
        assert fetch(server.address, out)
        assert [wanted for path, wanted in server.asked if path.endswith("zip")] == ["bytes=1200-"]
        assert not list((out / ".downloads").iterdir())

    @pytest.mark.parametrize("sized", [True, False])
    def test_a_part_of_another_file_is_found_by_the_hash_and_thrown_away(self, server, out, zip_file, sized):
        server.sized = sized
        part = out / ".downloads" / hashlib.sha256(zip_file.read_bytes()).hexdigest() / zip_file.name
        part.parent.mkdir(parents=True)
        part.write_bytes(b"x" * 100)
        assert "is not the file that the index tells of" in refusal(server.address, out)
        assert fetch(server.address, out)

    def test_a_part_that_is_too_long_is_thrown_away(self, server, out, zip_file):
        part = out / ".downloads" / hashlib.sha256(zip_file.read_bytes()).hexdigest() / zip_file.name
        part.parent.mkdir(parents=True)
        part.write_bytes(zip_file.read_bytes() + b"x")
        assert fetch(server.address, out)


class TestRefused:
    def test_a_zip_that_was_altered(self, published, server, out, zip_file):
        content = bytearray(zip_file.read_bytes())
        content[50] ^= 1
        zip_file.write_bytes(content)
        for where in (published, server.address):
            assert "so it was not opened" in refusal(where, out)

    @pytest.mark.parametrize("change", [b"", b"more"])
    def test_a_zip_of_another_length(self, published, server, out, zip_file, change):
        zip_file.write_bytes(zip_file.read_bytes() + change if change else zip_file.read_bytes()[:-1])
        assert "so it was not opened" in refusal(published, out)
        assert "the index says" in refusal(server.address, out)

    def test_never_more_bytes_are_taken_than_the_index_tells(self, server, out, zip_file):
        server.sized, seen = False, []
        size = zip_file.stat().st_size
        zip_file.write_bytes(zip_file.read_bytes() + b"x" * 5_000_000)
        assert fetch(server.address, out, moved=seen.append) and seen[-1] == size

    @pytest.mark.parametrize(
        ("member", "content", "said"),
        [
            ("../small/x", b"", "no plain path"),
            ("/etc/x", b"", "no plain path"),
            ("small/models/model.pt", bytes(5_000_000), "bytes that unpack to"),
            ("small/models/model.pt", b"\x80\x04.", "could be read only by executing it"),
            ("small/models/model.json", b"{", "is damaged"),
        ],
    )
    def test_what_the_right_hash_does_not_make_safe(self, make_zip, tmp_path, out, member, content, said):
        folder = tmp_path / "hostile"
        write_index(folder, [make_zip(folder=folder)])
        path = make_zip(folder=folder, more={member: content})
        index = json.loads((folder / "bundles.json").read_text())
        index["bundles"][0] |= {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        (folder / "bundles.json").write_text(json.dumps(index))
        assert said in refusal(folder, out)

    def test_a_missing_zip(self, published, server, out, zip_file):
        zip_file.unlink()
        assert "is missing, though the index names it" in refusal(published, out)
        assert "HTTP 404" in refusal(server.address, out)

    @pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
    def test_a_redirect_to_anything_but_http(self, server, out, address):
        server.moved["/small_v0.1.0.zip"] = address
        assert "/small_v0.1.0.zip" in refusal(server.address, out)

    def test_a_redirect_from_https_to_http(self):
        request = web.Request("https://127.0.0.1/x")
        with pytest.raises(UserError, match="leads to http://127.0.0.1/y, which is not followed"):
            web._Redirects().redirect_request(request, None, 302, "", {}, "http://127.0.0.1/y")

    def test_a_redirect_within_http_is_followed(self, server, out, zip_file):
        zip_file.rename(zip_file.with_name("elsewhere.zip"))
        server.moved["/small_v0.1.0.zip"] = f"{server.address}/elsewhere.zip"
        server.cuts = [1000]
        assert fetch(server.address, out)
        assert server.asked[-1] == ("/elsewhere.zip", "bytes=1000-")

    def test_a_server_that_is_not_there(self):
        with socket.socket() as bound:  # to a port where nobody listens
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(UserError, match="bundles.json: cannot be fetched .*refused"):
                source_at(f"http://127.0.0.1:{bound.getsockname()[1]}").index()

    @pytest.mark.parametrize("where", ["file:///etc", "ftp://x/y", "no_such_folder", ""])
    def test_a_source_of_another_kind(self, where):
        with pytest.raises(UserError, match="is no source of bundles|has no bundles.json"):
            source_at(where).index()


class TestReplacing:
    @pytest.fixture
    def newer(self, make_zip, tmp_path) -> Path:
        write_index(tmp_path / "newer", [make_zip(version="0.2.0", folder=tmp_path / "newer")])
        return tmp_path / "newer"

    def test_another_version_only_with_force(self, published, newer, out):
        fetch(published, out)
        with pytest.raises(UserError, match="version 0.1.0 is there, the source has version 0.2.0 .*--force"):
            fetch(newer, out)
        assert version_of(out) == "0.1.0"
        assert fetch(newer, out, force=True) and version_of(out) == "0.2.0"

    def test_a_folder_of_other_origin_never(self, published, out):
        (out / "small").mkdir(parents=True)
        with pytest.raises(UserError, match="not downloaded by this program"):
            fetch(published, out, force=True)

    def test_results_of_runs_never(self, published, newer, out):
        fetch(published, out)
        (out / "small/output").mkdir()
        with pytest.raises(UserError, match="holds results of runs"):
            fetch(newer, out, force=True)
        assert version_of(out) == "0.1.0"

    def test_a_failure_leaves_the_older_one(self, published, newer, out):
        fetch(published, out)
        (newer / "small_v0.2.0.zip").write_bytes(b"")
        with pytest.raises(UserError, match="so it was not opened"):
            fetch(newer, out, force=True)
        assert version_of(out) == "0.1.0"


def test_two_at_a_time_fetch_it_once(server, out):
    """The second waits for the first, then finds it there."""
    results = []
    threads = [threading.Thread(target=lambda: results.append(fetch(server.address, out))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True] and version_of(out) == "0.1.0"
    assert len([path for path, _ in server.asked if path.endswith("zip")]) == 1


def test_a_zip_of_another_bundle_is_refused(make_zip, tmp_path, out):
    folder = tmp_path / "dist"
    write_index(folder, [make_zip("other", folder=folder)])
    source = source_at(str(folder))
    entry = replace(source.index()["other"], name="small")
    with pytest.raises(UserError, match="holds the bundle 'other', expected 'small'"):
        download(entry, source, out, moved=lambda have: None)
    assert not (out / "small").exists()


def test_monai_downloads_the_same_zip(server, tmp_path):
    from monai.bundle import download as monai_download

    monai_download(
        name="small", url=f"{server.address}/small_v0.1.0.zip", bundle_dir=str(tmp_path / "m"), progress=False
    )
    names = zipfile.ZipFile(server.folder / "small_v0.1.0.zip").namelist()
    assert all((tmp_path / "m" / name).is_file() for name in names)


@pytest.mark.parametrize(
    ("address", "base"),
    [
        ("https://github.com/o/r", "https://github.com/o/r/releases/latest/download/"),
        ("https://github.com/o/r/releases", "https://github.com/o/r/releases/latest/download/"),
        ("https://github.com/o/r/releases/latest", "https://github.com/o/r/releases/latest/download/"),
        ("https://github.com/o/r/releases/tag/v0.1.0", "https://github.com/o/r/releases/download/v0.1.0/"),
        (
            "https://github.com/o/r/releases/download/v0.1.0/bundles.json",
            "https://github.com/o/r/releases/download/v0.1.0/",
        ),
        ("https://huggingface.co/o/r", "https://huggingface.co/o/r/resolve/main/"),
        ("https://huggingface.co/o/r/tree/v0.1.0", "https://huggingface.co/o/r/resolve/v0.1.0/"),
        ("https://example.org/bundles/", "https://example.org/bundles/"),
        ("http://127.0.0.1:80/bundles.json", "http://127.0.0.1:80/"),
    ],
)
def test_pages_of_releases_and_repositories_stand_for_their_files(address, base):
    assert web.base_address(address) == base
