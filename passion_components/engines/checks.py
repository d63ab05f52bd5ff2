"""Checks at the head of a bundle's run lists, in words for whoever typed the command."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from passion_components.backbones.base import Backbone
from passion_components.data.errors import UserError
from passion_components.data.layouts.scans import ScanFolder
from passion_components.data.lists.datalist import Datalist, check_files_exist, presence_table
from passion_components.data.lists.scan_cases import find_scan_cases
from passion_components.data.words import nearest
from passion_components.datasets import DATASETS, DatasetSpec, dataset_spec
from passion_components.engines.command_line import with_own_data
from passion_components.engines.weights_input import WeightsInput, check_weights
from passion_components.handlers.checkpoint import STATE_FILE, checkpoints_in
from passion_components.inferers.modality_aware import ModalityAwareInferer
from passion_components.metrics import scores
from passion_components.presence import subset_table
from passion_components.transforms.components import check_min_share
from passion_components.transforms.register import check_register_to

logger = logging.getLogger(__name__)

_OF_A_TRAINING = ("model.pt", "model_last.pt", "model.json", "history.csv", "preference.csv")


def checked_dataset(name: Path | str, *, only: str | None = None) -> DatasetSpec:
    """The data set of ``--dataset_file``, by its name or its JSON file.

    Args:
        name: of the data set, or the path of its file.
        only: name of the one data set whose numbers stand in the configs; None where they follow the file.

    Raises:
        UserError: in one line.
    """
    with _in_one_line("--dataset_file: "):
        spec = dataset_spec(name)
    if only is not None and spec != DATASETS[only]:
        raise UserError(f"--dataset_file {name}: these configs hold numbers of {only}; {with_own_data(name)}")
    return spec


def checked_datalist(path: Path | str) -> Datalist:
    """The datalist of ``--datalist``, read once.

    Raises:
        UserError: one that cannot be read, in one line.
    """
    with _in_one_line():
        return Datalist(path)


def checked_scans(dataset_dir: Path | str, spec: DatasetSpec, series: str = "") -> ScanFolder:
    """The cases of :func:`~passion_components.data.lists.scan_cases.find_scan_cases`.

    Raises:
        UserError: a folder of scans that does not exist or holds nothing, in one line.
    """
    with _in_one_line():
        return find_scan_cases(dataset_dir, spec, series)


def check_training(
    *,
    spec: DatasetSpec,
    modalities: Sequence[str],
    spacing: Sequence[float],
    network: Backbone,
    inferer: ModalityAwareInferer,
    datalist: Datalist,
    label_scheme: str | None,
    resample_to: str | None,
    register_to: str | None,
    output_dir: Path | str,
    resume: bool | str,
    epochs: int,
    lr_horizon: int | None,
    validation_subsets: Sequence[str] | None = None,
    presence_sampling: Sequence[str] = (),
) -> None:
    """Refuse a training that cannot start.

    Perfect data training (``pdt`` in ``presence_sampling``) on cases that lack sequences is warned about, and so are
    training cases that are validated on.

    Raises:
        UserError: in one line.
    """
    _check_modalities(modalities, spec)
    check_cases(datalist=datalist, part="training", modalities=modalities)
    check_cases(datalist=datalist, part="validation", modalities=modalities, may_be_empty=True)
    if validation_subsets is not None:
        _check_validation_subsets(validation_subsets, datalist.cases("validation", modalities), modalities)
    _check_output(Path(output_dir), resume)
    if epochs < 1 or (lr_horizon is not None and epochs > lr_horizon):
        raise UserError(f"--epochs {epochs}: accepted are 1 to --lr_horizon ({lr_horizon or 'any number'})")
    with _in_one_line():
        datalist.missing_rates(modalities)
    _warn_of_cases_in_both(datalist, modalities)
    if "pdt" in presence_sampling:
        _warn_of_incomplete_cases(datalist, modalities)
    _check_reading(spec, modalities, label_scheme=label_scheme, resample_to=resample_to, register_to=register_to)
    check_windows(network=network, spacing=spacing, inferer=inferer)


def check_evaluation(
    *,
    trained: WeightsInput,
    spec: DatasetSpec,
    modalities: Sequence[str],
    spacing: Sequence[float],
    network: Backbone,
    inferer: ModalityAwareInferer,
    datalist: Datalist,
    part: str,
    label_scheme: str | None,
    resample_to: str | None,
    register_to: str | None,
    min_component_share: float,
    policy: str,
    metrics: Sequence[str],
    min_region_voxels: Mapping[str, int],
) -> None:
    """Refuse an evaluation that cannot start.

    Raises:
        UserError: in one line.
    """
    window = check_windows(network=network, spacing=spacing, inferer=inferer)
    check_weights(trained, spec=spec, modalities=modalities, spacing=spacing, roi_size=window)
    check_cases(datalist=datalist, part=part, modalities=modalities)
    _check_reading(spec, modalities, label_scheme=label_scheme, resample_to=resample_to, register_to=register_to)
    _check_share(min_component_share)
    with _in_one_line():
        scores.check_scoring(spec.regions, policy=policy, metrics=metrics, min_region_voxels=min_region_voxels)


def check_inference(
    *,
    trained: WeightsInput,
    spec: DatasetSpec,
    modalities: Sequence[str],
    spacing: Sequence[float],
    network: Backbone,
    inferer: ModalityAwareInferer,
    label_scheme: str | None,
    resample_to: str | None,
    register_to: str | None,
    min_component_share: float,
) -> None:
    """Refuse an inference that cannot start; :func:`checked_scans` does so for what lies in the folder.

    Raises:
        UserError: in one line.
    """
    window = check_windows(network=network, spacing=spacing, inferer=inferer)
    check_weights(trained, spec=spec, modalities=modalities, spacing=spacing, roi_size=window)
    _check_reading(spec, modalities, label_scheme=label_scheme, resample_to=resample_to, register_to=register_to)
    _check_share(min_component_share)


def _check_modalities(modalities: Sequence[str], spec: DatasetSpec) -> None:
    """Refuse channels that the data set does not have; tell which of its sequences are none."""
    if isinstance(modalities, str):
        raise UserError(f"--modalities {modalities}: expected a list like \"['{modalities}']\"")
    strange = [name for name in modalities if name not in spec.modalities]
    if strange:
        raise UserError(
            f"--modalities {', '.join(modalities)}: {spec.name} has {', '.join(spec.modalities)}, not "
            f"{', '.join(strange)}; leave the argument out, and add configs/own_data.json for a data set of your own"
        )
    unused = [name for name in spec.modalities if name not in modalities]
    if unused:
        logger.warning("channels of the network: %s; not used: %s", ", ".join(modalities), ", ".join(unused))


def _check_reading(
    spec: DatasetSpec,
    modalities: Sequence[str],
    *,
    label_scheme: str | None,
    resample_to: str | None,
    register_to: str | None,
) -> None:
    check_choice(name="resample_to", value=resample_to, accepted=modalities)
    check_choice(name="register_to", value=register_to, accepted=modalities)
    check_register_to(register_to, resample_to)
    check_label_scheme(label_scheme, spec)


def _check_share(min_component_share: float) -> None:
    with _in_one_line("--min_component_share: "):
        check_min_share(min_component_share)


def _warn_of_incomplete_cases(datalist: Datalist, modalities: Sequence[str]) -> None:
    absent = ~presence_table(datalist.cases("training", modalities), modalities)
    if absent.any():
        counts = ", ".join(f"{name} {n}" for name, n in zip(modalities, absent.sum(0).tolist(), strict=True) if n)
        logger.warning(
            "pdt: perfect data training means complete cases, but %d of %d training cases of %s lack sequences (%s); "
            "name a complete --datalist, or do not call the result PDT",
            *(int(absent.any(1).sum()), len(absent), datalist.path, counts),
        )


def _warn_of_cases_in_both(datalist: Datalist, modalities: Sequence[str]) -> None:
    training, validation = (
        {case["case"] for case in datalist.cases(part, modalities)} for part in ("training", "validation")
    )
    if both := sorted(training & validation):
        logger.warning(
            "%s: %s: in training and in validation, so the best epoch is chosen by cases that it was trained on; "
            "expected every case in one part: remove it from the other",
            *(datalist.path, ", ".join(both)),
        )


def _check_output(output_dir: Path, resume: bool | str) -> None:
    """Refuse a folder that does not fit ``--resume``: nobody trains afresh by mistake, nor over another training."""
    if not isinstance(resume, bool):
        raise UserError(
            f"--resume {resume}: accepted are True and False; --output_dir names the folder in which to go on"
        )
    checkpoints = [path.name for path in checkpoints_in(output_dir)]
    found = [*checkpoints, *(name for name in _OF_A_TRAINING if (output_dir / name).exists())]
    if resume and not checkpoints:
        weights = [output_dir / name for name in ("model_last.pt", "model.pt") if name in found]
        anew = (
            f"begin anew from its weights, without --resume, with --ckpt {weights[0]} and another --output_dir"
            if weights
            else "leave --resume out to train from the start"
        )
        raise UserError(
            f"--resume True: {output_dir} holds no {STATE_FILE}; look for a mistyped --output_dir, or {anew}"
        )
    if found and not resume:
        go_on = "go on with --resume True, or name" if checkpoints else "remove it, or name"
        raise UserError(f"{output_dir} already holds {', '.join(found)}; {go_on} another --output_dir")


def check_windows(*, network: Backbone, spacing: Sequence[float], inferer: ModalityAwareInferer) -> Sequence[int]:
    """Refuse a grid, or a size of sliding windows, that makes no sense or that the network cannot take.

    Returns:
        Voxels of a window, one number an axis.

    Raises:
        UserError: in one line.
    """
    divisor, smallest = network.size_divisor, network.min_size
    window_numbers = f"whole numbers of voxels divisible by {divisor} and at least {smallest}"
    window = cast(Sequence[int], inferer.roi_size)
    _check_axes("spacing", spacing, network.spatial_dims, "millimetres above 0", _is_length)
    _check_axes(
        *("roi_size", window, network.spatial_dims, window_numbers),
        lambda size: isinstance(size, int) and size >= smallest and size % divisor == 0,
    )
    return window


def _check_axes(name: str, values: Sequence[Any], axes: int, numbers: str, accepts: Callable[[Any], bool]) -> None:
    """Refuse an argument that is not one accepted number for every axis."""
    if isinstance(values, list | tuple) and len(values) == axes and all(map(accepts, values)):
        return
    example = ",".join(["16"] * axes)
    raise UserError(f'--{name} {values}: expected {axes} {numbers}, one an axis, written like "[{example}]"')


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and 0 < value < math.inf


def check_cases(*, datalist: Datalist, part: str, modalities: Sequence[str], may_be_empty: bool = False) -> None:
    """Refuse a part that cannot be read or has no cases, and a listed file that is not there.

    Raises:
        UserError: in one line.
    """
    with _in_one_line():
        try:
            cases = datalist.cases(part, modalities)
        except ValueError as error:
            raise UserError(f"{error}{_other_dataset(datalist, modalities)}") from error
        check_files_exist(cases)
    if not cases and not may_be_empty:
        raise UserError(f"{datalist.path}: the part {part!r} has no cases; split the data again with --split")
    for case in cases:
        if "label" not in case:
            raise UserError(f"{datalist.path}: {case['case']} has no label; {part} needs one for every case")


def _other_dataset(datalist: Datalist, modalities: Sequence[str]) -> str:
    """What to do where a datalist names a data set that does not have the sequences; else nothing."""
    try:
        named = datalist.dataset()
    except (OSError, ValueError):
        return ""
    if named is None or set(modalities) <= set(named.modalities):
        return ""
    return f"; the datalist is of {named.name}: {with_own_data(named.file or named.name)}"


def check_choice(*, name: str, value: str | None, accepted: Sequence[str]) -> None:
    """Refuse an argument that is none of the accepted words; None is always one.

    Raises:
        UserError: in one line.
    """
    if value is not None and value not in accepted:
        raise UserError(f"--{name} {value}{nearest(str(value), accepted)}: accepted: {', '.join(accepted)}")


def check_label_scheme(value: str | None, spec: DatasetSpec) -> None:
    """Refuse a label scheme that the data set does not have; the datalist names it, unless the user did.

    Raises:
        UserError: in one line.
    """
    accepted = list(spec.label_schemes)
    if value is None or value in accepted:
        return
    owners = [other.name for other in DATASETS.values() if value in other.label_schemes]
    if owners:
        raise UserError(
            f"--label_scheme {value}: is of the data set {owners[0]}, so the datalist (or the word) is not for this "
            f"bundle; use a bundle of {owners[0]}; accepted here: {', '.join(accepted)}"
        )
    raise UserError(
        f"--label_scheme {value}{nearest(str(value), accepted)}: accepted: {', '.join(accepted)}; the datalist names "
        "it, unless you did"
    )


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
        subset_table(modalities, names)
    if cases and not any(set(name.split("+")) <= case.keys() for name in names for case in cases):
        raise UserError(f"--validation_subsets: no validation case has {' or '.join(names)}; name other subsets")
