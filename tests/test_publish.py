"""Publishing: checked first, a dry run by default, over loopback servers only."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
import types
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from passion_components.files import sha256_of
from passion_components.hub.index import write_index

SCRIPT = Path(__file__).parents[1] / "scripts" / "publish.py"
FILES = ["small_v0.1.0.zip", "SHA256SUMS", "bundles.json"]


class Server(ThreadingHTTPServer):
    """Notes every call, and answers as ``answer`` says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.calls: list[tuple[str, str, bytes]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        raise NotImplementedError


class Handler(BaseHTTPRequestHandler):
    server: Server

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.calls.append((self.command, self.path, body))
        status, answer = self.server.answer(self.command, self.path, body)
        content = b"" if answer is None else json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = handle_any

    def log_message(self, format: str, *args: object) -> None:
        pass


class Github(Server):
    """One repository, o/r, with the tag v0.1.0."""

    def __init__(self) -> None:
        super().__init__()
        self.releases: list[dict] = []

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        url = urlsplit(path)
        match method, url.path.removeprefix("/repos/o/r"):
            case "GET", "/git/ref/tags/v0.1.0":
                return 200, {"ref": "refs/tags/v0.1.0"}
            case "GET", "/releases":
                return 200, self.releases
            case "POST", "/releases":
                upload_url = f"{self.address}/upload{{?name,label}}"
                made = json.loads(body) | {"id": 7, "assets": [], "upload_url": upload_url, "html_url": "PAGE"}
                self.releases.append(made)
                return 201, made
            case "POST", "/upload":
                asset = {"id": len(self.calls), "name": parse_qs(url.query)["name"][0], "state": "uploaded"}
                self.releases[0]["assets"].append(asset | {"size": len(body), "digest": None})
                return 201, asset
            case "PATCH", "/releases/7":
                self.releases[0] |= json.loads(body)
                return 200, self.releases[0]
            case "DELETE", asset if asset.startswith("/releases/assets/"):
                return 204, None
        return 404, {"message": "Not Found"}

    def changes(self) -> list[tuple[str, str]]:
        return [(method, path.removeprefix("/repos/o/r")) for method, path, _ in self.calls if method != "GET"]


def serving(server: Server) -> Iterator[Server]:
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def github(monkeypatch) -> Iterator[Server]:
    server = Github()
    monkeypatch.setenv("GITHUB_API_URL", server.address)
    monkeypatch.setenv("GITHUB_TOKEN", "none")
    yield from serving(server)


@pytest.fixture
def dist(tmp_path) -> Path:
    folder = tmp_path / "dist"
    folder.mkdir()
    archive = folder / FILES[0]
    with zipfile.ZipFile(archive, "w") as opened:
        metadata = {"version": "0.1.0", "name": "PASSION on phantoms", "data_license": "free"}
        opened.writestr("small/configs/metadata.json", json.dumps(metadata))
    write_index(folder, [archive])
    (folder / "SHA256SUMS").write_text(f"{sha256_of(archive)}  {archive.name}\n")
    (folder / "notes.txt").write_text("not to be published")
    return folder


@pytest.fixture
def publish(monkeypatch, capsys):
    """``scripts/publish.py`` in this process: exit code, and what it says."""
    spec = importlib.util.spec_from_file_location("publish", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["publish.py", *map(str, words)])
        code = module.main()
        said = capsys.readouterr()
        assert code == 0 or len(said.err.splitlines()) == 1
        return code, said.out + said.err

    return run


class TestGithub:
    WORDS = ("--github", "o/r", "--tag", "v0.1.0")

    def test_nothing_is_sent_without_upload(self, publish, dist, github):
        code, said = publish(dist, *self.WORDS)
        assert code == 0 and not github.calls
        assert "small 0.1.0, without weights, data: free" in said and "nothing was uploaded" in said
        assert [line.split()[2].rstrip(",") for line in said.splitlines() if line.startswith("would upload")] == FILES

    def test_a_draft_gets_all_files_and_is_published_last(self, publish, dist, github):
        code, said = publish(dist, *self.WORDS, "--upload")
        assert code == 0 and "published: PAGE" in said
        uploads = [("POST", f"/upload?name={name}") for name in FILES]
        assert github.changes() == [("POST", "/releases"), *uploads, ("PATCH", "/releases/7")]
        bodies = [body for _, path, body in github.calls if path.startswith("/upload")]
        assert bodies == [(dist / name).read_bytes() for name in FILES]
        assert json.loads(github.calls[2][2])["draft"] is True and github.releases[0]["draft"] is False

    def test_cut_off_it_goes_on_with_what_is_missing(self, publish, dist, github):
        publish(dist, *self.WORDS, "--upload")
        whole, half, _ = github.releases[0]["assets"]
        github.releases[0] |= {"draft": True, "assets": [whole, half | {"state": "starter"}]}
        github.calls.clear()
        assert publish(dist, *self.WORDS, "--upload")[0] == 0
        removed, *uploads, published = github.changes()
        assert removed == ("DELETE", f"/releases/assets/{half['id']}") and published == ("PATCH", "/releases/7")
        assert uploads == [("POST", f"/upload?name={name}") for name in FILES[1:]]

    def test_a_published_file_is_not_replaced(self, publish, dist, github):
        publish(dist, *self.WORDS, "--upload")
        github.releases[0]["assets"][0]["digest"] = "sha256:other"
        github.calls.clear()
        code, said = publish(dist, *self.WORDS, "--upload")
        assert code == 1 and "has another small_v0.1.0.zip already" in said and not github.changes()

    def test_a_tag_that_was_not_pushed_is_told(self, publish, dist, github):
        code, said = publish(dist, "--github", "o/r", "--tag", "v9", "--upload")
        assert code == 1 and "push it first: git push origin v9" in said and not github.changes()

    def test_a_repository_that_refuses_is_told(self, publish, dist, github):
        github.answer = lambda *call: (403, {"message": "Forbidden"})
        code, said = publish(dist, *self.WORDS, "--upload")
        assert code == 1 and "HTTP Error 403: Forbidden; check the repository and what the token may do" in said

    def test_an_address_that_does_not_answer_is_told(self, publish, dist, monkeypatch):
        monkeypatch.setenv("GITHUB_API_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("GITHUB_TOKEN", "none")
        code, said = publish(dist, *self.WORDS, "--upload")
        assert code == 1 and "error: GET http://127.0.0.1:9/repos/o/r/git/ref/tags/v0.1.0: " in said

    @pytest.mark.parametrize(
        ("repository", "tag", "said"),
        [
            ("o", "v0.1.0", "argument --github: expected OWNER/REPO, got 'o'"),
            (
                "https://github.com/o/r",
                "v0.1.0",
                "argument --github: expected OWNER/REPO, got 'https://github.com/o/r'",
            ),
            ("o/r", "", "argument --tag: expected a name like v0.1.0, got ''"),
        ],
    )
    def test_what_names_no_repository_or_tag_is_refused_in_the_dry_run(
        self, publish, dist, capsys, repository, tag, said
    ):
        with pytest.raises(SystemExit, match="2"):
            publish(dist, "--github", repository, "--tag", tag)
        assert said in capsys.readouterr().err

    def test_a_missing_token_is_told(self, publish, dist, github, monkeypatch):
        monkeypatch.delenv("GITHUB_TOKEN")
        code, said = publish(dist, *self.WORDS, "--upload")
        assert code == 1 and "set GITHUB_TOKEN" in said and not github.calls


class TestTheFolderIsCheckedFirst:
    @pytest.mark.parametrize("name", FILES)
    def test_what_is_missing_or_altered_is_told(self, publish, dist, name):
        for content in (b"altered", b"\xff\xfe", None):
            if content is None:
                (dist / name).unlink()
            else:
                (dist / name).write_bytes(content)
            code, said = publish(dist, "--github", "o/r", "--tag", "v0.1.0")
            assert code == 1 and said.startswith("error: ") and name in said and "would upload" not in said


class TestHuggingFace:
    WORDS = ("--hugging-face", "o/r", "--tag", "v0.1.0", "--upload")

    def test_without_the_library_the_way_to_install_it_is_told(self, publish, dist, monkeypatch):
        monkeypatch.setitem(sys.modules, "huggingface_hub", None)
        code, said = publish(dist, *self.WORDS)
        assert code == 1 and "pip install 'passion-bundles[hub]'" in said

    def test_a_tag_that_is_there_is_not_moved(self, publish, dist, monkeypatch):
        refs = types.SimpleNamespace(tags=[types.SimpleNamespace(name="v0.1.0")])
        api = types.SimpleNamespace(list_repo_refs=lambda repository: refs)
        monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(HfApi=lambda: api))
        code, said = publish(dist, *self.WORDS)
        assert code == 1 and "has the tag v0.1.0 already" in said

    def test_all_files_go_up_in_one_commit_that_gets_the_tag(self, dist):
        pytest.importorskip("huggingface_hub")
        server = HuggingFace()
        for started in serving(server):
            environment = os.environ | {"HF_ENDPOINT": started.address, "HF_TOKEN": "none", "NO_PROXY": "127.0.0.1"}
            command = [sys.executable, str(SCRIPT), str(dist), *self.WORDS]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        commit, tag = (call for call in server.calls if "/commit/" in call[1] or "/tag/" in call[1])
        lines = [json.loads(line) for line in commit[2].splitlines()]
        sent = {line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines[1:]}
        assert sent == {name: (dist / name).read_bytes() for name in FILES}
        assert tag[1].endswith(f"/tag/{'c' * 40}") and json.loads(tag[2])["tag"] == "v0.1.0"


class HuggingFace(Server):
    """One repository, o/r, without tags, that takes every file in the commit itself."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        match method, urlsplit(path).path.removeprefix("/api/models/o/r"):
            case "GET", "/refs":
                return 200, {"branches": [], "converts": [], "tags": []}
            case "POST", "/preupload/main":
                files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
                return 200, {"files": [file | {"shouldIgnore": False, "oid": None} for file in files]}
            case "POST", "/commit/main":
                return 200, {"commitUrl": f"{self.address}/o/r/commit/{'c' * 40}", "commitOid": "c" * 40}
            case "POST", tag if tag.startswith("/tag/"):
                return 200, {}
            case "GET", "" | "/revision/main":
                return 200, {"id": "o/r", "sha": "b" * 40, "siblings": []}
        return 404, {"error": f"no {method} {path}"}
