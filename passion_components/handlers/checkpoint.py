"""Weights and training state, written so that a kill loses at most the epoch that runs."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from monai.engines import Evaluator
from torch import nn

from passion_components.data.errors import UserError
from passion_components.engines.earlier_versions import as_now, with_untold
from passion_components.engines.settings import differences
from passion_components.engines.weights_input import BEFORE, read_about
from passion_components.files import sha256_of, write_atomically, write_text_atomically

logger = logging.getLogger(__name__)

STATE_FILE, PREVIOUS_FILE = "checkpoint.pt", "checkpoint_previous.pt"
MAY_CHANGE = ("learning_rate", "batch_size", "accumulation_steps", "processes", "amp", "val_interval")
"""What a resumed run may set anew; everything else that its description holds must be as it was."""
_SHOWN = 3


class ResumeError(UserError):
    """A run cannot go on from what lies in its output folder; the message is one line for the user."""


class NonFiniteWeightsError(UserError):
    """Weights that are no numbers any more; the message is one line for the user."""


def checkpoints_in(output_dir: Path | str) -> list[Path]:
    """The checkpoints that a folder holds, the newest first."""
    return [path for name in (STATE_FILE, PREVIOUS_FILE) if (path := Path(output_dir) / name).is_file()]


def save_tensors(path: Path | str, content: Any, announce: Callable[[str], None] | None = None) -> None:
    """``torch.save``, atomically and with equal bytes for equal content.

    Given a path, torch writes its name into the file, here that of the temporary one; given an open file it does not.

    Args:
        path: the file.
        content: tensors, numbers, strings, lists and dicts.
        announce: called with the SHA-256 of what is about to lie at ``path``.
    """

    def write(partial: Path) -> None:
        with open(partial, "wb") as file:
            torch.save(content, file)
        if announce is not None:
            announce(sha256_of(partial))

    write_atomically(path, write)


class TrainingCheckpointHandler:
    """Save after every epoch; load before the first one of a resumed run.

    In ``output_dir``: ``model_last.pt``, the weights of the last epoch; ``model.pt``, those of the epoch with the best
    mean Dice over validation cases and subsets, or of the last one as long as there was no validation; beside each a
    ``.json`` that says what it was trained on, always; ``checkpoint.pt``, the state from which a run goes on, and
    ``checkpoint_previous.pt``, that of the epoch before, for the case that the former is damaged. The state is written
    last, so that whatever it names is complete. Only plain tensors, numbers, strings, lists and dicts are saved.

    Own, since ignite's Checkpoint keeps no description that a resumed run is compared with, and no JSON that agrees
    with the weights beside it at any moment.

    A resumed run goes on with the epoch after its last one, however many steps an epoch has now. What
    :data:`MAY_CHANGE` names is as given now: a change is logged, and kept in the run's description under ``changes``.

    Args:
        output_dir: where to write.
        network: the backbone whose weights are saved.
        objects: further things with ``state_dict`` and ``load_state_dict``, by name.
        run: what the run is (data set, network, objective, ...), plain values; a resumed run must be the same one.
        resume: go on from the newest checkpoint.
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
        """Restore the newest checkpoint that is not damaged, where one is asked for.

        Raises:
            ResumeError: there is none, or it belongs to another run.
        """
        if not self.resume:
            return
        path, state = self._newest()
        self.run = self._continued(path, state)
        if missing := [name for name in self.objects if name not in state["objects"]]:
            raise ResumeError(
                f"{path} was written by another run, without {', '.join(missing)}; give the same configuration, or "
                "another --output_dir"
            )
        for name, item in self.objects.items():
            item.load_state_dict(state["objects"][name])
        self.network.load_state_dict(state["network"])
        self.best = state["best"]
        engine.state.epoch = state["epoch"]
        engine.state.iteration = state["epoch"] * engine.state.epoch_length
        logger.info("resumed from %s after epoch %d", path, state["epoch"])
        if state["epoch"] >= engine.state.max_epochs:
            logger.warning(
                "nothing to train: %s has %d epochs already and --epochs is %d; a larger one goes on, up to the "
                "horizon of the learning rate, %s epochs",
                *(
                    self.output_dir,
                    state["epoch"],
                    engine.state.max_epochs,
                    self.run.get("lr_horizon", "any number of"),
                ),
            )

    def _newest(self) -> tuple[Path, dict[str, Any]]:
        """The newest checkpoint that can be read."""
        found = checkpoints_in(self.output_dir)
        if not found:
            raise ResumeError(
                f"{self.output_dir} holds no {STATE_FILE} to go on from; look for a mistyped --output_dir"
            )
        for path in found:
            try:
                state = _read_state(path)
            except Exception as error:
                reason = " ".join(str(error).split())[:100]
                logger.warning("%s is damaged (%s)", path, reason)
                continue
            if path.name == PREVIOUS_FILE:
                logger.warning("going on from %s instead, after epoch %d", path, state["epoch"])
            return path, state
        names = " and ".join(path.name for path in found)
        raise ResumeError(
            f"{self.output_dir}: {names}: damaged, nothing to go on from; train anew in another --output_dir"
        )

    def _continued(self, path: Path, state: Mapping[str, Any]) -> dict[str, Any]:
        """This run's description with the changes since the checkpoint, where it is the same run."""
        told = as_now(state["run"])
        changes = told.pop("changes", [])
        # the schedule of the learning rate decides on both when its own state is loaded
        now = self.run | {name: told[name] for name in ("lr_horizon",) if name in told}
        before = now | told
        if "objective" in told:
            before["objective"] = with_untold(told["objective"], now.get("objective"))
        unknown = [name for name in now if name not in told or before[name] != told[name]]
        if unknown:
            logger.warning(
                "%s is of an earlier version and does not tell all of %s; make sure that it is as it was",
                path,
                ", ".join(unknown),
            )
        found = {name: values for name, values in differences(before, now).items() if name != "epochs"}
        changed = {name: values for name, values in found.items() if name in MAY_CHANGE}
        refused = [
            f"{name} was {was!r}, now {is_now!r}" for name, (was, is_now) in found.items() if name not in changed
        ]
        if refused:
            more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
            raise ResumeError(
                f"{path} was written by another run: {', '.join(refused[:_SHOWN])}{more}; "
                f"give the same configuration, or another --output_dir"
            )
        if changed:
            words = ", ".join(f"{name} was {was}, now {is_now}" for name, (was, is_now) in changed.items())
            logger.warning("settings change after epoch %d: %s", state["epoch"], words)
            values = {name: [was, is_now] for name, (was, is_now) in changed.items()}
            changes = [*changes, {"after_epoch": state["epoch"], **values}]
        return now | ({"changes": changes} if changes else {})

    def save(self, engine: Engine) -> None:
        """Write weights, then the state.

        Raises:
            NonFiniteWeightsError: the weights are no numbers any more; nothing is written.
        """
        if idist.get_rank() != 0:
            return
        weights = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        _check_finite(weights, engine.state.epoch)
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
        }
        path = self.output_dir / STATE_FILE
        if path.exists():
            _keep(path, path.with_name(PREVIOUS_FILE))
        save_tensors(path, state)

    def _validated(self, engine: Engine) -> float | None:
        """Mean Dice of this epoch's validation, None where there was none."""
        if self.validator is None or self.validator.state.epoch != engine.state.epoch:
            return None
        return self.validator.state.metrics.get("mean_dice")

    def _save_weights(self, name: str, weights: dict[str, torch.Tensor], about: dict[str, Any]) -> None:
        """Write weights and their ``.json``, which tells of the old ones too while it is unknown which are there."""
        path = self.output_dir / f"{name}.pt"
        before = read_about(path) if path.exists() else {}

        def tell(sha256: str, before: Mapping[str, Any]) -> None:
            said = {"sha256": sha256} | about | ({BEFORE: before} if before else {})
            write_text_atomically(path.with_suffix(".json"), json.dumps(said, indent=2, sort_keys=True) + "\n")

        save_tensors(path, weights, announce=lambda sha256: tell(sha256, before))
        if before:
            tell(sha256_of(path), {})


def _read_state(path: Path) -> dict[str, Any]:
    """A training state that is complete, byte for byte."""
    with zipfile.ZipFile(path) as file:
        damaged = file.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged} has changed since it was written")
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    missing = {"network", "objects", "run", "best", "epoch"} - set(state)
    if missing:
        raise ValueError(f"holds no {', '.join(sorted(missing))}")
    return state


def _keep(path: Path, as_path: Path) -> None:
    """Let a file be found under another name too; it stays in its place where the file system can do that."""
    as_path.unlink(missing_ok=True)
    try:
        as_path.hardlink_to(path)
    except OSError:
        path.replace(as_path)


def _check_finite(weights: Mapping[str, torch.Tensor], epoch: int) -> None:
    names = [name for name, value in weights.items() if not value.isfinite().all()]
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise NonFiniteWeightsError(
            f"weights are not finite after epoch {epoch}: {names[0]}{more}; the files of the epoch before are as they "
            "were: go on from them with --resume True and a lower --learning_rate"
        )
