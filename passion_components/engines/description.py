"""What a run is, in plain values: kept beside its weights and compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
from monai.transforms import Transform
from torch import nn
from torch.utils.data import DataLoader

from passion_components.data.lists.datalist import Datalist, file_hashes
from passion_components.data.training.dataset import CaseDataset
from passion_components.datasets import DatasetSpec
from passion_components.engines.settings import optimizer_settings, settings_of
from passion_components.engines.weights import started_from
from passion_components.engines.weights_input import describe_input, network_settings
from passion_components.handlers.schedule import PolyScheduleHandler
from passion_components.inferers.modality_aware import ModalityAwareInferer
from passion_components.modalities import AS_LISTED


def describe_run(
    *,
    spec: DatasetSpec,
    modalities: Sequence[str],
    spacing: Sequence[float],
    network: nn.Module,
    objective: nn.Module,
    schedule: PolyScheduleHandler,
    dataloader: DataLoader,
    inferer: ModalityAwareInferer,
    datalist: Datalist,
    label_scheme: str | None,
    presence_sampling: Sequence[str],
    ckpt: str,
    resume: bool,
    output_dir: Path | str,
    **settings: Any,
) -> dict[str, Any]:
    """All that decides what a training makes of its seed; runs that differ in nothing but the seed are repetitions.

    Args:
        spec: data set.
        modalities, spacing: names of the channels, in order; millimetres per voxel.
        network: counts by class, number of parameters and shapes of its weights.
        objective: counts by class, switches and numbers.
        schedule: of the learning rate: where it begins, epochs, horizon, power, decimals; and its optimizer's numbers.
        dataloader: its batch size, and of its CaseDataset the seed, class and numbers of every transform.
        inferer: windows, and how they overlap in validation.
        datalist: counts by name, by what it says, by the content of its training and validation files, and by the
            number and the missing rates of the training cases.
        label_scheme: of its label files, None for the data set's own.
        presence_sampling: the overlays that reduce presence at random (ModDrop, PDT).
        ckpt, resume, output_dir: tell by :func:`started_from` the hash of the weights that the run begins with.
        settings: everything else, plain values, kept under its name.
    """
    return {
        "dataset": spec.name,
        **_counted(network),
        "objective": settings_of(objective),
        "presence_sampling": ", ".join(presence_sampling) or AS_LISTED,
        **_listed(modalities, datalist),
        **_of_samples(dataloader),
        "input": describe_input(
            spec=spec,
            network=network,
            modalities=modalities,
            spacing=spacing,
            roi_size=cast(Sequence[int], inferer.roi_size),
            label_scheme=label_scheme,
        ),
        "started_from": started_from(ckpt=ckpt, resume=resume, output_dir=output_dir),
        **_of_schedule(schedule),
        "overlap": inferer.overlap,
        "blending": str(inferer.mode),
        "processes": idist.get_world_size(),
        **settings,
    }


def _counted(network: nn.Module) -> dict[str, Any]:
    """A network by class, number of parameters and shapes of its weights."""
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "network": {"class": type(network).__name__, "parameters": parameters},
        "network_shapes": _digest(json.dumps(shapes, sort_keys=True)),
    }


def _of_samples(dataloader: DataLoader) -> dict[str, Any]:
    dataset = cast(CaseDataset, dataloader.dataset)
    return {
        "seed": dataset.seed,
        "preprocessing": settings_of(dataset.preprocessing),
        "augmentation": settings_of(dataset.augmentation),
        "batch_size": dataloader.batch_size,
    }


def _of_schedule(schedule: PolyScheduleHandler) -> dict[str, Any]:
    return {
        "optimizer": optimizer_settings(schedule.optimizer),
        "learning_rate": schedule.optimizer.defaults["lr"],
        "epochs": schedule.epochs,
        "lr_horizon": schedule.horizon,
        "lr_power": schedule.power,
        "lr_decimals": schedule.decimals,
    }


def _listed(modalities: Sequence[str], datalist: Datalist) -> dict[str, Any]:
    """What counts of a datalist in a training."""
    training, validation = (datalist.cases(part, modalities) for part in ("training", "validation"))
    return {
        "datalist": Path(datalist.path).name,
        "datalist_hash": datalist.hash(),
        "files": _digest(json.dumps(file_hashes(training + validation), sort_keys=True)),
        "training_cases": len(training),
        "missing_rates": datalist.missing_rates(modalities),
    }


def describe_evaluation(
    *, spec: DatasetSpec, network: nn.Module, preprocessing: Transform, datalist: Datalist, **settings: Any
) -> dict[str, Any]:
    """What changes the scores of given weights: definitions of data set and network, datalist (absolute path, hash).

    Args:
        spec: data set.
        network: its class and arguments count, also those that no shape of a weight tells.
        preprocessing: class and numbers of every transform count, as a hash.
        datalist: where the cases are listed.
        settings: everything else, kept under its name.
    """
    return {
        "dataset_definition": _digest(repr(spec)),
        "network": network_settings(network) or {"class": type(network).__name__},
        "datalist": str(Path(datalist.path).absolute()),
        "datalist_hash": datalist.hash(),
        **settings,
        "preprocessing": _digest(json.dumps(settings_of(preprocessing), sort_keys=True)),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
