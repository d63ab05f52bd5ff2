"""What a bundle says of itself, read as data: no config is evaluated and no weights are opened."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import Path as ZipPath

from passion_components.data.errors import UserError

METADATA = "configs/metadata.json"
WEIGHTS = ("models/model.safetensors", "models/model.pt")
HASHES = {".safetensors": "sha256_safetensors", ".pt": "sha256"}
"""Ending of a weight file -> the entry of the JSON beside it that holds its hash."""


@dataclass(frozen=True)
class BundleFacts:
    """A bundle, as lists and the index tell of it.

    Attributes:
        title: network and data set, for people.
        data_licence: the licence of the data, and of weights trained on it.
        weights: whether it has any.
        scores: ``{"cases": n, "subsets": {"t1+t2": {"n": n, "dice": {region: mean over cases}}}}`` of its weights, or
            None.
    """

    version: str
    title: str
    data_licence: str
    weights: bool
    scores: dict[str, Any] | None


def facts_of(bundle: Path | ZipPath) -> BundleFacts:
    """What a bundle's folder, or one within a zip, says of itself.

    Raises:
        UserError: a file of it is missing, damaged, or says something else than expected.
    """
    metadata = read_object(bundle, METADATA)
    evaluation = bundle / "models" / "evaluation.json"
    try:
        return BundleFacts(
            version=_text(metadata["version"]),
            title=_text(metadata["name"]),
            data_licence=_text(metadata.get("data_license", "see docs/data_license.txt")),
            weights=any((bundle / name).is_file() for name in WEIGHTS),
            scores=_scores(read_object(bundle, "models/evaluation.json")) if evaluation.is_file() else None,
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{bundle.name}: {METADATA} or models/evaluation.json is not as a bundle has it ({error!r}); fetch it again"
        ) from None


def mean_dice(scores: dict[str, Any]) -> float:
    """Mean over subsets and regions."""
    values = [value for subset in scores["subsets"].values() for value in subset["dice"].values()]
    return math.fsum(values) / len(values)


def dice_by_subset(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Subset -> ``{"n": n, "dice": {region: mean over cases}}`` of an evaluation.json; what has no score is left out.

    Raises:
        KeyError, TypeError, AttributeError, ValueError: it is no summary of an evaluation.
    """
    return {
        str(name): {"n": int(entry["n"]), "dice": _numbers(entry["dice"])}
        for name, entry in evaluation["subsets"].items()
    }


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    numbers = {str(region): float(value) for region, value in values.items() if value is not None}
    return {region: value for region, value in numbers.items() if math.isfinite(value)}


def _scores(evaluation: Mapping[str, Any]) -> dict[str, Any] | None:
    subsets = dice_by_subset(evaluation)
    if not any(subset["dice"] for subset in subsets.values()):
        return None
    return {"cases": int(evaluation["cases"]), "subsets": subsets}


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"expected a line of text, got {value!r}")
    return value


def read_object(bundle: Path | ZipPath, name: str) -> dict[str, Any]:
    """The JSON object in a file of a bundle.

    Raises:
        UserError: there is no such file, or it is damaged.
    """
    file = bundle
    for part in name.split("/"):
        file = file / part
    if not file.is_file():
        raise UserError(f"{bundle.name}: has no {name}, so it is no bundle; expected a bundle's folder")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{bundle.name}: {name} is damaged; fetch the bundle again")
    return content
