"""Means of the loss terms of every epoch."""

from __future__ import annotations

import resource
import time
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator

from passion_components.handlers.epoch_table import EpochTable
from passion_components.handlers.reduction import summed_over_ranks


class LossHistoryHandler:
    """Mean of every scalar loss term over an epoch, into ``engine.state.metrics`` and ``history.csv``.

    Terms are summed on the device and read once an epoch, so no step waits for them. The CSV is tidy: epoch, name,
    value. Besides the terms it has the learning rate (``lr``), the epoch's ``seconds``, the ``seconds_per_step``, the
    ``seconds_waiting_for_data`` among them, and ``peak_memory_mb``: allocated on the GPU in this epoch, or the largest
    the process has had on a CPU. ``mean_dice_validation`` is there for the epochs that were validated.

    Args:
        output_dir: folder of ``history.csv``.
        validator: evaluator whose ``mean_dice`` is noted.
    """

    def __init__(self, *, output_dir: Path | str, validator: Evaluator | None = None) -> None:
        self.validator = validator
        self.table = EpochTable(Path(output_dir) / "history.csv", ["epoch", "name", "value"])
        self._sums: dict[str, torch.Tensor] = {}
        self._steps = 0
        self._start = self._waiting_since = self._waited = 0.0

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.trainer.MultiPathTrainer`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self.start_waiting)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self.stop_waiting)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish_epoch)
        if self.validator is not None:
            self.validator.add_event_handler(Events.EPOCH_COMPLETED, self.note_validation)

    def start_epoch(self, engine: Engine) -> None:
        """Forget the last epoch's sums."""
        self._sums, self._steps, self._waited, self._start = {}, 0, 0.0, time.perf_counter()
        if _on_gpu(engine):
            torch.cuda.reset_peak_memory_stats(engine.state.device)

    def start_waiting(self, engine: Engine) -> None:
        """The step asks for its batch."""
        self._waiting_since = time.perf_counter()

    def stop_waiting(self, engine: Engine) -> None:
        """The batch is there."""
        self._waited += time.perf_counter() - self._waiting_since

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
        seconds = time.perf_counter() - self._start
        values |= {"lr": metrics["lr"], "seconds": seconds, "seconds_per_step": seconds / self._steps}
        values |= {"seconds_waiting_for_data": self._waited, "peak_memory_mb": _peak_memory(engine) / 2**20}
        for name, value in values.items():
            self.table.add(epoch, name, value)
        if idist.get_rank() == 0:
            self.table.write()

    def note_validation(self, validator: Evaluator) -> None:
        """Add the score of the epoch, if there is any."""
        score = validator.state.metrics.get("mean_dice")
        if score is not None:
            self.table.add(validator.state.epoch, "mean_dice_validation", score)
            self.table.write()

    def state_dict(self) -> dict[str, Any]:
        """Rows logged so far."""
        return self.table.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the rows of a checkpoint."""
        self.table.load_state_dict(state)


def _on_gpu(engine: Engine) -> bool:
    return torch.device(engine.state.device).type == "cuda"


def _peak_memory(engine: Engine) -> float:
    """Bytes."""
    if _on_gpu(engine):
        return torch.cuda.max_memory_allocated(engine.state.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
