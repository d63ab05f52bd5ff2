"""Learning rate per epoch."""

from __future__ import annotations

from typing import Any

import torch
from ignite.engine import Engine, Events

from passion_components.handlers.checkpoint import ResumeError


class PolyScheduleHandler:
    """Poly decay: in epoch e (from 1) of a horizon H the rate is lr (1 - (e - 1) / H) ** power.

    Own, since torch's PolynomialLR multiplies the rate from step to step, which differs from this in its last digits,
    and cannot round it; checkpoints hold the horizon alone.

    Args:
        optimizer: its default learning rate is the one of the first epoch.
        epochs: epochs of this run.
        horizon: H; None for ``epochs``, or for that of the run which is resumed.
        power: exponent.
        decimals: to which the rate is rounded, as the released code does with 8; None for not at all.

    Raises:
        ResumeError: more epochs than the horizon, or a horizon that differs from that of the resumed run.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        epochs: int,
        horizon: int | None = None,
        power: float = 0.9,
        decimals: int | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.epochs = epochs
        self.horizon = horizon or epochs
        self.given = horizon is not None
        self.power = power
        self.decimals = decimals
        self._check()

    def attach(self, engine: Engine) -> None:
        """Listen to the start of epochs."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        rate = self.optimizer.defaults["lr"] * (1 - (engine.state.epoch - 1) / self.horizon) ** self.power
        if self.decimals is not None:
            rate = round(rate, self.decimals)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        engine.state.metrics["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        """The horizon."""
        return {"horizon": self.horizon}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over the horizon of the resumed run."""
        if self.given and self.horizon != state["horizon"]:
            raise ResumeError(
                f"--lr_horizon {self.horizon} differs from {state['horizon']} of the run that is resumed; "
                f"leave it out, or start a new run in another --output_dir"
            )
        self.horizon = state["horizon"]
        self._check()

    def _check(self) -> None:
        if self.epochs > self.horizon:
            raise ResumeError(
                f"--epochs {self.epochs} goes beyond the learning rate's horizon of {self.horizon} epochs; "
                f"accepted: up to {self.horizon}, or a new run with a larger --lr_horizon"
            )
