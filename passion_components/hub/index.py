"""``bundles.json``: which bundles a source has, beside the zips themselves.

::

    {"format": 1, "bundles": [{"name": "tcga_lgg_rfnet", "version": "0.1.0", "file": "tcga_lgg_rfnet_v0.1.0.zip",
        "size": 5212345, "sha256": "...", "title": "PASSION on RFNet, TCGA-LGG", "data_licence": "...",
        "weights": true, "scores": {"cases": 17, "subsets": {"t1": {"n": 17, "dice": {"lesion": 0.41}}}}}]}

``file`` is a plain name: a zip lies where its index lies, never at another address.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from zipfile import Path as ZipPath

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from passion_components.data.errors import UserError
from passion_components.files import sha256_of, write_text_atomically
from passion_components.hub.archive import bundle_name
from passion_components.hub.facts import BundleFacts, facts_of

INDEX = "bundles.json"
SUMS = "SHA256SUMS"
"""Beside the index: hashes of the zips in the form that ``sha256sum -c`` reads."""
FORMAT = 1
MAX_BYTES = 2**22
"""Of an index."""

_LINE = {"type": "string", "pattern": r"\A[^\x00-\x1f\x7f-\x9f]{1,500}\Z"}
_COUNT = {"type": "integer", "minimum": 1}
_SUBSET = {
    "type": "object",
    "properties": {"n": _COUNT, "dice": {"type": "object", "additionalProperties": {"type": "number"}}},
    "required": ["n", "dice"],
}
_SCORES = {
    "type": ["object", "null"],
    "properties": {
        "cases": _COUNT,
        "subsets": {"type": "object", "propertyNames": _LINE, "additionalProperties": _SUBSET, "minProperties": 1},
    },
    "required": ["cases", "subsets"],
}
_ENTRY = {
    "name": {"type": "string", "pattern": r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z"},
    "version": {"type": "string", "pattern": r"\A[0-9A-Za-z][0-9A-Za-z.+-]{0,49}\Z"},
    "file": {"type": "string", "pattern": r"\A[A-Za-z0-9][A-Za-z0-9_.+-]{0,199}\.zip\Z"},
    "size": {"type": "integer", "minimum": 1, "maximum": 2**36},
    "sha256": {"type": "string", "pattern": r"\A[0-9a-f]{64}\Z"},
    "title": _LINE,
    "data_licence": _LINE,
    "weights": {"type": "boolean"},
    "scores": _SCORES,
}
_SCHEMA = {
    "type": "object",
    "properties": {
        "format": {"const": FORMAT},
        "bundles": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": _ENTRY,
                "required": list(_ENTRY),
                "additionalProperties": False,
            },
        },
    },
    "required": ["format", "bundles"],
    "additionalProperties": False,
}
_MAX_SHOWN = 300


@dataclass(frozen=True)
class IndexEntry(BundleFacts):
    """A bundle that a source has: what it says of itself, and the zip that it lies in.

    Attributes:
        name: of the bundle, and of the folder in the zip.
        file: name of the zip, beside the index.
        size: of the zip, in bytes.
        sha256: of the zip.
    """

    name: str
    file: str
    size: int
    sha256: str


def read_index(content: bytes, where: str) -> dict[str, IndexEntry]:
    """The entries of an index by name.

    Args:
        where: what messages call it.

    Raises:
        UserError: it is not as described above, in one line.
    """
    try:
        index = json.loads(content.decode("utf-8-sig")) if len(content) <= MAX_BYTES else None
    except (ValueError, RecursionError):
        index = None
    if not isinstance(index, dict):
        raise UserError(f"{where}: is no index of bundles; expected JSON that scripts/package_bundles.py has written")
    if index.get("format", FORMAT) != FORMAT:
        raise UserError(f"{where}: has the format {index['format']!r:.20}, this version reads {FORMAT}; update it")
    error = best_match(Draft202012Validator(_SCHEMA).iter_errors(index))
    if error is not None:
        raise UserError(f"{where}: {error.json_path[:_MAX_SHOWN]}: {error.message[:_MAX_SHOWN]}")
    entries = [IndexEntry(**entry | {"size": int(entry["size"])}) for entry in index["bundles"]]
    by_name = {entry.name: entry for entry in entries}
    if len(by_name) < len(entries):
        raise UserError(f"{where}: a bundle stands in it twice; expected one version of each")
    return by_name


def entry_of(archive: Path) -> IndexEntry:
    """What the index says of a zip.

    Raises:
        UserError: it is no zip of a bundle.
    """
    name = bundle_name(archive)
    facts = facts_of(ZipPath(archive, f"{name}/"))
    size, found = archive.stat().st_size, sha256_of(archive)
    return IndexEntry(**asdict(facts), name=name, file=archive.name, size=size, sha256=found)


def write_index(folder: Path, archives: Sequence[Path]) -> None:
    """Write the index of zips into their folder.

    Raises:
        UserError: one is no zip of a bundle, or two hold one bundle.
    """
    entries: dict[str, dict[str, Any]] = {}
    for archive in archives:
        entry = asdict(entry_of(archive))
        if entry["name"] in entries:
            files = f"{entries[entry['name']]['file']} and {archive.name}"
            raise UserError(f"{folder}: {files} hold one bundle; remove the zip that is not to be published")
        entries[entry["name"]] = entry
    content = {"format": FORMAT, "bundles": [{key: entries[name][key] for key in _ENTRY} for name in sorted(entries)]}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    read_index(text.encode(), str(folder / INDEX))
    write_text_atomically(folder / INDEX, text)
