"""Weights and training state, written so that a kill loses at most the epoch that runs."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch import nn

from passion_components.data.errors import UserError
from passion_components.files import sha256_of, write_atomically, write_text_atomically

logger = logging.getLogger(__name__)

STATE_FILE = "checkpoint.pt"


class ResumeError(UserError):
    """A run cannot go on from what lies in its output folder; the message is one line for the user."""


def save_tensors(path: Path | str, content: Any) -> None:
    """``torch.save``, atomically and with equal bytes for equal content.

    Given a path, torch writes its name into the file, here that of the temporary one; given an open file it does not.
    """

    def write(partial: Path) -> None:
        with open(partial, "wb") as file:
            torch.save(content, file)

    write_atomically(path, write)


class TrainingCheckpointHandler:
    """Save after every epoch; load before the first one of a resumed run.

    In ``output_dir``: ``model_last.pt``, the weights of the last epoch; ``model.pt``, those of the epoch with the best
    mean Dice over validation cases and subsets, or of the last one as long as there was no validation; beside each a
    ``.json`` that says what it was trained on; ``checkpoint.pt``, the state from which a run goes on. It is written
    last, so that whatever it names is complete. Only plain tensors, numbers, strings, lists and dicts are saved.

    Args:
        output_dir: where to write.
        network: the backbone whose weights are saved.
        objects: further things with ``state_dict`` and ``load_state_dict``, by name.
        run: what the run is (data set, network, objective, ...), plain values; a resumed run must be the same one.
        resume: go on from ``checkpoint.pt``.
        validator: evaluator whose ``mean_dice`` decides which weights are best.
    """

    def __init__(
        self,
        *,
        output_dir: Path | str,
        network: nn.Module,
        objects: Mapping[str, Any],
        run: Mapping[str, Any],
        resume: bool = False,
        validator: Evaluator | None = None,
    ) -> None:
        self.output_dir = Path(output_dir)
        self.network = network
        self.objects = dict(objects)
        self.run = dict(run)
        self.resume = resume
        self.validator = validator
        self.best: float | None = None

    def attach(self, engine: Engine) -> None:
        """Listen to a trainer; must be the last handler, so that it saves what the others have updated."""
        engine.add_event_handler(Events.STARTED, self.load)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.save)

    def load(self, engine: Engine) -> None:
        """Restore the newest complete checkpoint where one is asked for and exists.

        Raises:
            ResumeError: it belongs to another run.
        """
        path = self.output_dir / STATE_FILE
        if not self.resume:
            return
        if not path.exists():
            logger.info("no complete checkpoint in %s: training starts at epoch 0", self.output_dir)
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        for name in sorted(self.run.keys() | state["run"].keys()):
            before, now = state["run"].get(name), self.run.get(name)
            if before != now:
                raise ResumeError(
                    f"{path} was written by another run: {name} was {before!r}, now {now!r}; "
                    f"give the same configuration, or another --output_dir"
                )
        for name, item in self.objects.items():
            item.load_state_dict(state["objects"][name])
        self.network.load_state_dict(state["network"])
        self.best = state["best"]
        engine.state.epoch, engine.state.iteration = state["epoch"], state["iteration"]
        logger.info("resumed from %s after epoch %d", path, state["epoch"])

    def save(self, engine: Engine) -> None:
        """Write weights, then the state."""
        if idist.get_rank() != 0:
            return
        weights = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        score = self._validated(engine)
        if score is not None:
            logger.info("epoch %d: mean Dice %.4f on validation cases, all subsets", engine.state.epoch, score)
        about = {"trained_on": self.run, "epoch": engine.state.epoch}
        self._save_weights("model_last", weights, about | {"mean_dice_validation": score})
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            self._save_weights("model", weights, about | {"mean_dice_validation": score})
        elif self.best is None:
            self._save_weights("model", weights, about | {"mean_dice_validation": None})
        state = {
            "network": weights,
            "objects": {name: item.state_dict() for name, item in self.objects.items()},
            "run": self.run,
            "best": self.best,
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
        }
        save_tensors(self.output_dir / STATE_FILE, state)

    def _validated(self, engine: Engine) -> float | None:
        """Mean Dice of this epoch's validation, None where there was none."""
        if self.validator is None or self.validator.state.epoch != engine.state.epoch:
            return None
        return self.validator.state.metrics.get("mean_dice")

    def _save_weights(self, name: str, weights: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
        path = self.output_dir / f"{name}.pt"
        save_tensors(path, weights)
        text = json.dumps({"sha256": sha256_of(path)} | about, indent=2, sort_keys=True)
        write_text_atomically(path.with_suffix(".json"), text + "\n")
