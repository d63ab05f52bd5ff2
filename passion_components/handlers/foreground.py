"""Samples that show no foreground."""

from __future__ import annotations

import logging

import torch
from ignite.engine import Engine, Events

logger = logging.getLogger(__name__)
_MAX_LISTED = 5


class ForegroundHandler:
    """Say after every epoch which cases had samples (crops, slices) whose target is background alone.

    Under distributed training every process speaks of its own samples.
    """

    def __init__(self) -> None:
        self._samples = 0
        self._without: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.trainer.MultiPathTrainer`."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.start_epoch)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish_epoch)

    def start_epoch(self) -> None:
        """Forget the last epoch."""
        self._samples, self._without = 0, []

    def collect(self, engine: Engine) -> None:
        """Look at the targets (B, 1, *S) of the batch, which are still on the CPU."""
        batch = engine.state.batch
        empty = (torch.as_tensor(batch["target"]) == 0).flatten(1).all(1)
        self._samples += len(empty)
        self._without += [case for case, is_empty in zip(batch["case"], empty.tolist(), strict=True) if is_empty]

    def finish_epoch(self, engine: Engine) -> None:
        """Log number and cases."""
        if self._without:
            cases = list(dict.fromkeys(self._without))
            more = f" and {len(cases) - _MAX_LISTED} more" if len(cases) > _MAX_LISTED else ""
            logger.info(
                "epoch %d: %d of %d samples show no foreground, of %s%s",
                *(engine.state.epoch, len(self._without), self._samples, ", ".join(cases[:_MAX_LISTED]), more),
            )
