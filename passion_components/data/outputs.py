"""Folders and files that this program writes: never a stranger's file replaced, one run in a folder at a time."""

from __future__ import annotations

import errno
import fcntl
import gzip
import logging
import os
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from passion_components.data.errors import UserError

logger = logging.getLogger(__name__)

IMAGE_MARK = b"passion-bundles prediction"
"""Stands in the header of every image that is a prediction."""

_HEAD = 65536
_QUIET = 60
"""Seconds."""
_PARTIAL = re.compile(r"\.partial-(\d+)-")


def is_own(path: Path | str, mark: bytes | str) -> bool:
    """Whether the first 64 KiB of a file, once decompressed, hold what all files of its kind hold that we write."""
    path = Path(path)
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if compressed else open(path, "rb") as file:
            head = file.read(_HEAD)
    except (OSError, EOFError, zlib.error):  # damaged: nothing says that it is ours
        return False
    return (mark.encode() if isinstance(mark, str) else mark) in head


def check_replaceable(path: Path | str, mark: bytes | str) -> None:
    """Refuse to write to ``path`` where a file lies that this program did not write, by its ``mark``.

    Raises:
        UserError: in one line.
    """
    if os.path.lexists(path) and not is_own(path, mark):
        raise UserError(
            f"{path}: exists already and was not written by this program, so it is not replaced; move it away, or "
            f"name another folder or file to write to"
        )


def remove_own(path: Path, mark: bytes | str) -> None:
    """Remove what an earlier run has written to ``path``.

    Raises:
        UserError: it is a file that this program did not write.
    """
    check_replaceable(path, mark)
    path.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path | str, what: str) -> Iterator[None]:
    """Keep ``folder``, made if needed, for one ``what`` (training, evaluating, inference) at a time.

    The lock belongs to the process and ends with it, however it ends. What killed runs have left half written in the
    folder is removed. Where the file system has no locks, that is said and the run goes on.

    Raises:
        UserError: another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{what}.lock"
    file = _locked_file(path, f"{folder}: another {what}")
    try:
        remove_partial_files(folder)
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
        with suppress(OSError):
            folder.rmdir()  # only where the run left nothing in it


def _locked_file(path: Path, holder: str) -> IO[str]:
    """Open and lock ``path``; again, where its holder has just removed it."""
    while True:
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  the lock lasts as long as it is open
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            process = file.read().strip() or "unknown"
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                logger.warning("%s cannot be locked (%s); start nothing else in this folder", path, error.strerror)
                return file
            file.close()
            raise UserError(
                f"{holder} (process {process}) writes there; wait for its end, or name another output folder"
            ) from None
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            return file
        file.close()


def remove_partial_files(folder: Path) -> None:
    """Remove what processes that run no more have left half written in a folder, at any depth.

    What was written to within a minute may be of a process on another machine, or in another container.
    """
    for path in folder.rglob(".partial-*"):
        match = _PARTIAL.match(path.name)
        if match and not _runs(int(match[1])):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _QUIET:
                    path.unlink()


def _runs(process: int) -> bool:
    """Whether another process of this number is there."""
    if process == os.getpid():
        return False  # as in containers, where every first process has one number
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
