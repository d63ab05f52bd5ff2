"""Sums over all training processes."""

from __future__ import annotations

from typing import cast

import ignite.distributed as idist
from torch import Tensor


def summed_over_ranks(values: Tensor) -> Tensor:
    """The sum of a tensor over all processes, on the CPU; the only moment at which the device is waited for."""
    return cast(Tensor, idist.all_reduce(values)).cpu()
