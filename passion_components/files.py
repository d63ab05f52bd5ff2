"""Files: written so that a kill at any moment leaves the old one or the new one, and known by what they hold."""

from __future__ import annotations

import hashlib
import os
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

DETACHED = (".mhd", ".nhdr", ".hdr", ".img")
"""Endings of files whose values, or whose header, lie in a file of the same name with another ending."""


def write_atomically(path: Path | str, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a file beside ``path``, then put it in the place of ``path``.

    The temporary file keeps the suffixes of ``path``, by which libraries choose a format.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".partial-{os.getpid()}-{path.name}")
    try:
        write(partial)
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """SHA-256 of a file, or of all the files in a folder one after the other, sorted by their paths.

    With a file of :data:`DETACHED` count those beside it that have its name with another ending.

    Raises:
        OSError: not there, or not readable.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    elif path.suffix.lower() in DETACHED:
        files = sorted({path, *(file for file in path.parent.iterdir() if file.name.startswith(f"{path.stem}."))})
    else:
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def content_hashes(paths: Iterable[Path]) -> dict[Path, str | None]:
    """:func:`content_hash` of many paths, each taken once, in threads; None for what cannot be read."""

    def hash_or_none(path: Path) -> str | None:
        try:
            return content_hash(path)
        except OSError:
            return None

    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashlib lets other threads run
        return dict(zip(wanted, pool.map(hash_or_none, wanted), strict=True))


def read_text(path: Path) -> str:
    """A text that people have saved: in UTF-8 or, by its first bytes, in UTF-16, as Notepad and PowerShell write it.

    Raises:
        OSError: not there, or not readable.
        ValueError: in another encoding.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-16" if content.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: is not a text file in UTF-8; save it as that, a table as CSV UTF-8") from None


def unique_keys(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, as ``object_pairs_hook``; without it the last of equal keys counts, without a word.

    Raises:
        ValueError: a key that stands twice.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} stands twice in one object; expected every key once")
        found[key] = value
    return found


def file_in_the_way(path: Path | str) -> Path:
    """The file that stands where a folder is wanted: the path itself or what should be a folder around it."""
    path = Path(path)
    return next((each for each in (path, *path.parents) if each.is_file()), path)


def write_text_atomically(path: Path | str, text: str) -> None:
    """Write a text file, see :func:`write_atomically`."""

    def write(partial: Path) -> None:
        partial.write_text(text, encoding="utf-8")

    write_atomically(path, write)
