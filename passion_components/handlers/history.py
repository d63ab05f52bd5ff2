"""Means of the loss terms of every epoch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events

from passion_components.handlers.epoch_table import EpochTable
from passion_components.handlers.reduction import summed_over_ranks


class LossHistoryHandler:
    """Mean of every scalar loss term over an epoch, into ``engine.state.metrics`` and ``history.csv``.

    Terms are summed on the device and read once an epoch, so no step waits for them. The CSV is tidy: epoch, name,
    value; besides the terms it has the learning rate and the seconds that the epoch's steps took.

    Args:
        output_dir: folder of ``history.csv``.
    """

    def __init__(self, *, output_dir: Path | str) -> None:
        self.table = EpochTable(Path(output_dir) / "history.csv", ["epoch", "name", "value"])
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0
        self._start = 0.0

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.trainer.MultiPathTrainer`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish_epoch)

    def start_epoch(self, engine: Engine) -> None:
        """Forget the last epoch's sums."""
        self._sums, self._steps, self._start = {}, 0, time.perf_counter()

    def collect(self, engine: Engine) -> None:
        """Add the batch's terms."""
        self._steps += 1
        for name, value in engine.state.losses.items():
            if value.ndim == 0:
                value = value.detach().double()
                self._sums[name] = self._sums[name] + value if name in self._sums else value

    def finish_epoch(self, engine: Engine) -> None:
        """Log the means over steps and processes."""
        names = sorted(self._sums)
        means = summed_over_ranks(torch.stack([self._sums[name] for name in names])) / idist.get_world_size()
        epoch, metrics = engine.state.epoch, engine.state.metrics
        values = dict(zip(names, (means / self._steps).tolist(), strict=True))
        for name, value in values.items():
            metrics[name if name == "loss" else f"loss/{name}"] = value
        values |= {"lr": metrics["lr"], "seconds": time.perf_counter() - self._start}
        for name, value in values.items():
            self.table.add(epoch, name, value)
        if idist.get_rank() == 0:
            self.table.write()

    def state_dict(self) -> dict[str, Any]:
        """Rows logged so far."""
        return self.table.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the rows of a checkpoint."""
        self.table.load_state_dict(state)
