"""A bundle fetched from a source, checked, and put in place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock

from passion_components.data.errors import UserError
from passion_components.files import sha256_of
from passion_components.hub.index import IndexEntry
from passion_components.hub.install import RECORD, put_in_place
from passion_components.hub.sources import Source


def download(
    entry: IndexEntry, source: Source, folder: Path, *, force: bool = False, moved: Callable[[int], Any]
) -> bool:
    """Put the bundle of an entry into ``folder``; False where it is there already.

    Two that fetch one bundle into one folder do it one after the other. Whatever goes wrong, the folder holds the
    bundle that it held before; where a transfer is cut off, the next call goes on from there.

    Args:
        force: replace another version, or fetch the same one again.
        moved: told how many bytes are there.

    Raises:
        UserError: the source fails; the zip is not the one of the index, or no bundle that can be unpacked safely;
            something else is there.
    """
    target = folder / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{entry.name}.lock"):
        if target.exists():
            record = _record(target)
            if record.get("sha256") == entry.sha256 and not force:
                return False
            _refuse_replacing(target, record, entry, force)
        with source.archive(entry, folder / ".downloads", moved) as archive:
            _refuse_another_file(archive, entry, source)
            said = {"version": entry.version, "source": source.where, "file": entry.file, "sha256": entry.sha256}
            put_in_place(archive, target, record=said)
    return True


def _record(target: Path) -> dict[str, Any]:
    """What was downloaded into a folder; nothing where it came in another way."""
    try:
        record = json.loads((target / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _refuse_replacing(target: Path, record: dict[str, Any], entry: IndexEntry, force: bool) -> None:
    if not record:
        raise UserError(
            f"{target}: is there already, and was not downloaded by this program, so it is not replaced; move it away, "
            f"or name another folder with --out"
        )
    if not force:
        raise UserError(
            f"{target}: version {record.get('version')} is there, the source has version {entry.version} with another "
            f"SHA-256; add --force to replace it"
        )
    if (target / "output").exists():
        raise UserError(f"{target / 'output'}: holds results of runs, which --force would remove; move it away first")


def _refuse_another_file(archive: Path, entry: IndexEntry, source: Source) -> None:
    """By size, then by hash, before anything in it is looked at."""
    if not archive.is_file():
        raise UserError(f"{source.where}: {entry.file} is missing, though the index names it; tell whoever made it")
    size = archive.stat().st_size
    found = f"{size:,} bytes" if size != entry.size else f"SHA-256 {sha256_of(archive)}"
    if found != f"SHA-256 {entry.sha256}":
        raise UserError(
            f"{source.where}: {entry.file} is not the file that the index tells of (found {found}, expected "
            f"{entry.size:,} bytes of SHA-256 {entry.sha256}), so it was not opened; run the command again, or tell "
            f"whoever published it"
        )
