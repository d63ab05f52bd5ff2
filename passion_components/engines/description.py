"""What a run is, in plain values: kept beside its weights and compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from monai.transforms import Transform
from torch import nn

from passion_components.data.lists.datalist import datalist_hash, file_hashes, load_datalist, missing_rates
from passion_components.datasets import DatasetSpec
from passion_components.engines.settings import optimizer_settings, settings_of
from passion_components.engines.weights_input import network_settings

AS_LISTED = "as listed"
"""How presence is sampled where nothing reduces it at random."""


def describe_run(
    *,
    spec: DatasetSpec,
    network: nn.Module,
    objective: nn.Module,
    presence_sampling: Sequence[str],
    datalist: Path | str,
    seed: int,
    weights_input: Mapping[str, Any],
    optimizer: torch.optim.Optimizer,
    preprocessing: Transform,
    augmentation: Transform,
    started_from: str | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """All that decides what a training makes of its seed; runs that differ in nothing but the seed are repetitions.

    Args:
        spec: data set.
        network: counts by class, number of parameters and shapes of its weights.
        objective: counts as text, and by its class, switches and numbers under ``objective_settings``.
        presence_sampling: the overlays that reduce presence at random (ModDrop, PDT).
        datalist: counts by name, by what it says, by the content of its training and validation files, and by the
            number and the missing rates of the training cases.
        seed: of the run.
        optimizer: class and numbers count, but for the learning rate.
        preprocessing: class and numbers of every transform count, as in ``augmentation``.
        augmentation: with the drawing of samples and of presence.
        weights_input: what :func:`passion_components.engines.weights_input.describe_input` says of data and network.
        started_from: hash of the weights at the start, None where they were random.
        settings: everything else, plain values, kept under its name.
    """
    cases = [case for part in ("training", "validation") for case in load_datalist(datalist, part, spec.modalities)]
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "dataset": spec.name,
        "network": f"{type(network).__name__}, {parameters:,} parameters",
        "network_shapes": _digest(json.dumps(shapes, sort_keys=True)),
        "objective": " ".join(repr(objective).split()),
        "objective_settings": settings_of(objective),
        "presence_sampling": ", ".join(presence_sampling) or AS_LISTED,
        "datalist": Path(datalist).name,
        "datalist_hash": datalist_hash(datalist),
        "files": _digest(json.dumps(file_hashes(cases), sort_keys=True)),
        "training_cases": len(load_datalist(datalist, "training", spec.modalities)),
        "missing_rates": missing_rates(datalist, spec.modalities),
        "seed": seed,
        "input": dict(weights_input),
        "started_from": started_from,
        "optimizer": optimizer_settings(optimizer),
        "preprocessing": settings_of(preprocessing),
        "augmentation": settings_of(augmentation),
        "processes": idist.get_world_size(),
        **settings,
    }


def describe_evaluation(
    *, spec: DatasetSpec, network: nn.Module, preprocessing: Transform, datalist: Path | str, **settings: Any
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
        "datalist": str(Path(datalist).absolute()),
        "datalist_hash": datalist_hash(datalist),
        **settings,
        "preprocessing": _digest(json.dumps(settings_of(preprocessing), sort_keys=True)),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
