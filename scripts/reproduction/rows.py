"""Results as rows in ``docs/results``: what was scored, how preference moved, and what every training was."""

from __future__ import annotations

import csv
import fcntl
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from passion_components.files import write_text_atomically
from reproduction.grid import STUDIES, Job

KEY = ("setting", "fold", "seed")
SCORES = (*KEY, "case", "subset", "region", "metric", "value")
PREFERENCE = (*KEY, "epoch", "modality", "rp", "beta")
LOSSES = (*KEY, "epoch", "name", "value")
OF_KIND = {"scores": SCORES, "preference": PREFERENCE, "losses": LOSSES}
RUNS = ("study", *KEY, "command", "data", "commit", "training_cpu_s", "scoring_cpu_s")
TERMS = ("loss", "segmentation", "unimodal", "pixel", "semantic", "separate", "prototype")
"""What is kept of a history; times and memory belong to a machine."""
NUMBERS = {"fold": int, "seed": int, "epoch": int} | dict.fromkeys(
    ("value", "rp", "beta", "training_cpu_s", "scoring_cpu_s"), float
)


def read(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV with a heading; none where there is no file.

    Raises:
        ValueError: one of ``columns`` is missing; a line is cut off, or is no row with numbers where they belong.
    """
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    reader = csv.DictReader(io.StringIO(text))
    if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise ValueError(f"{path}: has no column {', '.join(missing)}; expected {', '.join(columns)}")
    rows = []
    for row in reader:
        if None in row or None in row.values() or not all(_fits(row, name) for name in columns):
            raise ValueError(f"{path}: line {reader.line_num} is damaged; take the file from a copy")
        rows.append(row)
    if not text.endswith("\n"):
        raise ValueError(f"{path}: line {reader.line_num} is cut off; take the file from a copy")
    return rows


def write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV such that a kill leaves the old file or the new one."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(path, text.getvalue())


def replace(path: Path, columns: Sequence[str], key: Mapping[str, str], rows: Iterable[Mapping[str, object]]) -> None:
    """Put ``rows`` in the place of those that have the values of ``key``, at the end of the file."""
    kept = [row for row in read(path, columns) if any(row[name] != value for name, value in key.items())]
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
        Job(row["study"], row["setting"], int(row["fold"]), int(row["seed"])): row
        for row in read(results / "runs.csv", RUNS)
    }


def cpu_seconds(row: Mapping[str, str]) -> float:
    """What a line in ``runs.csv`` took, training and scoring."""
    return float(row["training_cpu_s"]) + float(row["scoring_cpu_s"])


def of_study(results: Path, study: str, kind: str) -> list[dict[str, str]]:
    """Rows of a study, of the seeds of a setting that have every fold.

    Args:
        results: folder of the rows.
        study: its name.
        kind: one of :data:`OF_KIND`.
    """
    done = {(job.setting, str(job.seed), str(job.fold)) for job in finished(results) if job.study == study}
    folds = Counter((setting, seed) for setting, seed, _ in done)
    found = read(results / f"{study}_{kind}.csv", OF_KIND[kind])
    return [
        row
        for row in found
        if (row["setting"], row["seed"], row["fold"]) in done
        and folds[row["setting"], row["seed"]] == STUDIES[study].folds
    ]


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
        "scores": folder / "test" / "metrics.csv",
        "preference": folder / "preference.csv",
        "losses": folder / "history.csv",
    }
    with locked(results):
        for kind, source in sources.items():
            columns = OF_KIND[kind]
            made = read(source, columns[len(KEY) :])
            found = [key | _rounded(row, columns) for row in made if row.get("name", "loss") in TERMS]
            replace(results / f"{job.study}_{kind}.csv", columns, key, found)
        key = {"study": job.study} | key
        replace(results / "runs.csv", RUNS, key, [key | dict(about)])


def _fits(row: Mapping[str, str], name: str) -> bool:
    """Whether a number stands where one belongs."""
    try:
        NUMBERS.get(name, str)(row[name])
    except ValueError:
        return False
    return True


def _rounded(row: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """The row's known columns, numbers with the digits that matter."""
    return {
        name: f"{float(text):.5g}" if name in ("value", "rp", "beta") else text
        for name, text in row.items()
        if name in columns
    }
