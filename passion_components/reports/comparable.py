"""Which runs may stand in one table, which are repetitions of one setting, and what must be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from passion_components.datasets import DatasetSpec
from passion_components.engines.earlier_versions import with_untold
from passion_components.metrics.record import UNTOLD
from passion_components.reports.runs import Run, RunError

MEASURE = ("part", "min_region_voxels", "label_scheme")
"""Settings of an evaluation that decide what is measured; one for all runs of a table."""

NOT_COMPARED = ("weights", "policy", "metrics", "network", "datalist", "datalist_hash", "save_predictions", "files")
"""What an evaluation tells beside its settings; ``files`` are compared case by case."""

OF_TRAINING = ("objective", "input")
"""What a record of training that tells all of it has; older ones lack it."""


def check_comparable(runs: Sequence[Run]) -> None:
    """Refuse runs whose scores cannot stand in one table.

    Raises:
        RunError: a run without scores; another data set, policy, metric or region than in the first one, another part,
            label scheme or least size of a region; a case whose files held something else.
    """
    for run in runs:
        if not run.summary:
            raise RunError(f"{run.folder}: has no summary.json; score it first: run evaluating with this --output_dir")
        for key in ("dataset", "policy", "modalities", "regions", "metrics"):
            _check_one(run, runs[0], key, run.summary[key], runs[0].summary[key])
        ours, firsts = _scored_with(run), _scored_with(runs[0])
        for key in MEASURE:
            if key in ours and key in firsts:
                _check_one(run, runs[0], key, ours[key], firsts[key])
    _check_files(runs)


def check_dataset(runs: Sequence[Run], spec: DatasetSpec | None) -> None:
    """Refuse scores of another data set than the one given, if one is given.

    Raises:
        RunError: naming the first such run.
    """
    for run in runs:
        if spec is not None and run.summary and run.summary["dataset"] != spec.name:
            raise RunError(f"{run.folder}: was scored on {run.summary['dataset']}, not on {spec.name}; leave it out")


def check_repetitions(runs: Sequence[Run]) -> None:
    """Refuse runs of one name that are not repetitions of one training, scored alike.

    Raises:
        RunError: weights that were scored twice; descriptions that differ in more than the seed.
    """
    for place, run in enumerate(runs):
        for other in runs[:place]:
            if _weights(run) and _weights(run) == _weights(other):
                raise RunError(
                    f"{run.folder}: holds scores of the same weights as {other.folder}, also named {run.name!r}; "
                    f"runs of one name are repetitions with another seed: leave one out, or give it another name"
                )
            for before, now in ((_trained_as(other), _trained_as(run)), (_scored_with(other), _scored_with(run))):
                for key in sorted(before.keys() & now.keys()):
                    was, here = before[key], now[key]
                    if key == "objective":
                        was, here = with_untold(was, here), with_untold(here, was)
                    if was != here:
                        name, was, here = _where_they_differ(key, was, here)
                        raise RunError(
                            f"{run.folder}: {name} is {words(here)}, but {words(was)} in {other.folder}, also named "
                            f"{run.name!r}; runs of one name may differ in their seed alone: give it another name"
                        )


def description(run: Run) -> Mapping[str, Any]:
    """How a run was trained, but for its seed, and scored; empty where nobody wrote how it was trained."""
    trained = _trained_as(run)
    return {"trained": trained, "scored": _scored_with(run)} if trained else {}


def remarks(runs: Sequence[Run]) -> list[str]:
    """What readers of a table must know of how its runs were scored: settings and cases that are not the same."""
    said = []
    settings = {id(run): _scored_with(run) for run in runs}
    for key in dict.fromkeys(key for of_run in settings.values() for key in of_run):
        values: dict[str, list[str]] = {}
        for run in runs:
            value = words(settings[id(run)][key]) if key in settings[id(run)] else "not recorded"
            values.setdefault(value, []).append(run.name)
        if len(values) > 1:
            said.append(f"{key} differs: {'; '.join(f'{value} ({_names(names)})' for value, names in values.items())}")
    cases = {frozenset(score.case for score in run.scores) for run in runs}
    if len(cases) > 1:
        said.append("runs were scored on different cases")
    return said


def unknown_repetitions(runs: Sequence[Run]) -> list[str]:
    """What cannot be compared of repetitions since a record of training does not tell it."""
    if len(runs) < 2:
        return []
    keys = list(dict.fromkeys([*OF_TRAINING, *(key for run in runs for key in _trained_as(run))]))
    said = []
    for run in runs:
        lacks = [key for key in keys if key not in run.trained_on]
        told = run.trained_on.get("objective")
        if any(with_untold(told, other.trained_on.get("objective")) != told for other in runs):
            lacks.append("all of objective")
        if lacks:
            said.append(
                f"{run.folder}: its record of training does not tell {', '.join(lacks)}; "
                f"whether it is a repetition of {run.name} in these is unknown"
            )
    return said


def words(value: Any) -> str:
    """A value of a description in words."""
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _check_one(run: Run, first: Run, key: str, here: Any, there: Any) -> None:
    if here != there:
        raise RunError(
            f"{run.folder}: {key} is {words(here)}, but {words(there)} in {first.folder}; "
            f"expected one for all runs of a table: tabulate them apart"
        )


def _check_files(runs: Sequence[Run]) -> None:
    """Refuse a case whose files, where two runs know them, differ between these."""
    known: dict[tuple[str, str], tuple[Any, Run]] = {}
    for run in runs:
        for case, files in run.summary["run"].get("files", {}).items():
            for key, digest in files.items():
                before, first = known.setdefault((case, key), (digest, run))
                if before != digest:
                    raise RunError(
                        f"{run.folder}: {key} of case {case} held something else than in {first.folder}; "
                        f"expected scores from the same files: run evaluating again, or tabulate them apart"
                    )


def _scored_with(run: Run) -> dict[str, Any]:
    """Settings of an evaluation; no least size of a region is the same as 0."""
    recorded = run.summary.get("run", {})
    told = UNTOLD | recorded if "weights" in recorded else recorded
    about = {key: value for key, value in told.items() if key not in NOT_COMPARED}
    if "min_region_voxels" in about:
        least = about["min_region_voxels"] or {}
        about["min_region_voxels"] = {region: voxels for region, voxels in least.items() if voxels}
    return about


def _trained_as(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.trained_on.items() if key != "seed"}


def _weights(run: Run) -> str | None:
    sha256: str | None = run.summary.get("run", {}).get("weights", {}).get("sha256")
    return sha256


def _where_they_differ(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """The innermost key whose values differ, as ``input.spacing``, and these."""
    while isinstance(before, Mapping) and isinstance(now, Mapping):
        key = next(key for key in [*now, *before] if before.get(key) != now.get(key))
        name, before, now = f"{name}.{key}", before.get(key), now.get(key)
    return name, before, now


def _names(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))
