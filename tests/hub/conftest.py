"""Small zips that look like bundles, and a loopback web server that gives them out."""

from __future__ import annotations

import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from passion_components.hub.index import write_index

METADATA = {"version": "0.1.0", "name": "PASSION on RFNet, phantoms", "data_license": "none"}


class FileServer(ThreadingHTTPServer):
    """Gives out the files of a folder, with ranges; notes what it is asked for and can misbehave.

    Attributes:
        asked: of every request its path and its ``Range``.
        cuts: after how many bytes the next answers with a zip are cut off, first to last; then they are whole.
        ranges: whether ranges are served.
        moved: path -> address that it redirects to.
        sized: whether lengths are told.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.ranges, self.sized = folder, True, True
        self.asked: list[tuple[str, str | None]] = []
        self.cuts: list[int] = []
        self.moved: dict[str, str] = {}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append((self.path, wanted))
        if self.path in server.moved:
            self.send_response(302)
            self.send_header("Location", server.moved[self.path])
            self.end_headers()
            return
        file = server.folder / self.path.lstrip("/")
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if begin >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        if server.sized:
            self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts and file.suffix == ".zip" else len(content)
        self.wfile.write(content[begin : begin + cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    with FileServer(folder) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(autouse=True)
def passion_home(monkeypatch, tmp_path) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("PASSION_HOME", str(home))
    return home


@pytest.fixture
def make_zip(tmp_path) -> Callable[..., Path]:
    """A zip of a bundle, with more members or other ones."""

    def make(
        name: str = "small",
        *,
        version: str = "0.1.0",
        more: Mapping[str | zipfile.ZipInfo, bytes] | None = None,
        folder: Path = tmp_path,
    ) -> Path:
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}_v{version}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}/configs/metadata.json", json.dumps(METADATA | {"version": version}))
            archive.writestr(f"{name}/docs/README.md", "A bundle.\n")
            for member, content in (more or {}).items():
                archive.writestr(member, content)
        return path

    return make


@pytest.fixture
def published(make_zip, tmp_path) -> Path:
    """A folder with one bundle and its index."""
    folder = tmp_path / "dist"
    write_index(folder, [make_zip(folder=folder, more={"small/docs/filling": random.Random(0).randbytes(5000)})])
    return folder


@pytest.fixture
def server(published) -> Iterator[FileServer]:
    with serving(published) as started:
        yield started
