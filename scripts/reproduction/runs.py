"""Train and score one job of the grid through its bundle, as a user does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from passion_components.data.lists.datalist import Datalist
from reproduction import rows
from reproduction.folds import fold_datalist
from reproduction.grid import SETTINGS, STUDIES, Job

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"


class RunFailed(Exception):
    """A command of a job failed; the message names its log."""


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

    Args:
        job: which one.
        data: folder that ``passion prepare`` wrote.
        work: folder of everything that is not kept.
        results: folder of the rows.

    Raises:
        RunFailed: training or scoring failed.
    """
    study = STUDIES[job.study]
    listed = Datalist(data / "datalist.json")
    spec = listed.dataset()
    if spec is None:
        raise RunFailed(f"{listed.path} names no data set; write it with passion prepare")
    folder = work / job.name
    folder.mkdir(parents=True, exist_ok=True)
    datalist = folder / "datalist.json"
    if not datalist.exists():
        fold_datalist(data / "datalist.json", datalist, study, spec, job.fold)
    paths = {"dataset_dir": str(data), "datalist": str(datalist)}
    resumed = {"resume": "True"} if (folder / "checkpoint.pt").exists() else {}
    log = folder / "log.txt"
    training = _call(study.bundle, training_words(job), paths | {"output_dir": str(folder)} | resumed, log)
    scored = paths | {"output_dir": str(folder / "test"), "ckpt": str(folder / "model_last.pt"), "part": "test"}
    scoring = _call(study.bundle, scoring_words(job), scored, log)
    about = {
        "command": command(job),
        "commit": _commit(),
        "training_cpu_s": f"{training:.0f}",
        "scoring_cpu_s": f"{scoring:.0f}",
    }
    rows.record(results, job, folder, about)
    shutil.rmtree(folder)


def _words(run_id: str, configs: Sequence[str], values: Mapping[str, str]) -> list[str]:
    files = str([f"configs/{name}.json" for name in configs]).replace(" ", "")
    return [run_id, "--config_file", files, *(word for key, value in values.items() for word in (f"--{key}", value))]


def _call(bundle: str, words: Sequence[str], values: Mapping[str, str], log: Path) -> float:
    """CPU seconds of ``python -m monai.bundle run`` in the bundle's folder, on one thread."""
    command = [sys.executable, "-m", "monai.bundle", "run", *words]
    command += [word for key, value in values.items() for word in (f"--{key}", value)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with open(log, "a", encoding="utf-8") as file:
        process = subprocess.Popen(command, cwd=BUNDLES / bundle, env=environment, stdout=file, stderr=file)
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except KeyboardInterrupt:
            process.terminate()
            raise
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RunFailed(f"{words[0]} failed with code {process.returncode}; see {log}")
    return usage.ru_utime + usage.ru_stime


def _commit() -> str:
    command = ["git", "-C", str(BUNDLES), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()
