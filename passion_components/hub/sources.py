"""Where bundles come from: a folder, or an address of http(s)."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from passion_components.data.errors import UserError
from passion_components.hub.index import INDEX, MAX_BYTES, IndexEntry, read_index
from passion_components.hub.web import base_address, read_small, transfer


class Source(Protocol):
    """Has an index, and the zips that it names."""

    where: str

    def index(self) -> dict[str, IndexEntry]: ...

    def archive(self, entry: IndexEntry, downloads: Path, moved: Callable[[int], Any]) -> Any:
        """A context: the zip of an entry as a local file, not yet checked; ``downloads`` is for what is on its way."""


class FolderSource:
    """A folder, as ``scripts/package_bundles.py`` fills it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder)

    def index(self) -> dict[str, IndexEntry]:
        path = self.folder / INDEX
        if not path.is_file():
            raise UserError(f"{self.folder}: has no {INDEX}; expected a folder with zips of bundles and their index")
        with open(path, "rb") as file:
            return read_index(file.read(MAX_BYTES + 1), str(path))

    @contextmanager
    def archive(self, entry: IndexEntry, downloads: Path, moved: Callable[[int], Any]) -> Iterator[Path]:
        yield self.folder / entry.file


class WebSource:
    """A folder that a web server gives out, a GitHub release, or a Hugging Face repository."""

    def __init__(self, address: str) -> None:
        self.where = base_address(address)

    def index(self) -> dict[str, IndexEntry]:
        return read_index(read_small(self.where + INDEX, MAX_BYTES), self.where + INDEX)

    @contextmanager
    def archive(self, entry: IndexEntry, downloads: Path, moved: Callable[[int], Any]) -> Iterator[Path]:
        part = downloads / entry.sha256 / entry.file
        part.parent.mkdir(parents=True, exist_ok=True)
        transfer(self.where + entry.file, part, entry.size, moved)
        try:
            yield part
        finally:
            shutil.rmtree(part.parent)


def source_at(where: str) -> Source:
    """The source at a path or an address.

    Raises:
        UserError: neither a folder nor an address of http(s).
    """
    if where.startswith(("http://", "https://")):
        return WebSource(where)
    if not Path(where).is_dir():
        raise UserError(
            f"{where!r} is no source of bundles; accepted: a folder with {INDEX}, an http(s) address that has one, the "
            f"page of a GitHub release, the page of a Hugging Face repository"
        )
    return FolderSource(Path(where))
