"""Train and score one job of the grid through its bundle, as a user does."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import DATASETS, DatasetSpec
from reproduction import rows
from reproduction.folds import fold_datalist
from reproduction.grid import SETTINGS, STUDIES, Job, Study

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
_children: set[subprocess.Popen[bytes]] = set()
_stopped = threading.Event()


class RunFailed(Exception):
    """A job cannot be done; the message is one line for the user."""


def dataset_of(study: Study) -> DatasetSpec:
    """The data set of the study's bundle."""
    return DATASETS[study.bundle.rpartition("_")[0]]


def training_words(job: Job) -> list[str]:
    """What the training of a job says beside its data and its folder: configs and keys."""
    study, setting = STUDIES[job.study], SETTINGS[job.setting]
    values = {**study.input, **study.values, **setting.values, "seed": str(job.seed)}
    return _words("training", ("train", *setting.overlays), values)


def scoring_words(job: Job) -> list[str]:
    """What the evaluation of a job says beside its data and its folder."""
    study = STUDIES[job.study]
    return _words("evaluating", ("train", "evaluate"), {**study.input, **study.scoring})


def command(job: Job) -> str:
    """Both, in one line that ``runs.csv`` keeps."""
    return " ".join([*training_words(job), ";", *scoring_words(job)])


def run(job: Job, data: Path, work: Path, results: Path) -> None:
    """Train, score the fold's cases, record the rows, and remove the folder; an interrupted training goes on.

    What another program has done or is doing is left to it.

    Args:
        job: which one.
        data: folder that ``passion prepare`` wrote.
        work: folder of everything that is not kept.
        results: folder of the rows.

    Raises:
        RunFailed: training or scoring failed, or the cases are not those of the fold's other rows.
    """
    folder = work / job.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _own(folder.with_name(f"{folder.name}.lock")) as lock:
        if lock is None or job in rows.finished(results):
            return
        commit = _commit()
        if folder.exists() and not any(folder.glob("checkpoint*.pt")):
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        datalist = _datalist(job, data, folder / "datalist.json", results)
        paths = {"dataset_dir": str(data), "datalist": str(datalist.path)}
        resumed = {"resume": "True"} if any(folder.glob("checkpoint*.pt")) else {}
        _call(job, training_words(job), paths | {"output_dir": str(folder)} | resumed, folder, lock)
        scored = paths | {"output_dir": str(folder / "test"), "ckpt": str(folder / "model_last.pt"), "part": "test"}
        _call(job, scoring_words(job), scored, folder, lock)
        about = {
            "command": command(job),
            "data": datalist.hash()[:16],
            "commit": commit,
            "training_cpu_s": _spent(folder, "training"),
            "scoring_cpu_s": _spent(folder, "evaluating"),
        }
        rows.record(results, job, folder, about)
        shutil.rmtree(folder)


def stop() -> None:
    """End the trainings that run, and start nothing more; each goes on from its last epoch in another program."""
    _stopped.set()
    for process in tuple(_children):
        process.terminate()


def _datalist(job: Job, data: Path, out: Path, results: Path) -> Datalist:
    """The fold's datalist, written anew, of the same cases and sequences as the fold's other rows."""
    source, study = data / "datalist.json", STUDIES[job.study]
    found = Datalist(fold_datalist(source, out, study, dataset_of(study), job.fold))
    for other, row in rows.finished(results).items():
        if (other.study, other.fold) == (job.study, job.fold) and row["data"] != found.hash()[:16]:
            raise RunFailed(
                f"{source} is not what the rows in {results} were trained on (fold {job.fold}: other cases or "
                "sequences); name another folder with --results to begin a study of your own data"
            )
    return found


def _words(run_id: str, configs: Sequence[str], values: Mapping[str, str]) -> list[str]:
    files = str([f"configs/{name}.json" for name in configs]).replace(" ", "")
    return [run_id, "--config_file", files, *_options(values)]


def _options(values: Mapping[str, str]) -> list[str]:
    return [word for key, value in values.items() for word in (f"--{key}", value)]


def _call(job: Job, words: Sequence[str], values: Mapping[str, str], folder: Path, lock: int) -> None:
    """``python -m monai.bundle run`` in the bundle's folder, on one thread; its CPU seconds go to ``cpu.txt``.

    It holds the lock too: where this program is killed, it goes on, and its folder is not touched until it ends.
    """
    if _stopped.is_set():
        raise RunFailed("stopped")
    program = [sys.executable, "-m", "monai.bundle", "run", *words, *_options(values)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    log = folder / "log.txt"
    with open(log, "a", encoding="utf-8") as file:
        process = subprocess.Popen(
            program,
            cwd=BUNDLES / STUDIES[job.study].bundle,
            env=environment,
            stdout=file,
            stderr=file,
            pass_fds=[lock],
        )
        _children.add(process)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    _children.discard(process)
    with open(folder / "cpu.txt", "a", encoding="utf-8") as file:
        file.write(f"{words[0]} {usage.ru_utime + usage.ru_stime:.1f}\n")
    if process.returncode:
        raise RunFailed(f"{words[0]} failed with code {process.returncode}; see {log}")


def _spent(folder: Path, run_id: str) -> str:
    """CPU seconds of all calls of one kind, interrupted ones too; not of those that outlived this program."""
    lines = (folder / "cpu.txt").read_text(encoding="utf-8").split("\n")
    return f"{sum(float(line.split()[1]) for line in lines if line.startswith(run_id)):.0f}"


@contextmanager
def _own(lock: Path) -> Iterator[int | None]:
    """The descriptor of this lock, which is held meanwhile; None where another program has it."""
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield file.fileno()


def _commit() -> str:
    program = ["git", "-C", str(BUNDLES), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(program, capture_output=True, text=True).stdout.strip()
