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
RUNS = ("study", *KEY, "command", "commit", "training_cpu_s", "scoring_cpu_s")


def read(path: Path) -> list[dict[str, str]]:
    """Rows of a CSV with a heading; none where there is no file."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Add rows such that a kill leaves the old file or the new one."""
    text = io.StringIO(path.read_text(encoding="utf-8") if path.exists() else "")
    text.seek(0, io.SEEK_END)
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if text.tell() == 0:
        writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(path, text.getvalue())


@contextmanager
def locked(results: Path) -> Iterator[None]:
    """Keep the folder for one writer among several programs."""
    results.mkdir(parents=True, exist_ok=True)
    with open(results / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def finished(results: Path) -> dict[Job, str]:
    """The command of every job whose rows are there."""
    return {
        Job(row["study"], row["setting"], int(row["fold"]), int(row["seed"])): row["command"]
        for row in read(results / "runs.csv")
    }


def record(results: Path, job: Job, folder: Path, about: Mapping[str, object]) -> None:
    """Take the rows of a job from its output folder; its line in ``runs.csv`` comes last and says that all are there.

    Rows that an interrupted call left of this job are replaced.

    Args:
        results: folder of the rows.
        job: which one.
        folder: its ``output_dir``, with ``test/metrics.csv`` in it.
        about: command, commit and CPU seconds.
    """
    key = {"setting": job.setting, "fold": str(job.fold), "seed": str(job.seed)}
    sources = {
        "scores": (folder / "test" / "metrics.csv", SCORES),
        "preference": (folder / "preference.csv", PREFERENCE),
        "losses": (folder / "history.csv", LOSSES),
    }
    with locked(results):
        for kind, (source, columns) in sources.items():
            path = results / f"{job.study}_{kind}.csv"
            _forget(path, columns, key)
            append(path, columns, [key | _rounded(row, columns) for row in read(source) if _is_kept(row)])
        append(results / "runs.csv", RUNS, [{"study": job.study} | key | dict(about)])


def _forget(path: Path, columns: Sequence[str], key: Mapping[str, str]) -> None:
    rows = read(path)
    kept = [row for row in rows if any(row[name] != value for name, value in key.items())]
    if len(kept) != len(rows):
        path.unlink()
        append(path, columns, kept)


def _rounded(row: Mapping[str, str], columns: Sequence[str]) -> dict[str, str]:
    """The row's known columns, numbers with the digits that matter."""
    return {
        name: f"{float(text):.5g}" if name in ("value", "rp", "beta") else text
        for name, text in row.items()
        if name in columns
    }


def _is_kept(row: Mapping[str, str]) -> bool:
    """Of a history only the terms of the loss: times and memory belong to a machine."""
    return row.get("name", "loss") in ("loss", "segmentation", "unimodal", "pixel", "semantic", "separate", "prototype")
