"""An evaluation in a folder, case by case, so that what is done is not done again."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from passion_components.data.lists.datalist import file_hashes
from passion_components.data.outputs import check_replaceable, remove_own
from passion_components.datasets import DatasetSpec
from passion_components.files import write_text_atomically
from passion_components.metrics.book import CSV_MARK, SUMMARY_MARK, ScoreBook
from passion_components.metrics.scores import CaseScores

logger = logging.getLogger(__name__)

_CASE_MARK = '"made_with"'
UNTOLD = {"min_component_share": 0.0, "mirror_axes": []}
"""What records of earlier versions do not tell since it was always so."""


class EvaluationRecord:
    """Scores of an evaluation, kept in a folder from the moment that a case is done.

    ``cases/<case>.json`` holds what one case scored from every subset, with the weights and settings that it was
    scored with and the hashes of its files: an evaluation with the same ones goes on from there, another one starts
    anew. At the end follow ``metrics.csv`` and ``summary.json``, which do not tell in how many runs they were made.

    Args:
        output_dir: the folder.
        spec: data set, for names.
        settings: plain values: whatever changes the scores, with the ``policy`` for empty masks among it.

    Attributes:
        book: all scores of the cases that are done.
    """

    def __init__(self, *, output_dir: Path | str, spec: DatasetSpec, settings: Mapping[str, Any]) -> None:
        self.output_dir = Path(output_dir)
        self.spec = spec
        self.settings = json.loads(json.dumps(settings))
        self.weights: dict[str, str] = {}
        self.book = self._new_book()
        self._files: dict[str, dict[str, str | None]] = {}

    def open(self, cases: Sequence[Mapping[str, str]], weights: Mapping[str, str]) -> set[str]:
        """Begin an evaluation of ``cases`` with ``weights`` (``sha256`` tells which); returns the cases already done.

        What was scored with other weights or settings, or from files that held something else, stays where it is until
        the case is done again.

        Args:
            cases: entries of a datalist; their files are read to their end.
            weights: as they were loaded.

        Raises:
            UserError: a file that this program did not write lies where scores would go.
        """
        check_replaceable(self.output_dir / "metrics.csv", CSV_MARK)
        check_replaceable(self.output_dir / "summary.json", SUMMARY_MARK)
        for entry in cases:
            check_replaceable(self._path(entry["case"]), _CASE_MARK)
        self.weights = dict(weights)
        self._files = file_hashes(cases)
        self.book, done = self._new_book(), set()
        changed, replaced = {}, {}
        for case, files in self._files.items():
            made_with, before, scores = self._read(case)
            if made_with and UNTOLD | made_with != UNTOLD | self._made_with():
                changed[case] = made_with
            elif made_with and (before != files or None in files.values()):
                replaced[case] = before
            elif made_with:
                self.book.add_case(case, scores)
                done.add(case)
        if changed:
            name, was, now = self._first_difference(next(iter(changed.values())))
            logger.info(
                "%s: %d cases were scored with other settings (%s was %s, now %s); they are scored anew",
                *(self.output_dir, len(changed), name, was, now),
            )
        for case, before in replaced.items():
            logger.info("%s: %s; it is scored anew", case, _replaced_words(before, self._files[case]))
        if done:
            logger.info("%s: %d of %d cases are done already", self.output_dir, len(done), len(cases))
        if len(done) < len(cases):  # an earlier summary must not be taken for that of these cases
            remove_own(self.output_dir / "metrics.csv", CSV_MARK)
            remove_own(self.output_dir / "summary.json", SUMMARY_MARK)
        return done

    def add(self, case: str, scores: Mapping[str, CaseScores]) -> None:
        """Keep what a case scored, by name of the subset."""
        self.book.add_case(case, scores)
        content = {
            "case": case,
            "made_with": self._made_with(),
            "files": self._files[case],
            "scores": {
                subset: {
                    "values": _without_nan(of_subset.values),
                    "empty": of_subset.empty,
                    "missed": list(of_subset.missed),
                }
                for subset, of_subset in scores.items()
            },
        }
        write_text_atomically(self._path(case), json.dumps(content, indent=1, allow_nan=False) + "\n")

    def write(self) -> None:
        """Write ``metrics.csv`` and ``summary.json`` over all cases that are done."""
        self.book.write_csv(self.output_dir / "metrics.csv")
        files = {case: self._files[case] for case in sorted(self.book.cases())}
        run = {"weights": self.weights, **self.settings, "files": files}
        self.book.write_json(self.output_dir / "summary.json", run)

    def _new_book(self) -> ScoreBook:
        return ScoreBook(dataset=self.spec.name, modalities=self.spec.modalities, policy=self.settings["policy"])

    def _path(self, case: str) -> Path:
        return self.output_dir / "cases" / f"{case}.json"

    def _made_with(self) -> dict[str, Any]:
        return {"weights": self.weights["sha256"], **self.settings}

    def _read(self, case: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, CaseScores]]:
        """What a case was scored with, from which files, and its scores; all empty without a readable record of it."""
        try:
            content = json.loads(self._path(case).read_text(encoding="utf-8"))
            scores = {
                subset: CaseScores(_with_nan(of_subset["values"]), of_subset["empty"], tuple(of_subset["missed"]))
                for subset, of_subset in content["scores"].items()
            }
            return dict(content["made_with"]), dict(content.get("files", {})), scores
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}, {}, {}

    def _first_difference(self, before: Mapping[str, Any]) -> tuple[str, Any, Any]:
        before, now = {**UNTOLD, **before}, UNTOLD | self._made_with()
        name = next(name for name in [*now, *before] if before.get(name) != now.get(name))
        return name, before.get(name), now.get(name)


def _replaced_words(before: Mapping[str, Any], now: Mapping[str, str | None]) -> str:
    """How the files of a case differ from those that it was scored from."""
    if not before:
        return "its record does not tell which files were scored"
    names = [name for name in dict.fromkeys([*now, *before]) if before.get(name) != now.get(name)]
    return (
        f"{', '.join(names)} {'are' if len(names) > 1 else 'is'} not what it was scored from" if names else "unreadable"
    )


def _without_nan(values: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Scores as JSON can hold them."""
    return {
        region: {metric: None if math.isnan(value) else value for metric, value in of_region.items()}
        for region, of_region in values.items()
    }


def _with_nan(values: Mapping[str, Mapping[str, float | None]]) -> dict[str, dict[str, float]]:
    return {
        region: {metric: math.nan if value is None else float(value) for metric, value in of_region.items()}
        for region, of_region in values.items()
    }
