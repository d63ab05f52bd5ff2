"""Bundles put in place in one step, and found again."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from passion_components.data.errors import UserError
from passion_components.files import sha256_of, write_text_atomically
from passion_components.hub.archive import bundle_name, unpack
from passion_components.hub.facts import HASHES, METADATA, WEIGHTS, facts_of, read_object

RECORD = "download.json"
"""In a bundle that was downloaded: where it came from."""
ABOUT = "models/model.json"
"""What a bundle says of its weights."""


def home() -> Path:
    """Where bundles are kept: ``PASSION_HOME``, else ``passion`` in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("PASSION_HOME") or Path(cache, "passion")).expanduser()


def bundles_folder() -> Path:
    """The folder that ``passion download`` puts bundles into."""
    return home() / "bundles"


def installed_bundles() -> list[Path]:
    """Folders of the bundles that were downloaded, by name."""
    return sorted(path for path in bundles_folder().glob("[!.]*") if (path / METADATA).is_file())


def find_bundle(name_or_path: str | Path) -> Path:
    """The folder of a bundle that is given as a folder, as a zip, or by the name under which it was downloaded.

    A zip is unpacked once, below :func:`home`, under its hash.

    Raises:
        UserError: there is none, or the zip is not a bundle that can be unpacked safely.
    """
    path = Path(name_or_path)
    if path.is_dir():
        if not (path / METADATA).is_file():
            raise UserError(f"{path}: is no bundle: it has no {METADATA}; name a bundle's folder, its zip, or its name")
        return path
    if path.is_file():
        if path.suffix in HASHES:
            raise UserError(f"{path}: is a file of weights; name the bundle's folder, its zip, or its name")
        return _unpacked_once(path)
    if path.name == str(name_or_path) and not path.name.startswith("."):
        known = bundles_folder() / path
        if (known / METADATA).is_file():
            return known
    names = ", ".join(bundle.name for bundle in installed_bundles()) or "none yet"
    raise UserError(
        f"no bundle {str(name_or_path)!r}; accepted: a bundle's folder, its zip, or the name of a downloaded one "
        f"({names}); `passion download NAME` fetches one"
    )


def _unpacked_once(archive: Path) -> Path:
    target = home() / "zips" / sha256_of(archive) / bundle_name(archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.parent / ".lock"):
        if not target.is_dir():
            put_in_place(archive, target)
    return target


def put_in_place(archive: Path, target: Path, *, record: Mapping[str, str] | None = None) -> None:
    """Unpack a bundle's zip beside ``target``, check it, then rename; a bundle at ``target`` is replaced.

    ``target`` holds the old bundle or the new one, whole, or nothing for the moment between two renames; after a kill
    just then the next call brings the old one back. A lock must be held.

    Args:
        record: where it came from, kept in :data:`RECORD`.

    Raises:
        UserError: see :func:`unpack` and :func:`check_unpacked`; ``target`` is as it was.
    """
    new, old = (target.with_name(f".{target.name}.{which}") for which in ("new", "old"))
    if old.exists() and not target.exists():
        old.rename(target)
    try:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        bundle = unpack(archive, new)
        if bundle.name != target.name:
            raise UserError(f"{archive.name}: holds the bundle {bundle.name!r}, expected {target.name!r}")
        check_unpacked(bundle)
        if record is not None:
            write_text_atomically(bundle / RECORD, json.dumps(record, indent=2) + "\n")
        if target.exists():
            target.rename(old)
        try:
            bundle.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    finally:
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)


def check_unpacked(bundle: Path) -> None:
    """Refuse a bundle that is incomplete, or whose weights are not those it tells of, or are more than weights.

    Raises:
        UserError: in one line.
    """
    facts_of(bundle)
    said = read_object(bundle, ABOUT) if (bundle / ABOUT).is_file() else {}
    for name in WEIGHTS:
        file = bundle / name
        if not file.is_file():
            continue
        found = sha256_of(file)
        if said.get(HASHES[file.suffix], found) != found:
            raise UserError(f"{bundle.name}: {name} is not the file that {ABOUT} tells of; fetch it again")
        from passion_components.backbones.weight_files import read_weights  # takes seconds to import, for torch

        try:
            read_weights(file)
        except ValueError as error:
            raise UserError(str(error).removeprefix(f"{bundle.parent}{os.sep}")) from None
