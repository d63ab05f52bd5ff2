"""Zips of bundles, unpacked without trusting them."""

from __future__ import annotations

import re
import shutil
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from passion_components.data.errors import UserError

MAX_MEMBERS = 10_000
MAX_UNPACKED = 16 * 2**30
"""Bytes of all members together."""
MAX_RATIO = 100
"""Unpacked bytes to packed ones, of the whole zip; deflate alone reaches 1000."""

_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_STRANGE = re.compile(r"[\x00-\x1f\x7f\\:]")


def bundle_name(archive: Path) -> str:
    """Name of the bundle in a zip: that of the one folder at its top.

    Raises:
        UserError: as :func:`unpack`.
        OSError: not readable.
    """
    with _opened(archive) as opened:
        return _checked(archive, opened.infolist())


def unpack(archive: Path, into: Path) -> Path:
    """Unpack a bundle's zip into the folder ``into``; gives the bundle's folder in it.

    The zip is judged as a whole before anything is written: plain files and folders only, below one folder, each once
    on file systems of any kind, not encrypted, and of bounded number and size. No file gets its mode from the zip.

    Raises:
        UserError: not such a zip, or a damaged one. ``into`` may then hold a part of it.
        OSError: not readable, or ``into`` not writable.
    """
    with _opened(archive) as opened:
        members = opened.infolist()
        top = _checked(archive, members)
        for member in members:
            path = into / member.filename
            if member.is_dir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as source, open(path, "xb") as target:
                shutil.copyfileobj(source, target, 2**20)
    return into / top


@contextmanager
def _opened(archive: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(archive) as opened:
            yield opened
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, UnicodeDecodeError) as error:
        raise UserError(f"{archive.name}: is damaged, or no zip ({error}); fetch it again") from None


def _checked(archive: Path, members: Sequence[zipfile.ZipInfo]) -> str:
    """The one folder that all members lie in."""

    def refuse(found: str) -> UserError:
        return UserError(
            f"{archive.name}: {found}; nothing was unpacked; expected plain files below one folder that has the "
            f"bundle's name; ask whoever made the zip for another one"
        )

    if not members:
        raise refuse("is empty")
    if len(members) > MAX_MEMBERS:
        raise refuse(f"holds {len(members):,} members, at most {MAX_MEMBERS:,} are accepted")
    for member in members:
        fault = _fault(member)
        if fault is not None:
            raise refuse(f"the member {member.filename!r} {fault}")
    unpacked, packed = (sum(sizes) for sizes in zip(*((m.file_size, m.compress_size) for m in members), strict=True))
    if unpacked > min(MAX_UNPACKED, MAX_RATIO * max(packed, 1)):
        raise refuse(f"{packed:,} bytes that unpack to {unpacked:,}, at most {MAX_RATIO} times as many are accepted")
    paths = [PurePosixPath(_folded(member.filename)) for member in members]
    files = [path for path, member in zip(paths, members, strict=True) if not member.is_dir()]
    taken = set(files) & {parent for path in paths for parent in path.parents}
    if len(set(paths)) < len(paths) or taken:
        raise refuse("two members have one name, on file systems that do not tell capital letters")
    tops = sorted({member.filename.split("/")[0] for member in members})
    if len(tops) != 1 or PurePosixPath(_folded(tops[0])) in files:
        raise refuse(f"at its top are {', '.join(tops[:3])}{', ...' if len(tops) > 3 else ''}")
    return tops[0]


def _fault(member: zipfile.ZipInfo) -> str | None:
    """What is wrong with one member, None where nothing is."""
    name = member.filename.removesuffix("/") if member.is_dir() else member.filename
    if _STRANGE.search(member.orig_filename) or any(part in ("", ".", "..") for part in name.split("/")):
        return "is no plain path inside the zip"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFDIR if member.is_dir() else stat.S_IFREG):
        return "is a link or a device"
    if member.flag_bits & _ENCRYPTED:
        return "is encrypted"
    if member.compress_type not in _METHODS:
        return "is compressed by another method than deflate"
    return None


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
