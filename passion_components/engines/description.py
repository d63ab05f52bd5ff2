"""What a run is, in plain values: kept beside its weights and compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import ignite.distributed as idist
import torch
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

AS_LISTED = "as listed"
"""How presence is sampled where nothing reduces it at random."""


def describe_run(
    *,
    spec: DatasetSpec,
    modalities: Sequence[str],
    spacing: Sequence[float],
    network: nn.Module,
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: PolyScheduleHandler,
    dataset: CaseDataset,
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
        modalities: names of the channels, in order.
        spacing: millimetres per voxel.
        network: counts by class, number of parameters and shapes of its weights.
        objective: counts by class, switches and numbers.
        optimizer: class and numbers count, and the learning rate that it begins with.
        schedule: of the learning rate: epochs, horizon, power, decimals.
        dataset: training cases: its seed, and class and numbers of every transform, random ones included.
        dataloader: how many of these make a batch.
        inferer: windows, and how they overlap in validation.
        datalist: counts by name, by what it says, by the content of its training and validation files, and by the
            number and the missing rates of the training cases.
        label_scheme: how its label files are coded, None for the data set's own scheme.
        presence_sampling: the overlays that reduce presence at random (ModDrop, PDT).
        ckpt: weights to start from, or ""; they count by their hash.
        resume: whether the run goes on from what lies in ``output_dir``, and so started from the same weights.
        output_dir: of the run.
        settings: everything else, plain values, kept under its name.
    """
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "dataset": spec.name,
        "network": {"class": type(network).__name__, "parameters": parameters},
        "network_shapes": _digest(json.dumps(shapes, sort_keys=True)),
        "objective": settings_of(objective),
        "presence_sampling": ", ".join(presence_sampling) or AS_LISTED,
        **_listed(spec, datalist),
        "seed": dataset.seed,
        "input": describe_input(
            spec=spec,
            network=network,
            modalities=modalities,
            spacing=spacing,
            roi_size=cast(Sequence[int], inferer.roi_size),
            label_scheme=label_scheme,
        ),
        "started_from": started_from(ckpt=ckpt, resume=resume, output_dir=output_dir),
        "optimizer": optimizer_settings(optimizer),
        "learning_rate": optimizer.defaults["lr"],
        "epochs": schedule.epochs,
        "lr_horizon": schedule.horizon,
        "lr_power": schedule.power,
        "lr_decimals": schedule.decimals,
        "preprocessing": settings_of(dataset.preprocessing),
        "augmentation": settings_of(dataset.augmentation),
        "batch_size": dataloader.batch_size,
        "overlap": inferer.overlap,
        "blending": str(inferer.mode),
        "processes": idist.get_world_size(),
        **settings,
    }


def _listed(spec: DatasetSpec, datalist: Datalist) -> dict[str, Any]:
    """What counts of a datalist in a training."""
    training, validation = (datalist.cases(part, spec.modalities) for part in ("training", "validation"))
    return {
        "datalist": Path(datalist.path).name,
        "datalist_hash": datalist.hash(),
        "files": _digest(json.dumps(file_hashes(training + validation), sort_keys=True)),
        "training_cases": len(training),
        "missing_rates": datalist.missing_rates(spec.modalities),
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
