"""What a run is, in plain values: kept beside its weights and compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
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
) -> dict[str, Any]:
    """Data set, network, objective, datalist (name, hash, cases, realised missing rates) and seed.

    ``presence_sampling`` are the overlays that reduce presence at random (ModDrop, PDT).
    """
    shapes = json.dumps({name: list(value.shape) for name, value in network.state_dict().items()}, sort_keys=True)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return {
        "dataset": spec.name,
        "network": f"{type(network).__name__}, {parameters:,} parameters",
        "network_shapes": hashlib.sha256(shapes.encode()).hexdigest()[:16],
        "objective": " ".join(repr(objective).split()),
        "presence_sampling": ", ".join(presence_sampling) or AS_LISTED,
        "datalist": Path(datalist).name,
        "datalist_hash": datalist_hash(datalist),
        "training_cases": len(load_datalist(datalist, "training", spec.modalities)),
        "missing_rates": missing_rates(datalist, spec.modalities),
        "seed": seed,
    }
