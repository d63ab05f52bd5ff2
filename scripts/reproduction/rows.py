"""Results as rows in ``docs/results``: what was scored, how preference moved, and what every training was."""

from __future__ import annotations

import csv
import fcntl
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from passion_components.files import write_text_atomically
from reproduction.grid import Job

KEY = ("setting", "fold", "seed")
SCORES = (*KEY, "case", "subset", "region", "metric", "value")
PREFERENCE = (*KEY, "epoch", "modality", "rp", "beta")
LOSSES = (*KEY, "epoch", "name", "value")
RUNS = ("study", *KEY, "command", "data", "commit", "training_cpu_s", "scoring_cpu_s")
TERMS = ("loss", "segmentation", "unimodal", "pixel", "semantic", "separate", "prototype")
"""What is kept of a history; times and memory belong to a machine."""


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV with a heading; none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV such that a kill leaves the old file or the new one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(path, text.getvalue())


def replace(path: Path, columns: Sequence[str], key: Mapping[str, str], rows: Iterable[Mapping[str, object]]) -> None:
    """Put ``rows`` in the place of those that have the values of ``key``, at the end of the file."""
    kept = [row for row in read(path) if any(row[name] != value for name, value in key.items())]
    write(path, columns, [*kept, *rows])


@contextmanager
def locked(results: Path) -> Iterator[None]:
    """Keep the folder for one writer among several programs."""
    results.mkdir(parents=True, exist_ok=True)
    with open(results / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def finished(results: Path) -> dict[Job, dict[str, str]]:
    """The line in ``runs.csv`` of every job whose rows are all there."""
    return {
        Job(row["study"], row["setting"], int(row["fold"]), int(row["seed"])): row for row in read(results / "runs.csv")
    }


def cpu_seconds(row: Mapping[str, str]) -> float:
    """What a line in ``runs.csv`` took, training and scoring."""
    return float(row["training_cpu_s"]) + float(row["scoring_cpu_s"])


def of_study(results: Path, study: str, kind: str) -> list[dict[str, str]]:
    """Rows of a study, of finished jobs alone.

    Args:
        results: folder of the rows.
        study: its name.
        kind: ``scores``, ``preference`` or ``losses``.
    """
    done = {(job.setting, str(job.fold), str(job.seed)) for job in finished(results) if job.study == study}
    return [row for row in read(results / f"{study}_{kind}.csv") if (row["setting"], row["fold"], row["seed"]) in done]


def record(results: Path, job: Job, folder: Path, about: Mapping[str, object]) -> None:
    """Take the rows of a job from its output folder; its line in ``runs.csv`` comes last and says that all are there.

    Args:
        results: folder of the rows.
        job: which one; rows that are there of it already are replaced.
        folder: its ``output_dir``, with ``test/metrics.csv`` in it.
        about: what else :data:`RUNS` asks for.
    """
    key = {"setting": job.setting, "fold": str(job.fold), "seed": str(job.seed)}
    sources = {
        "scores": (folder / "test" / "metrics.csv", SCORES),
        "preference": (folder / "preference.csv", PREFERENCE),
        "losses": (folder / "history.csv", LOSSES),
    }
    with locked(results):
        for kind, (source, columns) in sources.items():
            found = [key | _rounded(row, columns) for row in read(source) if row.get("name", "loss") in TERMS]
            replace(results / f"{job.study}_{kind}.csv", columns, key, found)
        key = {"study": job.study} | key
        replace(results / "runs.csv", RUNS, key, [key | dict(about)])


def _rounded(row: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """The row's known columns, numbers with the digits that matter."""
    return {
        name: f"{float(text):.5g}" if name in ("value", "rp", "beta") else text
        for name, text in row.items()
        if name in columns
    }
