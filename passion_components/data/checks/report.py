"""Reading every file of a datalist, and what was found."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from passion_components.data.checks.case_rules import case_findings
from passion_components.data.checks.facts import FileFacts, read_case_facts
from passion_components.data.checks.findings import CheckedCase, Finding, Kind
from passion_components.data.checks.label_place import LabelPlace
from passion_components.data.checks.list_rules import list_findings
from passion_components.data.errors import UserError
from passion_components.data.lists.datalist import Datalist, missing_rates_of
from passion_components.datasets import DatasetSpec

_Task = tuple[dict[str, Path], str]
"""Files of a case by their keys, and its name."""

_CaseFacts = tuple[dict[str, FileFacts], LabelPlace | None]


@dataclass(frozen=True)
class Report:
    """What every file of a datalist holds and what is wrong with it; the order is that of the datalist.

    Attributes:
        datalist: its path.
        dataset: name of the data set that it was checked against.
        label_scheme: name of the scheme of its label files.
        cases: of all parts.
        findings: errors before warnings, by kind.
        missing_rates: share of the training cases without a modality, by name; empty without training cases.
    """

    datalist: Path
    dataset: str
    label_scheme: str
    cases: tuple[CheckedCase, ...]
    findings: tuple[Finding, ...]
    missing_rates: Mapping[str, float]

    def count(self, severity: str) -> int:
        """Number of findings of this severity."""
        return sum(finding.kind.severity == severity for finding in self.findings)

    def by_kind(self) -> dict[Kind, list[Finding]]:
        """The findings of every kind that occurs."""
        found = {kind: [finding for finding in self.findings if finding.kind is kind] for kind in Kind}
        return {kind: findings for kind, findings in found.items() if findings}

    def as_json(self) -> dict[str, Any]:
        """Everything, as values of JSON."""
        return {
            "datalist": str(self.datalist),
            "dataset": self.dataset,
            "label_scheme": self.label_scheme,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "missing_rates": dict(self.missing_rates),
            "findings": [
                {
                    "severity": finding.kind.severity,
                    "kind": finding.kind.title,
                    "cases": [{"part": case.part, "case": case.name} for case in finding.cases],
                    "message": finding.message,
                }
                for finding in self.findings
            ],
            "cases": [
                {
                    "part": case.part,
                    "case": case.name,
                    "findings": [finding.message for finding in self.findings if case in finding.cases],
                    "label_place": asdict(case.label_place) if case.label_place else None,
                    "files": {key: facts.as_json() for key, facts in case.files.items()},
                }
                for case in self.cases
            ],
        }


def check_datalist(
    datalist: Datalist,
    spec: DatasetSpec,
    *,
    has_contrast: Callable[[np.ndarray], bool],
    jobs: int,
    progress: Callable[[int, int], None] | None = None,
    resample_to: str | None = None,
) -> Report:
    """Read every file of every case and tell what is wrong.

    Args:
        datalist: of the cases.
        spec: the data set that it is meant for.
        has_contrast: whether a sequence, float32 (*S), counts as present; it is sent to other processes.
        jobs: number of processes that read; the report does not depend on it.
        progress: called after each case with the number of files read and of all.
        resample_to: sequence to whose grid a run will bring the others; cases that have it may lie on several grids.

    Raises:
        ValueError: as :meth:`~passion_components.data.lists.datalist.Datalist.parts`; a label scheme or a sequence to
            resample to that the data set has not; no jobs.
        UserError: a reading process was ended from outside.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    if resample_to is not None and resample_to not in spec.modalities:
        raise ValueError(f"--resample-to {resample_to}: accepted: {', '.join(spec.modalities)}")
    scheme = datalist.label_scheme or spec.name
    try:
        coded = spec.with_scheme(scheme)
    except ValueError as error:
        raise ValueError(f"{datalist.path}: {error}; correct label_scheme in the datalist") from None
    parts = datalist.parts(spec.modalities)
    listed = [(part, case) for part, cases in parts.items() for case in cases]
    tasks = [
        ({key: Path(file) for key, file in case.items() if key != "case"}, f"{part} {case['case']}")
        for part, case in listed
    ]
    facts = _read_all(tasks, has_contrast, jobs, progress)
    checked = tuple(
        CheckedCase(part, case["case"], *of_case) for (part, case), of_case in zip(listed, facts, strict=True)
    )

    training = parts.get("training")
    rates = missing_rates_of(training, spec.modalities) if training else {}
    findings = [finding for case in checked for finding in case_findings(case, coded)]
    findings = [finding for finding in findings if not _will_be_resampled(finding, resample_to)]
    findings += list_findings(checked, rates, spec, scheme)
    order = list(Kind)
    findings.sort(key=lambda finding: order.index(finding.kind))
    return Report(Path(datalist.path), spec.name, scheme, checked, tuple(findings), rates)


def _will_be_resampled(finding: Finding, resample_to: str | None) -> bool:
    return finding.kind is Kind.GRIDS and all(resample_to in case.files for case in finding.cases)


def _read_all(
    tasks: Sequence[_Task],
    has_contrast: Callable[[np.ndarray], bool],
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> list[_CaseFacts]:
    """Facts of the cases."""
    facts = []
    total, done = sum(len(files) for files, _ in tasks), 0

    def keep(of_case: _CaseFacts) -> None:
        nonlocal done
        facts.append(of_case)
        done += len(of_case[0])
        if progress is not None:
            progress(done, total)

    read = partial(_read_task, has_contrast=has_contrast)
    if jobs == 1 or len(tasks) < 2:
        for task in tasks:
            keep(read(task))
        return facts
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), initializer=_start_worker)
    try:
        for of_case in pool.map(read, tasks):
            keep(of_case)
    except BrokenProcessPool:
        raise UserError(
            "a reading process was ended from outside, as happens when memory runs out; try again with fewer --jobs"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)
    return facts


def _read_task(task: _Task, *, has_contrast: Callable[[np.ndarray], bool]) -> _CaseFacts:
    files, case = task
    return read_case_facts(files, case=case, has_contrast=has_contrast)


def _start_worker() -> None:
    """Ctrl-C reaches all processes of a terminal; the main one ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
