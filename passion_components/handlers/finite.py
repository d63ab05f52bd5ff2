"""Stop a training whose loss is no number any more."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import Tensor

from passion_components.data.errors import UserError


class NonFiniteLossError(UserError):
    """A loss that is NaN or infinite; the message is one line for the user."""


@dataclass
class _Step:
    epoch: int
    iteration: int
    cases: list[str]
    names: list[str]
    values: Tensor
    copied: torch.cuda.Event | None


class FiniteLossHandler:
    """Look at every step's terms as soon as they have reached the CPU, and raise where the loss is not finite.

    On a GPU the terms are copied behind the step's work and read when the copy is done, so no step waits; the steps of
    an epoch have all been looked at before its checkpoint is written, provided that this handler is attached first.

    Raises:
        NonFiniteLossError: with epoch, step, cases and terms.
    """

    def __init__(self) -> None:
        self._steps: deque[_Step] = deque()

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.trainer.MultiPathTrainer`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.finish_epoch)

    def collect(self, engine: Engine) -> None:
        """Note the step's terms, and check those that have arrived."""
        terms = {name: value.detach() for name, value in engine.state.losses.items() if value.ndim == 0}
        values, copied = torch.stack([value.double() for value in terms.values()]), None
        if values.is_cuda:
            values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values, non_blocking=True)
            copied = torch.cuda.Event()
            copied.record()
        state: Any = engine.state
        self._steps.append(
            _Step(state.epoch, state.iteration, list(state.batch.get("case", [])), list(terms), values, copied)
        )
        while self._steps and (self._steps[0].copied is None or self._steps[0].copied.query()):
            _check(self._steps.popleft())

    def finish_epoch(self, engine: Engine) -> None:
        """Check the rest of the epoch's steps."""
        while self._steps:
            step = self._steps.popleft()
            if step.copied is not None:
                step.copied.synchronize()
            _check(step)


def _check(step: _Step) -> None:
    if step.values.isfinite().all():
        return
    terms = ", ".join(f"{name} {value:g}" for name, value in zip(step.names, step.values.tolist(), strict=True))
    raise NonFiniteLossError(
        f"the loss is not finite in epoch {step.epoch}, step {step.iteration}, on {', '.join(step.cases)}: {terms}; "
        "look at these cases, or go on from the last checkpoint with --resume True and a lower --learning_rate"
    )
