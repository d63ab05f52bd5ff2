"""How good weights are from a subset of sequences, by the scores that ship with them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from passion_components.data.errors import UserError
from passion_components.hub.facts import dice_by_subset
from passion_components.modalities import subset_name

SCORES_FILE = "evaluation.json"
"""Beside weights: the summary of their evaluation."""
POOR = 0.6
"""A mean Dice below it is told as a warning."""
_WORTH = 0.02
"""A sequence is suggested where it adds at least as much to the mean Dice."""


@dataclass(frozen=True)
class Expected:
    """What an evaluation found of one subset.

    Attributes:
        subset: as ``t1+flair``.
        n: cases that were scored.
        data: name of their data set.
        dice: region -> mean over the cases.
        give: the sequence whose addition helps most, None where none helps.
        then: mean Dice over the regions with it.
    """

    subset: str
    n: int
    data: str
    dice: Mapping[str, float]
    give: str | None
    then: float | None

    @property
    def mean(self) -> float:
        """Mean Dice over the regions."""
        return math.fsum(self.dice.values()) / len(self.dice)

    @property
    def is_poor(self) -> bool:
        return self.mean < POOR

    def line(self) -> str:
        """All of it, in words."""
        scores = ", ".join(f"{region} {value:.2f}" for region, value in self.dice.items())
        alone = "" if "+" in self.subset else " alone"
        more = f"; give {self.give} too if you can ({self.then:.2f})" if self.give else ""
        cases = "1 case" if self.n == 1 else f"{self.n} cases"
        return f"from {self.subset}{alone} these weights reach Dice {scores} on {cases} of {self.data}{more}"


class ShippedScores:
    """The scores beside weights, if they are of these weights.

    Args:
        weights: the file.
        hashes: SHA-256 under which the scored weights may be known: of one state there are files of two formats.
        modalities: names of the sequences, in order.

    Raises:
        UserError: a file of scores that is damaged.
    """

    def __init__(self, weights: Path, hashes: Sequence[str], modalities: Sequence[str]) -> None:
        self.modalities = tuple(modalities)
        self.path = weights.with_name(SCORES_FILE)
        self.scores = self._read(set(hashes))

    def _read(self, hashes: set[str]) -> Mapping[str, Any] | None:
        if not self.path.is_file():
            return None
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            subsets = dice_by_subset(content)
            scored = content["run"]["weights"]["sha256"]
            data = str(content["dataset"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{self.path}: is no summary of an evaluation ({error!r}); fetch the bundle again"
            ) from None
        return {"data": data, "subsets": subsets} if scored in hashes else None

    @property
    def why_unknown(self) -> str:
        """Why :meth:`of` may have no answer."""
        if self.scores is not None:
            return "none of their scores is of these sequences"
        return f"{self.path} is of other weights" if self.path.is_file() else "no scores ship with them"

    def of(self, present: Sequence[str]) -> Expected | None:
        """What is to be expected from these sequences; None where no case was scored from them."""
        if self.scores is None:
            return None
        subsets = self.scores["subsets"]
        subset = subset_name(present, self.modalities)
        if not subsets.get(subset, {}).get("dice"):
            return None
        entry = subsets[subset]
        mean = _mean(entry["dice"])
        added = {
            name: _mean(larger["dice"])
            for name in self.modalities
            if name not in present
            and (larger := subsets.get(subset_name([*present, name], self.modalities)))
            and larger["dice"]
        }
        best = max(added, key=lambda name: added[name], default=None)
        helps = best is not None and added[best] >= mean + _WORTH
        return Expected(
            subset=subset,
            n=entry["n"],
            data=self.scores["data"],
            dice=entry["dice"],
            give=best if helps else None,
            then=added[best] if best is not None and helps else None,
        )


def _mean(values: Mapping[str, float]) -> float:
    return math.fsum(values.values()) / len(values)
