"""What a run is, in plain values: kept beside its weights and compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from passion_components.data.datalists import datalist_hash, load_datalist, missing_rates
from passion_components.datasets import DatasetSpec

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
    started_from: str | None = None,
) -> dict[str, Any]:
    """Data set, network, objective, datalist (name, hash, cases, realised missing rates) and seed.

    ``presence_sampling`` are the overlays that reduce presence at random (ModDrop, PDT), ``weights_input`` is what
    :func:`passion_components.engines.weights_input.describe_input` says,
    ``started_from`` the hash of the weights at the start, None where they were random.
    """
    shapes = {name: list(value.shape) for name, value in network.state_dict().items()}
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "dataset": spec.name,
        "network": f"{type(network).__name__}, {parameters:,} parameters",
        "network_shapes": _digest(json.dumps(shapes, sort_keys=True)),
        "objective": " ".join(repr(objective).split()),
        "presence_sampling": ", ".join(presence_sampling) or AS_LISTED,
        "datalist": Path(datalist).name,
        "datalist_hash": datalist_hash(datalist),
        "training_cases": len(load_datalist(datalist, "training", spec.modalities)),
        "missing_rates": missing_rates(datalist, spec.modalities),
        "seed": seed,
        "input": dict(weights_input),
        "started_from": started_from,
    }


def describe_evaluation(
    *, spec: DatasetSpec, network: nn.Module, datalist: Path | str, **settings: Any
) -> dict[str, Any]:
    """What changes the scores of given weights: definitions of data set and network, datalist (absolute path, hash).

    Args:
        spec: data set.
        network: its class and plain attributes count.
        datalist: where the cases are listed.
        settings: everything else, kept under its name.
    """
    plain = {
        name: value
        for name, value in sorted(vars(network).items())
        if not name.startswith("_") and name != "training" and isinstance(value, bool | int | float | str | tuple)
    }
    return {
        "dataset_definition": _digest(repr(spec)),
        "network": f"{type(network).__name__} {plain}",
        "datalist": str(Path(datalist).absolute()),
        "datalist_hash": datalist_hash(datalist),
        **settings,
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
