"""What a run has left in its folder: how it was trained, by epoch, and what it scored."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from passion_components.data.errors import UserError
from passion_components.datasets import DATASETS
from passion_components.engines.earlier_versions import as_now
from passion_components.files import read_text
from passion_components.metrics.book import ScoreRow
from passion_components.metrics.metric import METRICS
from passion_components.modalities import subset_name

RECORDS = ("model.json", "model_last.json")
BY_HISTORY, BY_PREFERENCE = ("epoch", "name", "value"), ("epoch", "modality", "rp", "beta", "samples")

Curve = dict[int, float]
"""Epoch -> value."""


class RunError(UserError):
    """A folder that is no run, or a file in it that cannot be read; the message is one line for the user."""


class ScoreKey(NamedTuple):
    """What one score belongs to."""

    case: str
    subset: str
    region: str
    metric: str


@dataclass(frozen=True)
class Training:
    """How weights came about; every part is empty where its file is not there.

    Attributes:
        folder: where the files lie.
        record: content of ``model.json`` or ``model_last.json``: hash, epoch, ``trained_on``.
        history: name -> curve, from ``history.csv``: loss terms, ``lr``, seconds, memory.
        preference: ``rp`` and ``beta`` -> modality -> curve, from ``preference.csv``.
    """

    folder: Path
    record: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Curve] = field(default_factory=dict)
    preference: Mapping[str, Mapping[str, Curve]] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """An ``output_dir`` of training, evaluating or both.

    Attributes:
        name: what the user calls it, or the folder's name.
        named: whether the user gave the name.
        folder: where it lies.
        training: of the weights that were scored; of the folder, where nothing was scored.
        summary: content of ``summary.json``; empty where nothing was scored.
        scores: content of ``metrics.csv``; a score may be NaN where the policy for empty masks leaves it open.
    """

    name: str
    named: bool
    folder: Path
    training: Training
    summary: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[ScoreKey, float] = field(default_factory=dict)

    @property
    def trained_on(self) -> Mapping[str, Any]:
        """Data set, network, objective, datalist, missing rates and seed of the training; empty where unknown."""
        description: Mapping[str, Any] = self.training.record.get("trained_on", {})
        return description

    @property
    def network(self) -> str:
        """Class of the network; empty where unknown."""
        return str(self.trained_on.get("network", {}).get("class", ""))

    @property
    def objective(self) -> str:
        """Class of the objective; empty where unknown."""
        return str(self.trained_on.get("objective", {}).get("class", ""))

    @property
    def missing_rates(self) -> dict[str, float]:
        """Share of the training cases that lack each modality, in the data set's order; empty where unknown."""
        rates: Mapping[str, float] = self.trained_on.get("missing_rates", {})
        spec = DATASETS.get(str(self.trained_on.get("dataset")))
        return {name: rates[name] for name in (spec.modalities if spec else rates) if name in rates}

    @property
    def predictions(self) -> Path:
        """Where evaluating writes ``<case>/<case>_<subset>_seg.nii.gz`` when asked to."""
        return self.folder / "predictions"


def read_runs(words: Sequence[str]) -> list[Run]:
    """The runs that a command line names, each as a folder or as ``name=folder``.

    A folder is called by its name; where several have the same one, by as many of its parents' as tell them apart.

    Raises:
        RunError: no such folder, nothing of a run in it, or a damaged file; a folder twice under one name.
    """
    pairs = [_name_and_folder(word) for word in words]
    for place, (name, folder) in enumerate(pairs):
        if (name, folder.resolve()) in [(other, earlier.resolve()) for other, earlier in pairs[:place]]:
            raise RunError(f"{folder}: is given twice{f' as {name!r}' if name else ''}; expected every run once")
    names = _names([folder for name, folder in pairs if not name])
    return [read_run(folder, name or names[folder], named=bool(name)) for name, folder in pairs]


def read_run(folder: Path | str, name: str, *, named: bool = True) -> Run:
    """Read one folder.

    Where the folder was scored, its training is that of the scored weights, by their hash: in the same folder or beside
    the file that the evaluation names.

    Raises:
        RunError: as :func:`read_runs`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RunError(f"{folder}: no such folder; expected an output_dir of training or evaluating, or name=folder")
    summary = _read_summary(folder / "summary.json") if (folder / "summary.json").exists() else {}
    training = _training_of(folder, summary)
    if not summary and not training.history and not training.record:
        raise RunError(
            f"{folder}: holds neither summary.json nor history.csv; expected an output_dir of training or evaluating"
        )
    scores = _read_scores(folder / "metrics.csv", summary) if summary else {}
    return Run(name=name, named=named, folder=folder, training=training, summary=summary, scores=scores)


def _name_and_folder(word: str) -> tuple[str, Path]:
    name, sign, path = word.partition("=")
    if not sign or Path(word).exists():
        return "", Path(word)
    if not name.strip() or not path:
        raise RunError(f"{word!r}: expected a folder, or name=folder")
    return name.strip(), Path(path)


def _names(folders: Sequence[Path]) -> dict[Path, str]:
    """Folder -> the last parts of its path, as few as tell all folders apart."""
    parts = {folder: folder.resolve().parts for folder in folders}
    for depth in range(1, max(map(len, parts.values()), default=0)):
        names = {folder: "/".join(words[-depth:]) for folder, words in parts.items()}
        if len(set(names.values())) == len(names):
            return names
    return {folder: str(folder) for folder in folders}


def _training_of(folder: Path, summary: Mapping[str, Any]) -> Training:
    """The training of the scored weights, or, where nothing was scored, the training in the folder."""
    if not summary:
        records = [record for name in reversed(RECORDS) if (record := _read_record(folder / name))]
        return _read_training(folder, records[0] if records else {})
    weights = summary["run"].get("weights", {})
    sha256, path = weights.get("sha256"), Path(str(weights.get("path", "")))
    if sha256 is None:
        return Training(folder=folder)
    for candidate in (folder, path.parent):
        for name in (*RECORDS, path.with_suffix(".json").name if path.name else RECORDS[0]):
            record = _read_record(candidate / name)
            if record and record.get("sha256") == sha256:
                return _read_training(candidate, record)
    return Training(folder=folder)


def _read_training(folder: Path, record: Mapping[str, Any]) -> Training:
    history: dict[str, Curve] = {}
    for epoch, name, value in _rows(folder / "history.csv", BY_HISTORY):
        history.setdefault(name, {})[int(epoch)] = float(value)
    preference: dict[str, dict[str, Curve]] = {"rp": {}, "beta": {}}
    for epoch, modality, rp, beta, _ in _rows(folder / "preference.csv", BY_PREFERENCE):
        for kind, value in (("rp", rp), ("beta", beta)):
            preference[kind].setdefault(modality, {})[int(epoch)] = float(value)
    return Training(folder=folder, record=record, history=history, preference=preference if preference["rp"] else {})


def _read_scores(path: Path, summary: Mapping[str, Any]) -> dict[ScoreKey, float]:
    scores: dict[ScoreKey, float] = {}
    for case, subset, region, metric, value in _rows(path, ScoreRow._fields):
        key = ScoreKey(case, subset, region, metric)
        known = subset in summary["subsets"] and region in summary["regions"] and metric in summary["metrics"]
        if not known or key in scores:
            problem = "occurs twice" if known else "is not in summary.json"
            raise RunError(f"{path}: {case}, {subset}, {region}, {metric} {problem}; run evaluating again")
        scores[key] = float(value)
    if not scores:
        raise RunError(f"{path}: has no scores although summary.json is there; run evaluating again")
    return scores


def _rows(path: Path, columns: Sequence[str]) -> Iterator[list[str]]:
    """Lines of a CSV below its header, all but the first and text columns numbers; none where there is no file."""
    if not path.exists():
        return
    texts = {"case", "subset", "region", "metric", "name", "modality"}
    try:
        lines = list(csv.reader(read_text(path).splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"{path}: cannot be read ({error}); expected a CSV of {','.join(columns)}") from None
    if not lines or lines[0] != list(columns):
        raise RunError(f"{path}: begins with {','.join(lines[0] if lines else [])!r}; expected {','.join(columns)}")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(columns):
            raise RunError(f"{path}: line {number} has {len(line)} values; expected {','.join(columns)}")
        for column, value in zip(columns, line, strict=True):
            if column not in texts and not (value.isdecimal() if column == "epoch" else _is_number(value)):
                raise RunError(f"{path}: line {number}: {column} is {value!r}; expected a number")
        yield line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read as JSON ({' '.join(str(error).split())}); write it again") from None
    if not isinstance(content, dict):
        raise RunError(f"{path}: holds a {type(content).__name__}; expected an object as training or evaluating write")
    return content


def _read_record(path: Path) -> dict[str, Any]:
    """What lies beside weights, or nothing where there is no such file."""
    record = _read_json(path) if path.is_file() else {}
    about = record.get("trained_on", {})
    rates = about.get("missing_rates", {}) if isinstance(about, dict) else None
    if not isinstance(rates, dict) or not all(isinstance(rate, (int, float)) for rate in rates.values()):
        raise RunError(f"{path}: trained_on is {about!r}; expected an object as training writes it")
    return record | ({"trained_on": as_now(about)} if about else {})


def _read_summary(path: Path) -> dict[str, Any]:
    """``summary.json`` with all the means that its own list of subsets, metrics and regions promises."""
    summary = _read_json(path)
    try:
        modalities = summary["modalities"]
        entries = [summary["mean_over_subsets"], *summary["by_count"].values(), *summary["subsets"].values()]
        good = all(
            value is None or isinstance(value, (int, float))
            for entry in entries
            for metric in summary["metrics"]
            for value in (entry["n"], summary["overall"][metric], *(entry[metric][r] for r in summary["regions"]))
        )
        good &= all(subset_name(name.split("+"), modalities) == name for name in summary["subsets"])
        good &= isinstance(summary["run"].get("weights", {}), dict) and all(
            isinstance(summary[key], kind) for key, kind in (("dataset", str), ("policy", str), ("cases", int))
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"{path}: is not as evaluating writes it ({error!r}); run evaluating again") from None
    if not good:
        raise RunError(f"{path}: holds values that evaluating does not write; run evaluating again")
    if set(summary["metrics"]) - METRICS.keys():
        raise RunError(f"{path}: metrics are {', '.join(summary['metrics'])}; accepted: {', '.join(METRICS)}")
    return summary
