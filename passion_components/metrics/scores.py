"""Scores of label maps by region, and the record of an evaluation over cases and subsets of modalities."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from passion_components.files import write_atomically, write_text_atomically
from passion_components.metrics.empties import empty_policy
from passion_components.metrics.overlap import dice
from passion_components.metrics.surface import Surface, hd95_of_surfaces
from passion_components.modalities import all_subsets, subset_name

METRICS = ("dice", "hd95")

Scores = dict[str, dict[str, float]]
"""Region -> metric -> value."""


def score_case(
    prediction: np.ndarray,
    target: np.ndarray,
    regions: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    policy: str = "brats",
    metrics: Sequence[str] = METRICS,
) -> Scores:
    """Scores of one label map (*S); see :func:`score_predictions`."""
    return score_predictions(prediction[None], target, regions, spacing, policy=policy, metrics=metrics)[0]


def score_predictions(
    predictions: np.ndarray,
    target: np.ndarray,
    regions: Mapping[str, Sequence[int]],
    spacing: Sequence[float],
    *,
    policy: str = "brats",
    metrics: Sequence[str] = METRICS,
) -> list[Scores]:
    """Scores of n label maps against one target, whose surfaces are found only once.

    Args:
        predictions: class indices (n, *S), integers.
        target: class indices (*S), integers.
        regions: region -> class indices that it consists of.
        spacing: millimetres per voxel, one number per dimension of S.
        policy: name of the rule for empty masks (``EMPTY_POLICIES``).
        metrics: which of ``METRICS`` are wanted; Dice alone is much cheaper.

    Returns:
        For each label map region -> metric -> value: Dice in [0, 1], HD95 in mm.

    Raises:
        ValueError: label maps that are not integers or differ in shape, a spacing that does not fit, unknown names.
    """
    for name, labels in (("predictions", predictions), ("target", target)):
        if not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"{name} must be integer class indices, got {labels.dtype}")
    if predictions.shape[1:] != target.shape:
        raise ValueError(f"expected predictions of shape (n, *{target.shape}), got {predictions.shape}")
    if not metrics or set(metrics) - set(METRICS):
        raise ValueError(f"metrics must be among {', '.join(METRICS)}, got {', '.join(metrics) or 'none'}")
    rule = empty_policy(policy)
    scores: list[Scores] = [{} for _ in predictions]
    for region, classes in regions.items():
        target_mask = np.isin(target, classes)
        target_surface = Surface(target_mask, spacing) if "hd95" in metrics else None
        for prediction, of_case in zip(predictions, scores, strict=True):
            mask = np.isin(prediction, classes)
            of_case[region] = values = {}
            if "dice" in metrics:
                values["dice"] = dice(mask, target_mask, policy=policy)
            if target_surface is not None:
                values["hd95"] = hd95_of_surfaces(Surface(mask, spacing), target_surface, rule)
    return scores


class ScoreRow(NamedTuple):
    """One line of ``metrics.csv``."""

    case: str
    subset: str
    region: str
    metric: str
    value: float


class ScoreBook:
    """Everything that an evaluation has measured; a case enters only the subsets that were added for it.

    Every mean is taken over cases first, then over subsets, as published; subsets without any case are left out of it
    and shown with n = 0.

    Args:
        dataset: name of the data set.
        modalities: names of its modalities, in its order.
        policy: the rule for empty masks by which the scores were made.

    Raises:
        ValueError: an unknown policy.
    """

    def __init__(self, *, dataset: str, modalities: Sequence[str], policy: str = "brats") -> None:
        self.dataset = dataset
        self.modalities = tuple(modalities)
        self.policy = empty_policy(policy).name
        self.subsets = tuple(subset_name(subset, modalities) for subset in all_subsets(modalities))
        self._scores: dict[str, dict[str, Scores]] = {subset: {} for subset in self.subsets}
        self._layout: dict[str, tuple[str, ...]] = {}

    def add(self, case: str, subset: Iterable[str], scores: Mapping[str, Mapping[str, float]]) -> None:
        """Record what one case scored when predicted from one subset.

        Args:
            case: name of the case.
            subset: names of the modalities that the prediction was made from.
            scores: region -> metric -> value.

        Raises:
            ValueError: a subset that is none, a pair of case and subset that is there already, regions or metrics
                other than before, a value that is no finite number.
        """
        name = subset_name(subset, self.modalities)
        layout = {region: tuple(values) for region, values in scores.items()}
        if not layout or (self._layout and layout != self._layout):
            expected = self._layout or "at least one region"
            raise ValueError(f"{case}, {name}: expected scores of {expected}, got {layout or 'none'}")
        if case in self._scores[name]:
            raise ValueError(f"{case}, {name}: scored already; expected each case once per subset")
        for region, values in scores.items():
            for metric, value in values.items():
                if not math.isfinite(value):
                    raise ValueError(f"{case}, {name}, {region}: {metric} must be a finite number, got {value}")
        self._layout = layout
        self._scores[name][case] = {
            region: {metric: float(value) for metric, value in values.items()} for region, values in scores.items()
        }

    def rows(self) -> list[ScoreRow]:
        """All values, by subset in the data set's order, then in the order in which they were added."""
        return [
            ScoreRow(case, subset, region, metric, value)
            for subset, cases in self._scores.items()
            for case, scores in cases.items()
            for region, values in scores.items()
            for metric, value in values.items()
        ]

    def counts(self) -> dict[str, int]:
        """Number of cases behind each subset, in the data set's order."""
        return {subset: len(cases) for subset, cases in self._scores.items()}

    def mean(self, metric: str) -> float:
        """Mean over cases, then subsets, then regions.

        Raises:
            ValueError: nothing was added, or not this metric.
        """
        values = [self._mean(self.subsets, region, metric) for region, has in self._layout.items() if metric in has]
        if not values:
            raise ValueError(f"no scores of {metric!r} to take the mean of")
        return math.fsum(values) / len(values)

    def by_subset(self) -> dict[str, dict[str, Any]]:
        """Subset -> ``{"n": cases, metric: {region: mean over cases, None where n is 0}}``."""
        return {subset: self._entry([subset]) for subset in self.subsets}

    def by_count(self) -> dict[int, dict[str, Any]]:
        """Number of available modalities -> means over the subsets of that size, laid out as in :meth:`by_subset`.

        ``n`` counts pairs of case and subset.
        """
        sizes = {subset: subset.count("+") + 1 for subset in self.subsets}
        return {
            size: self._entry([subset for subset in self.subsets if sizes[subset] == size])
            for size in range(1, len(self.modalities) + 1)
        }

    def summary(self, run: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All means as plain values.

        Args:
            run: what else belongs to the record (weights, what they were trained on, spacing, time), kept under
                ``"run"``.

        Returns:
            ``dataset``, ``modalities``, ``regions``, ``metrics``, ``policy``, ``cases``, ``run``; ``subsets`` and
            ``by_count`` as the methods of that kind return them (counts as words, as JSON wants them);
            ``mean_over_subsets``, laid out alike; ``overall``: metric -> mean over its regions.

        Raises:
            ValueError: nothing was added.
        """
        metrics = list(dict.fromkeys(metric for has in self._layout.values() for metric in has))
        overall: dict[str, Any] = {"n": sum(self.counts().values())}
        if not overall["n"]:
            raise ValueError("no scores to summarise; expected at least one case")
        return {
            "dataset": self.dataset,
            "modalities": list(self.modalities),
            "regions": list(self._layout),
            "metrics": metrics,
            "policy": self.policy,
            "cases": len({case for cases in self._scores.values() for case in cases}),
            "run": dict(run or {}),
            "subsets": self.by_subset(),
            "mean_over_subsets": self._entry(self.subsets),
            "by_count": {str(size): entry for size, entry in self.by_count().items()},
            "overall": overall | {metric: self.mean(metric) for metric in metrics},
        }

    def write_csv(self, path: Path | str) -> None:
        """Write ``case,subset,region,metric,value``, values so that reading them gives the same numbers."""

        def write(partial: Path) -> None:
            with open(partial, "w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(ScoreRow._fields)
                table.writerows(row[:-1] + (repr(row.value),) for row in self.rows())

        write_atomically(path, write)

    def write_json(self, path: Path | str, run: Mapping[str, Any] | None = None) -> None:
        """Write :meth:`summary` as JSON.

        Raises:
            ValueError: nothing was added, or a number in ``run`` is not finite.
        """
        text = json.dumps(self.summary(run), indent=2, allow_nan=False) + "\n"
        write_text_atomically(path, text)

    def _entry(self, subsets: Sequence[str]) -> dict[str, Any]:
        entry: dict[str, Any] = {"n": sum(len(self._scores[subset]) for subset in subsets)}
        for region, metrics in self._layout.items():
            for metric in metrics:
                entry.setdefault(metric, {})[region] = self._mean(subsets, region, metric) if entry["n"] else None
        return entry

    def _mean(self, subsets: Sequence[str], region: str, metric: str) -> float:
        means = []
        for subset in subsets:
            values = [scores[region][metric] for scores in self._scores[subset].values()]
            if values:
                means.append(math.fsum(values) / len(values))
        return math.fsum(means) / len(means)
