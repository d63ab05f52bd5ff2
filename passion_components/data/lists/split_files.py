"""Which cases weights were made with: ``split.json`` beside them, so that nobody tests on what they were trained on.

``{"training": [...], "validation": [...], "test": [...]}`` with names of cases, no files.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from passion_components.data.case_names import PARTS, checked_case_name
from passion_components.data.lists.datalist import Datalist
from passion_components.files import write_text_atomically

SPLIT_FILE = "split.json"
_BUNDLES = Path(__file__).resolve().parents[3] / "bundles"


def write_split(datalist: Datalist, folder: Path | str, modalities: Sequence[str]) -> Path:
    """Write ``folder/split.json``: the names of the cases of a datalist, by part.

    Raises:
        ValueError: as :meth:`~passion_components.data.lists.datalist.Datalist.parts`.
    """
    parts = datalist.parts(modalities)
    path = Path(folder) / SPLIT_FILE
    text = json.dumps({part: [case["case"] for case in cases] for part, cases in parts.items()}, indent=1)
    write_text_atomically(path, text + "\n")
    return path


def read_split(path: Path) -> dict[str, str]:
    """Case -> part.

    Raises:
        ValueError: a file that is no such list.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        named = [(part, name) for part in PARTS for name in content.get(part, [])]
        if not all(isinstance(name, str) for _, name in named):
            raise ValueError("a name that is no text")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f'{path}: expected {{"training": ["name", ...], "test": [...]}} in JSON') from error
    parts: dict[str, str] = {}
    for part, name in named:
        if parts.setdefault(checked_case_name(name, str(path)), part) != part:
            raise ValueError(f"{path}: {name} is in {parts[name]} and in {part}; expected every case in one part")
    return parts


def find_split(named: str) -> Path:
    """The split that is meant by a file, a bundle's or an output folder, or the name of a bundle.

    Raises:
        FileNotFoundError: there is none.
    """
    folders = [Path(named), *(root / named for root in (Path("bundles"), _BUNDLES) if Path(named).name == named)]
    looked = [Path(named)] + [file for at in folders for file in (at / "models" / SPLIT_FILE, at / SPLIT_FILE)]
    found = next((path for path in looked if path.is_file()), None)
    if found is None:
        raise FileNotFoundError(
            f"{named}: no {SPLIT_FILE} there; expected such a file, a folder of weights, or a bundle with weights"
        )
    return found


def training_cases(weights: Path) -> frozenset[str]:
    """The cases that weights were trained on by the ``split.json`` beside them; empty where there is none."""
    try:
        return frozenset(name for name, part in read_split(weights.parent / SPLIT_FILE).items() if part == "training")
    except ValueError:
        return frozenset()
