"""The record of an evaluation over cases and subsets of modalities."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from passion_components.data.outputs import check_replaceable
from passion_components.files import write_atomically, write_text_atomically
from passion_components.metrics.metric import DEFAULT_POLICY, check_policy
from passion_components.metrics.scores import CaseScores, Scores
from passion_components.modalities import all_subsets, subset_name


class ScoreRow(NamedTuple):
    """One line of ``metrics.csv``; a value that enters no mean is NaN."""

    case: str
    subset: str
    region: str
    metric: str
    value: float


CSV_MARK, SUMMARY_MARK = ",".join(ScoreRow._fields), '"policy": "'
"""What stands in every ``metrics.csv`` and ``summary.json``."""


class ScoreBook:
    """Everything that an evaluation has measured; a case enters only the subsets that were added for it.

    Every mean is taken over cases first, then over subsets, as published; subsets without any case are left out of it
    and shown with n = 0. Scores that the policy for empty masks decided are counted; where it says NaN they are in no
    mean.

    Args:
        dataset: name of the data set.
        modalities: names of its modalities, in its order.
        policy: the rule for empty masks by which the scores were made.

    Raises:
        ValueError: an unknown policy.
    """

    def __init__(self, *, dataset: str, modalities: Sequence[str], policy: str = DEFAULT_POLICY) -> None:
        self.dataset = dataset
        self.modalities = tuple(modalities)
        self.policy = check_policy(policy)
        self.subsets = tuple(subset_name(subset, modalities) for subset in all_subsets(modalities))
        self._scores: dict[str, dict[str, Scores]] = {subset: {} for subset in self.subsets}
        self._empty: dict[str, dict[str, Mapping[str, str]]] = {subset: {} for subset in self.subsets}
        self._missed: dict[str, dict[str, Collection[str]]] = {subset: {} for subset in self.subsets}
        self._layout: dict[str, tuple[str, ...]] = {}

    def add(
        self,
        case: str,
        subset: Iterable[str],
        scores: Mapping[str, Mapping[str, float]],
        empty: Mapping[str, str] | None = None,
        missed: Collection[str] = (),
    ) -> None:
        """Record what one case scored when predicted from one subset.

        Args:
            case: name of the case.
            subset: names of the modalities that the prediction was made from.
            scores: region -> metric -> value.
            empty: region -> ``both`` or ``one``, where the policy decided, as in ``CaseScores``.
            missed: regions that the target has and the prediction has not.

        Raises:
            ValueError: a subset that is none, a pair of case and subset that is there already, regions or metrics
                other than before, a value that is neither a finite number nor NaN by policy.
        """
        name = subset_name(subset, self.modalities)
        layout = {region: tuple(values) for region, values in scores.items()}
        if not layout or (self._layout and layout != self._layout):
            expected = self._layout or "at least one region"
            raise ValueError(f"{case}, {name}: expected scores of {expected}, got {layout or 'none'}")
        if case in self._scores[name]:
            raise ValueError(f"{case}, {name}: scored already; expected each case once per subset")
        empty = dict(empty or {})
        for region, values in scores.items():
            for metric, value in values.items():
                if not math.isfinite(value) and not (math.isnan(value) and region in empty):
                    raise ValueError(f"{case}, {name}, {region}: {metric} must be a finite number, got {value}")
        self._layout = layout
        self._empty[name][case] = empty
        self._missed[name][case] = tuple(missed)
        self._scores[name][case] = {
            region: {metric: float(value) for metric, value in values.items()} for region, values in scores.items()
        }

    def add_case(self, case: str, scores: Mapping[str, CaseScores]) -> None:
        """Record what one case scored, by name of the subset; see :meth:`add`."""
        for subset, of_subset in scores.items():
            self.add(case, subset.split("+"), *of_subset)

    def rows(self) -> list[ScoreRow]:
        """All values, by subset in the data set's order, then by name of the case."""
        return [
            ScoreRow(case, subset, region, metric, value)
            for subset, cases in self._scores.items()
            for case, scores in sorted(cases.items())
            for region, values in scores.items()
            for metric, value in values.items()
        ]

    def counts(self) -> dict[str, int]:
        """Number of cases behind each subset, in the data set's order."""
        return {subset: len(cases) for subset, cases in self._scores.items()}

    def mean(self, metric: str) -> float | None:
        """Mean over cases, then subsets, then regions; None where the policy excludes every score.

        Raises:
            ValueError: nothing was added, or not this metric.
        """
        regions = [region for region, has in self._layout.items() if metric in has]
        if not regions:
            raise ValueError(f"no scores of {metric!r} to take the mean of")
        return _mean([self._mean(self.subsets, region, metric) for region in regions])

    def by_subset(self, cases: Collection[str] | None = None) -> dict[str, dict[str, Any]]:
        """Subset -> means over ``cases``, by default all.

        Each is ``{"n": cases, metric: {region: mean, None where there is no score}, "decided_by_policy": {region:
        {"both_empty": scores, "one_empty": scores}}, "missed": {region: {"missed": predictions without a voxel of it,
        "of": predictions of cases that have it}}}``.
        """
        return {subset: self._entry([subset], cases) for subset in self.subsets}

    def by_count(self) -> dict[int, dict[str, Any]]:
        """Number of available modalities -> means over the subsets of that size, laid out as in :meth:`by_subset`.

        ``n`` counts pairs of case and subset.
        """
        sizes = {subset: subset.count("+") + 1 for subset in self.subsets}
        return {
            size: self._entry([subset for subset in self.subsets if sizes[subset] == size])
            for size in range(1, len(self.modalities) + 1)
        }

    def cases(self) -> set[str]:
        """Names of the cases that have a score."""
        return {case for scored in self._scores.values() for case in scored}

    def complete_cases(self) -> set[str]:
        """Names of the cases that have every modality: those scored from all of them together."""
        return set(self._scores[subset_name(self.modalities, self.modalities)])

    def summary(self, run: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """All means as plain values.

        Args:
            run: what else belongs to the record (weights, what they were trained on, spacing, time), kept under
                ``"run"``.

        Returns:
            ``dataset``, ``modalities``, ``regions``, ``metrics``, ``policy``, ``cases``, ``run``; ``subsets`` and
            ``by_count`` as the methods of that kind return them (counts as words, as JSON wants them);
            ``mean_over_subsets``, laid out alike; ``overall``: metric -> mean over its regions. Where some case lacks
            a modality also ``complete_cases``: ``n`` cases that have every one, and ``subsets`` and
            ``mean_over_subsets`` over these alone.

        Raises:
            ValueError: nothing was added.
        """
        metrics = list(dict.fromkeys(metric for has in self._layout.values() for metric in has))
        overall: dict[str, Any] = {"n": sum(self.counts().values())}
        if not overall["n"]:
            raise ValueError("no scores to summarise; expected at least one case")
        cases, complete = self.cases(), self.complete_cases()
        summary = {
            "dataset": self.dataset,
            "modalities": list(self.modalities),
            "regions": list(self._layout),
            "metrics": metrics,
            "policy": self.policy,
            "cases": len(cases),
            "run": dict(run or {}),
            "subsets": self.by_subset(),
            "mean_over_subsets": self._entry(self.subsets),
            "by_count": {str(size): entry for size, entry in self.by_count().items()},
            "overall": overall | {metric: self.mean(metric) for metric in metrics},
        }
        if cases - complete:
            summary["complete_cases"] = {
                "n": len(complete),
                "subsets": self.by_subset(complete),
                "mean_over_subsets": self._entry(self.subsets, complete),
            }
        return summary

    def write_csv(self, path: Path | str) -> None:
        """Write ``case,subset,region,metric,value``, values so that reading them gives the same numbers.

        Raises:
            UserError: a file that this program did not write lies there.
        """
        check_replaceable(path, CSV_MARK)

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
            UserError: a file that this program did not write lies there.
        """
        check_replaceable(path, SUMMARY_MARK)
        text = json.dumps(self.summary(run), indent=2, allow_nan=False) + "\n"
        write_text_atomically(path, text)

    def _entry(self, subsets: Sequence[str], cases: Collection[str] | None = None) -> dict[str, Any]:
        """Means over subsets and cases (by default all), the number of pairs, and what the policy decided."""
        of_pairs = [
            empty for subset in subsets for case, empty in self._empty[subset].items() if cases is None or case in cases
        ]
        entry: dict[str, Any] = {"n": len(of_pairs)}
        for region, metrics in self._layout.items():
            for metric in metrics:
                entry.setdefault(metric, {})[region] = self._mean(subsets, region, metric, cases)
        entry["decided_by_policy"] = {
            region: {
                f"{which}_empty": sum(empty.get(region) == which for empty in of_pairs) for which in ("both", "one")
            }
            for region in self._layout
        }
        of_cases = [
            missed
            for subset in subsets
            for case, missed in self._missed[subset].items()
            if cases is None or case in cases
        ]
        entry["missed"] = {}
        for region, decided in entry["decided_by_policy"].items():
            missed = sum(region in of_case for of_case in of_cases)
            absent = decided["both_empty"] + decided["one_empty"] - missed
            entry["missed"][region] = {"missed": missed, "of": entry["n"] - absent}
        return entry

    def _mean(
        self, subsets: Sequence[str], region: str, metric: str, cases: Collection[str] | None = None
    ) -> float | None:
        return _mean(
            [
                _mean(
                    [
                        scores[region][metric]
                        for case, scores in self._scores[subset].items()
                        if cases is None or case in cases
                    ]
                )
                for subset in subsets
            ]
        )


def _mean(values: Iterable[float | None]) -> float | None:
    """Mean of what is there and not NaN; None where that is nothing."""
    there = [value for value in values if value is not None and not math.isnan(value)]
    return math.fsum(there) / len(there) if there else None
