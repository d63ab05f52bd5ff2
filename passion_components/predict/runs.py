"""Many cases into a folder, by one process or by several that share the work."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from monai.transforms import Compose

from passion_components.data.layouts.scans import ScanFolder
from passion_components.data.outputs import check_replaceable, locked
from passion_components.data.training.dataset import CaseDataset
from passion_components.engines.failures import in_words, try_folder
from passion_components.engines.runs import segment
from passion_components.engines.weights import warn_of_training_cases
from passion_components.handlers.predictions import PredictionWriter, prediction_files
from passion_components.predict.dicom_seg import DicomSegWriter, check_can_write, from_classic_series
from passion_components.predict.facts import collected_warnings, read_facts, write_facts, write_table
from passion_components.predict.page import TITLE, write_page
from passion_components.predict.segmenter import Segmenter

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Share:
    """Which part of the cases a process does: every ``of``-th, beginning with number ``index``, from 0."""

    index: int = 0
    of: int = 1

    @property
    def name(self) -> str:
        """In the names of files that belong to this part; empty for the whole."""
        return f"_{self.index + 1}_of_{self.of}" if self.of > 1 else ""

    def within(self, other: Share) -> Share:
        """This part of another part."""
        return Share(other.index + self.index * other.of, self.of * other.of)


def predict(
    segmenter: Segmenter,
    scans: ScanFolder,
    output_dir: Path,
    *,
    share: Share = Share(),
    force: bool = False,
    page: bool = False,
    dicom_seg: bool = False,
) -> None:
    """Segment cases into ``output_dir/<case>/``; what fails is listed and does not stop the rest.

    Beside each label map ``predictions.json`` tells what it is; ``output_dir/predictions.csv`` tells of all cases that
    any process has done. A case whose scans, weights, version and settings are those of the predictions that are there
    is not done again.

    Args:
        segmenter: what predicts.
        scans: the cases that were found, and those that were refused before they were read.
        output_dir: where to write.
        share: the part of the cases that this process does.
        force: do again what is done already.
        page: show these cases on an HTML page, ``predictions.html``.
        dicom_seg: write label maps as DICOM SEG objects as well; cases whose label map refers to no series fail.

    Raises:
        CasesFailed: at the end, if a case failed.
        UserError: nothing can be written, another process does this part, or highdicom is not installed.
    """
    if dicom_seg:
        check_can_write()
    mine = replace(
        scans,
        cases=scans.cases[share.index :: share.of],
        failures=scans.failures[share.index :: share.of],
    )
    if share.index:
        mine = replace(mine, notes=[], warnings=[])

    page_file = output_dir / f"predictions{share.name}.html"

    def run() -> None:
        try_folder(output_dir)
        if page:
            check_replaceable(page_file, TITLE)
        with locked(output_dir, f"inference{share.name}"):
            cases = mine.cases if force else _without_done(segmenter, mine.cases, output_dir, dicom_seg)
            todo = replace(mine, cases=cases)
            try:
                _segment(segmenter, todo, output_dir, failures=f"failures{share.name}.json", dicom_seg=dicom_seg)
            finally:
                write_table(output_dir)
                if page:
                    write_page(page_file, output_dir, mine.cases, segmenter.spec)
                    logger.info("pictures: %s", page_file)

    in_words(run, interrupted="the cases that are done are kept, the same command does the others")


def _segment(segmenter: Segmenter, scans: ScanFolder, output_dir: Path, *, failures: str, dicom_seg: bool) -> None:
    """Segment cases, with facts beside each."""
    names = [case["case"] for case in scans.cases]
    warn_of_training_cases(segmenter.weights, names)
    with collected_warnings(names) as warnings:
        handlers: list[Any] = [
            PredictionWriter(spec=segmenter.spec, output_dir=output_dir, label_scheme=segmenter.label_scheme)
        ]
        dataset = segmenter.dataset(scans.cases)
        if dicom_seg:
            handlers.append(DicomSegWriter(spec=segmenter.spec, output_dir=output_dir, bundle=segmenter.model.name))
            dataset = CaseDataset(scans.cases, Compose([dataset.preprocessing, from_classic_series]))
        handlers.append(_FactsWriter(segmenter, scans.cases, output_dir, warnings))
        segment(
            evaluator=segmenter.evaluator(handlers),
            dataset=dataset,
            scans=scans,
            output_dir=output_dir,
            failures=failures,
            progress="segmenting",
        )


def _without_done(
    segmenter: Segmenter, cases: Sequence[dict[str, str]], output_dir: Path, dicom_seg: bool
) -> list[dict[str, str]]:
    """The cases whose predictions are not there yet, or were made of something else."""
    left = [case for case in cases if not _is_done(segmenter, case, output_dir, dicom_seg)]
    if len(left) < len(cases):
        logger.info("%d of %d cases are done already; --force does them again", len(cases) - len(left), len(cases))
    return left


def _is_done(segmenter: Segmenter, case: Mapping[str, str], output_dir: Path, dicom_seg: bool) -> bool:
    facts = read_facts(output_dir, case["case"])
    label_map, probabilities, seg = prediction_files(output_dir, case["case"])
    wanted_files = {label_map: True, probabilities: segmenter.settings["probabilities"], seg: dicom_seg}
    if facts is None or not all(path.is_file() for path, wanted in wanted_files.items() if wanted):
        return False
    wanted = segmenter.fingerprint(_files_of(case))
    return _content(facts) == _content(wanted)


def _files_of(case: Mapping[str, str]) -> dict[str, str]:
    """Sequence -> file of a case."""
    return {name: file for name, file in case.items() if name != "case"}


def _content(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What decides on predictions, wherever the files lie."""
    scans = {name: scan.get("sha256") for name, scan in facts.get("scans", {}).items()}
    decisive = {name: facts.get(name) for name in ("written_by", "dataset", "settings")}
    return decisive | {"scans": scans, "weights": facts.get("weights", {}).get("sha256")}


class _FactsWriter:
    """Write ``predictions.json`` of every case, after its predictions, and say how good such ones are."""

    def __init__(
        self,
        segmenter: Segmenter,
        cases: Sequence[Mapping[str, str]],
        output_dir: Path,
        warnings: Mapping[str, list[str]],
    ) -> None:
        self.segmenter = segmenter
        self.files = {case["case"]: _files_of(case) for case in cases}
        self.output_dir = output_dir
        self.warnings = warnings

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            case = item["case"]
            self._tell(case, item)
            facts = self.segmenter.facts(item, output, self.files[case], self.warnings[case])
            write_facts(self.output_dir, case, facts)

    def _tell(self, case: str, item: Mapping[str, Any]) -> None:
        expected = self.segmenter.expected(item)
        if expected is None:
            logger.info("%s: how good these weights are is not known: %s", case, self.segmenter.scores.why_unknown)
        elif expected.is_poor:
            logger.warning("%s: %s", case, expected.line())
        else:
            logger.info("%s: %s", case, expected.line())
