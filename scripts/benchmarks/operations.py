"""How many floating-point operations a step takes: the same on every machine, hence counted and not timed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.steps import Shape, make_objective, network
from passion_components.backbones.base import MultiPath


def count_operations(backbone: str, objective: str, shape: Shape, *, counts: Sequence[int]) -> list[dict[str, Any]]:
    """Of convolutions and matrix products, forwards and backwards, in units of 10^12; an addition counts as one.

    On the meta device, where nothing is computed: the networks go the way that they go on a GPU.
    """
    device = torch.device("meta")
    paths = MultiPath(network(backbone, shape, separate_decoder=objective == "released").to(device))
    made = make_objective(objective, shape.modalities)
    size = (shape.edge,) * shape.dims
    image = torch.empty(shape.batch, shape.modalities, *size, device=device)
    target = torch.empty(shape.batch, 1, *size, device=device, dtype=torch.int64)
    rows = []
    for count in counts:
        presence = torch.zeros(shape.batch, shape.modalities, dtype=torch.bool)
        presence[:, :count] = True
        with (
            mock.patch.object(torch, "autocast", lambda *args, **kwargs: nullcontext()),  # the meta device has none
            mock.patch.object(torch, "is_autocast_enabled", lambda device: False),
            FlopCounterMode(display=False) as counter,
        ):
            made(paths(image, presence), target, presence)["loss"].backward()
        rows.append({"present": count, "tera_operations": counter.get_total_flops() / 1e12})
    return [{"backbone": backbone, "objective": objective, **vars(shape)} | row for row in rows]
