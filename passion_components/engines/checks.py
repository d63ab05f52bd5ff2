"""Checks at the head of a bundle's run lists, in words for whoever typed the command."""

from __future__ import annotations

import ast
import difflib
import inspect
import logging
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from pydoc import locate
from typing import Any, cast

import torch
import yaml
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from passion_components.backbones.base import Backbone
from passion_components.data.errors import UserError
from passion_components.data.lists.datalist import check_files_exist, dataset_of, load_datalist, presence_table
from passion_components.data.lists.scan_cases import find_scan_cases
from passion_components.data.words import nearest
from passion_components.datasets import DATASETS, DatasetSpec, dataset_spec
from passion_components.engines.config_keys import keys_in_use
from passion_components.engines.failures import on_command_line, tell_in_one_line
from passion_components.handlers.checkpoint import STATE_FILE, checkpoints_in
from passion_components.inferers.modality_aware import ModalityAwareInferer
from passion_components.metrics import scores
from passion_components.modalities import subset_table, subsets_within

logger = logging.getLogger(__name__)

_OF_A_TRAINING = ("model.pt", "model_last.pt", "model.json", "history.csv", "preference.csv")
_RUN_ARGUMENTS = ("run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file")


def check_arguments(*, objectives: Sequence[str] = (), presence_sampling: Sequence[str] = ()) -> None:
    """Refuse command lines that MONAI would accept in silence, and tell failures on the command line in one line.

    Args:
        objectives: names that the objective overlays in use have added; at most one may.
        presence_sampling: likewise for the overlays that change how presence is sampled.

    Raises:
        UserError: an unknown override, top-level or nested, with the nearest known name; a path that reads as a number;
            two overlays that contradict each other.
    """
    tell_in_one_line()
    if torch.__version__.startswith("2.9."):
        logger.warning("PyTorch %s: its 3D convolutions are broken; install another version", torch.__version__)
    for kind, names in (("objective", objectives), ("sampling of presence", presence_sampling)):
        if len(names) > 1:
            raise UserError(f"the overlays {' and '.join(names)} each choose the {kind}; give one of them")
    given, files = _command_line(sys.argv) if on_command_line() else ({}, [])
    _check_paths(given)
    configs = [_config(file) for file in files]
    known = {re.split("#|::", key)[0].lstrip("+") for config in configs for key in config}
    if not known:
        return
    tracking = _tracking_keys(given.get("tracking", ""))
    for typed in given:
        _check_nested(typed, configs)
        name = re.match(r"\w*", typed)[0]  # type: ignore[index]
        if name not in known and name not in _RUN_ARGUMENTS and name not in tracking:
            like = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0)[0]
            raise UserError(f"unknown argument --{name}; did you mean --{like}?")
    _warn_of_keys_without_effect([name for name in given if name in known - tracking], files, given)


def checked_dataset(name: Path | str) -> DatasetSpec:
    """The data set of ``--dataset_file``, by its name or its JSON file.

    Raises:
        UserError: in one line.
    """
    with _in_one_line("--dataset_file: "):
        return dataset_spec(name)


def check_training(
    *,
    datalist: Path | str,
    modalities: Sequence[str],
    output_dir: Path | str,
    resume: bool | str,
    epochs: int,
    lr_horizon: int | None,
    validation_subsets: Sequence[str] | None = None,
    presence_sampling: Sequence[str] = (),
) -> None:
    """Refuse a training that cannot start: cases, output folder, epochs, subsets to validate.

    Perfect data training (``pdt`` in ``presence_sampling``) on cases that lack sequences is warned about.

    Raises:
        UserError: in one line.
    """
    check_cases(datalist=datalist, part="training", modalities=modalities)
    check_cases(datalist=datalist, part="validation", modalities=modalities, may_be_empty=True)
    if validation_subsets is not None:
        _check_validation_subsets(validation_subsets, load_datalist(datalist, "validation", modalities), modalities)
    _check_output(Path(output_dir), resume)
    if epochs < 1 or (lr_horizon is not None and epochs > lr_horizon):
        raise UserError(f"--epochs {epochs}: accepted are 1 to --lr_horizon ({lr_horizon or 'any number'})")
    absent = ~presence_table(load_datalist(datalist, "training", modalities), modalities)
    if "pdt" in presence_sampling and absent.any():
        counts = ", ".join(f"{name} {n}" for name, n in zip(modalities, absent.sum(0).tolist(), strict=True) if n)
        logger.warning(
            "pdt: perfect data training means complete cases, but %d of %d training cases of %s lack sequences (%s); "
            "name a complete --datalist, or do not call the result PDT",
            *(int(absent.any(1).sum()), len(absent), datalist, counts),
        )


def _check_output(output_dir: Path, resume: bool | str) -> None:
    """Refuse a folder that does not fit ``--resume``: nobody trains afresh by mistake, nor over another training."""
    if not isinstance(resume, bool):
        raise UserError(
            f"--resume {resume}: accepted are True and False; --output_dir names the folder in which to go on"
        )
    checkpoints = [path.name for path in checkpoints_in(output_dir)]
    if resume and not checkpoints:
        raise UserError(
            f"--resume True: {output_dir} holds no {STATE_FILE}; look for a mistyped --output_dir, or leave "
            "--resume out to train from the start"
        )
    found = [*checkpoints, *(name for name in _OF_A_TRAINING if (output_dir / name).exists())]
    if found and not resume:
        go_on = "go on with --resume True, or name" if checkpoints else "remove it, or name"
        raise UserError(f"{output_dir} already holds {', '.join(found)}; {go_on} another --output_dir")


def check_scoring(
    *, spec: DatasetSpec, policy: str, metrics: Sequence[str], min_region_voxels: Mapping[str, int]
) -> None:
    """Refuse settings of an evaluation that name what does not exist.

    Raises:
        UserError: in one line.
    """
    with _in_one_line():
        scores.check_scoring(spec.regions, policy=policy, metrics=metrics, min_region_voxels=min_region_voxels)


def check_windows(
    *,
    network: Backbone,
    spacing: Sequence[float],
    roi_size: Sequence[int],
    overlap: float,
    blending: str,
    sw_batch_size: int,
) -> None:
    """Refuse a grid, or settings of sliding windows, that make no sense or that the network cannot take.

    Raises:
        UserError: in one line.
    """
    divisor, smallest = network.size_divisor, network.min_size
    window_numbers = f"whole numbers of voxels divisible by {divisor} and at least {smallest}"
    _check_axes("spacing", spacing, network.spatial_dims, "millimetres above 0", _is_length)
    _check_axes(
        *("roi_size", roi_size, network.spatial_dims, window_numbers),
        lambda size: isinstance(size, int) and size >= smallest and size % divisor == 0,
    )
    with _in_one_line():
        ModalityAwareInferer(roi_size=1, overlap=overlap, mode=blending, sw_batch_size=sw_batch_size)


def _check_axes(name: str, values: Sequence[Any], axes: int, numbers: str, accepts: Callable[[Any], bool]) -> None:
    """Refuse an argument that is not one accepted number for every axis."""
    if isinstance(values, list | tuple) and len(values) == axes and all(map(accepts, values)):
        return
    example = ",".join(["16"] * axes)
    raise UserError(f'--{name} {values}: expected {axes} {numbers}, one an axis, written like "[{example}]"')


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


def check_cases(*, datalist: Path | str, part: str, modalities: Sequence[str], may_be_empty: bool = False) -> None:
    """Refuse a datalist that cannot be read, a part without cases, a listed file that is not there.

    Raises:
        UserError: in one line.
    """
    with _in_one_line():
        try:
            cases = load_datalist(datalist, part, modalities)
        except ValueError as error:
            raise UserError(f"{error}{_other_dataset(datalist, modalities)}") from error
        check_files_exist(cases)
    if not cases and not may_be_empty:
        raise UserError(f"{datalist}: the part {part!r} has no cases; split the data again with --split")
    for case in cases:
        if "label" not in case:
            raise UserError(f"{datalist}: {case['case']} has no label; {part} needs one for every case")


def _other_dataset(datalist: Path | str, modalities: Sequence[str]) -> str:
    """What to do where a datalist names a data set that does not have the sequences; else nothing."""
    try:
        named = dataset_of(datalist)
    except (OSError, ValueError):
        return ""
    if named is None or set(modalities) <= set(named.modalities):
        return ""
    return f"; the datalist is of {named.name}: add --dataset_file {named.file or named.name}"


def check_choice(*, name: str, value: str | None, accepted: Sequence[str]) -> None:
    """Refuse an argument that is none of the accepted words; None is always one.

    Raises:
        UserError: in one line.
    """
    if value is not None and value not in accepted:
        owners = [spec.name for spec in DATASETS.values() if name == "label_scheme" and value in spec.label_schemes]
        if owners:
            raise UserError(
                f"--{name} {value}: is of the data set {owners[0]}, so the datalist (or the word) is not for this "
                f"bundle; use a bundle of {owners[0]}; accepted here: {', '.join(accepted)}"
            )
        raise UserError(f"--{name} {value}{nearest(str(value), accepted)}: accepted: {', '.join(accepted)}")


def check_scans(*, dataset_dir: Path | str, spec: DatasetSpec, series: str = "") -> None:
    """Refuse a folder of scans that does not exist or holds nothing.

    Raises:
        UserError: in one line.
    """
    with _in_one_line():
        find_scan_cases(dataset_dir, spec, series)


@contextmanager
def _in_one_line(about: str = "") -> Iterator[None]:
    """What is wrong with the input is raised in words, after what they are about."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        raise UserError(f"{about}{error}") from error


def _check_validation_subsets(
    names: Sequence[str], cases: Sequence[Mapping[str, str]], modalities: Sequence[str]
) -> None:
    """Refuse names that are no subsets, and subsets that no validation case has."""
    if isinstance(names, str) or not names:
        raise UserError(f"--validation_subsets {names!r}: expected a list like \"['t1','t1+t2']\", or None for all")
    with _in_one_line("--validation_subsets: "):
        table = subset_table(modalities, names)
    if cases and not any(len(subsets_within(table, presence)) for presence in presence_table(cases, modalities)):
        raise UserError(f"--validation_subsets: no validation case has {' or '.join(names)}; name other subsets")


def _command_line(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What ``monai.bundle run`` was given, by name as typed, its ``--args_file`` included, and its config files."""
    given: dict[str, str] = {}
    for position, word in enumerate(argv):
        match = re.match(r"--?([A-Za-z_][^=]*)", word)
        if match:
            following = argv[position + 1] if position + 1 < len(argv) else ""
            given[match[1].replace("-", "_")] = word.partition("=")[2] or following
    listed = _config(given.get("args_file", ""))
    files = _file_list(given["config_file"]) if "config_file" in given else listed.get("config_file", [])
    kept = {name: str(listed[name]) if name in ("run_id", "tracking") else "" for name in listed}
    return kept | given, [files] if isinstance(files, str) else files


def _tracking_keys(tracking: str) -> set[str]:
    """The keys that ``--tracking`` adds to a config: a word that MONAI knows, or a file."""
    settings: Mapping[str, Any] = DEFAULT_EXP_MGMT_SETTINGS.get(tracking) or _config(tracking)
    return set(settings.get("configs", {}))


def _warn_of_keys_without_effect(names: Sequence[str], files: Sequence[str], given: Mapping[str, str]) -> None:
    """Tell which arguments belong to another run of the same configs: training's epochs when evaluating."""
    words = [word for word in sys.argv[1:3] if word.isidentifier() and word != "run"]
    run_id = given.get("run_id") or next(iter(words), "run")
    used = keys_in_use(ConfigParser.load_config_files(files), run_id)
    idle = [f"--{name}" for name in names if name not in used and name != "imports"]
    if idle:
        logger.warning("%s: no effect on %s", ", ".join(idle), run_id)


def _check_paths(given: Mapping[str, str]) -> None:
    """Refuse names of files that the command line's parser takes for numbers, lists or the like."""
    for name in ("dataset_dir", "output_dir", "bundle_root", "datalist", "ckpt"):
        value = DefaultParseValue(given.get(name, ""))
        if not isinstance(value, str):
            raise UserError(f"--{name} {given[name]} is read as {value!r}, no path; write --{name} ./{given[name]}")


def _check_nested(name: str, configs: Sequence[Mapping[str, Any]]) -> None:
    """Refuse an override of an argument that its component does not take, or of an entry that its group has not."""
    *above, last = re.split("#|::", name)
    entries = set()
    for config in configs:
        entries |= {path[len(above)] for key in config if (path := re.split("#|::", key))[:-1] == above}
        node: Any = config
        for key in above:
            node = node.get(key) if isinstance(node, Mapping) else None
        entries |= set(node) if isinstance(node, Mapping) and "_target_" not in node else set()
        target = node.get("_target_") if isinstance(node, Mapping) else None
        component = locate(target) if isinstance(target, str) and target.startswith("passion_components.") else None
        if component is None or last.startswith("_"):
            continue
        accepted = inspect.signature(cast(Callable, component)).parameters
        if last not in accepted and all(one.kind is not one.VAR_KEYWORD for one in accepted.values()):
            raise UserError(f"unknown argument --{name}{nearest(last, accepted)}; accepted: {', '.join(accepted)}")
    if above and entries and last not in entries:
        listed = ", ".join(sorted(entries))
        raise UserError(f"unknown argument --{name}{nearest(last, entries)}; {'#'.join(above)} has {listed}")


def _file_list(text: str) -> list[str]:
    """The files that a ``--config_file`` value names: one path or a Python list of them."""
    if not text.startswith(("[", "(")):
        return [text]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    return [str(item) for item in value]


def _config(file: str) -> dict[str, Any]:
    """Content of a config in JSON or YAML; empty where there is none to be had, which MONAI will say."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}
