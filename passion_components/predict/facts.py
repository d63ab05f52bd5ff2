"""What is known of a case's predictions: kept beside them, and in one table of all cases."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from scipy import ndimage
from torch import Tensor

from passion_components import __version__
from passion_components.data.outputs import check_replaceable
from passion_components.data.reading.image_files import split_index
from passion_components.datasets import DatasetSpec
from passion_components.files import content_hashes, write_text_atomically
from passion_components.handlers.predictions import FACTS_FILE, FACTS_MARK

TABLE_FILE = "predictions.csv"
TABLE_MARK = "case,used,left_out,"
"""Beginning of every such table."""


def dataset_hash(spec: DatasetSpec) -> str:
    """SHA-256 of what a data set is."""
    return hashlib.sha256(repr(spec).encode()).hexdigest()


def scan_hashes(files: Mapping[str, str]) -> dict[str, dict[str, str | None]]:
    """Sequence -> file and its SHA-256, None where it cannot be read."""
    paths = {name: split_index(file)[0] for name, file in files.items()}
    hashes = content_hashes(paths.values())
    return {name: {"file": files[name], "sha256": hashes[path]} for name, path in paths.items()}


def regions_of(class_map: Tensor, volumes: Mapping[str, float], spec: DatasetSpec) -> dict[str, dict[str, float]]:
    """Region -> millilitres and number of connected components, corners joined, of a class map (*S)."""
    classes = np.asarray(class_map)
    joined = np.ones([3] * classes.ndim)
    return {
        region: {
            "millilitres": round(volumes[region], 3),
            "components": int(ndimage.label(np.isin(classes, indices), structure=joined)[1]),
        }
        for region, indices in spec.regions.items()
    }


def write_facts(output_dir: Path, case: str, facts: Mapping[str, Any]) -> None:
    """Write what is known of a case's predictions beside them.

    Raises:
        UserError: a file lies there that this program did not write.
    """
    path = output_dir / case / FACTS_FILE
    check_replaceable(path, FACTS_MARK)
    write_text_atomically(path, json.dumps(facts, indent=2, ensure_ascii=False) + "\n")


def read_facts(output_dir: Path, case: str) -> dict[str, Any] | None:
    """What :func:`write_facts` wrote; None where there is nothing of that kind, or it was changed since."""
    try:
        facts = json.loads((output_dir / case / FACTS_FILE).read_text(encoding="utf-8"))
        _row(facts)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return facts if FACTS_MARK in json.dumps(facts) else None


def written_by() -> str:
    """What tells the files of this program, as in :data:`FACTS_MARK`."""
    return f"passion predict {__version__}"


def all_facts(output_dir: Path) -> list[dict[str, Any]]:
    """Of every case in a folder, by name."""
    cases = sorted(path.parent.name for path in output_dir.glob(f"*/{FACTS_FILE}"))
    found = [read_facts(output_dir, case) for case in cases]
    return [facts for facts in found if facts is not None]


def write_table(output_dir: Path) -> None:
    """Write the table of all cases in a folder, whichever process has done them.

    Raises:
        UserError: a file lies there that this program did not write.
    """
    path = output_dir / TABLE_FILE
    with FileLock(output_dir / f".{TABLE_FILE}.lock"):
        rows = [_row(facts) for facts in all_facts(output_dir)]
        check_replaceable(path, TABLE_MARK)
        if not rows:
            path.unlink(missing_ok=True)
            return
        columns = dict.fromkeys(name for row in rows for name in row)
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_text_atomically(path, text.getvalue())


def _row(facts: Mapping[str, Any]) -> dict[str, Any]:
    expected = facts["expected"] or {}
    row = {"case": facts["case"], "used": "+".join(facts["used"]), "left_out": "+".join(facts["left_out"])}
    for region, found in facts["regions"].items():
        row |= {f"{region}_ml": found["millilitres"], f"{region}_components": found["components"]}
    row |= {f"expected_dice_{region}": value for region, value in expected.get("dice", {}).items()}
    return row | {
        "expected_n": expected.get("n", ""),
        "warnings": " | ".join(facts["warnings"]),
        "label_map": facts["label_map"],
        "label_scheme": facts["settings"]["label_scheme"],
        "bundle": facts["bundle"]["name"],
        "weights_sha256": facts["weights"]["sha256"],
        "dataset": facts["dataset"]["name"],
        "dataset_sha256": facts["dataset"]["sha256"],
        "scans_sha256": " ".join(f"{name}={scan['sha256']}" for name, scan in facts["scans"].items()),
        "written_by": facts["written_by"],
    }


class _CaseWarnings(logging.Handler):
    """Keeps what is warned of, by the case that a message begins with."""

    def __init__(self, cases: Sequence[str]) -> None:
        super().__init__(logging.WARNING)
        self.cases = sorted(cases, key=len, reverse=True)
        self.by_case: dict[str, list[str]] = defaultdict(list)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        case = next((case for case in self.cases if message.startswith(f"{case}: ")), None)
        if case is not None:
            self.by_case[case].append(message.removeprefix(f"{case}: "))


@contextmanager
def collected_warnings(cases: Sequence[str]) -> Iterator[Mapping[str, list[str]]]:
    """Case -> what the package warns of it meanwhile."""
    handler = _CaseWarnings(cases)
    logger = logging.getLogger("passion_components")
    logger.addHandler(handler)
    try:
        yield handler.by_case
    finally:
        logger.removeHandler(handler)
