"""Training engine for networks with several paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.data import decollate_batch
from monai.engines import IterationEvents, SupervisedTrainer
from monai.inferers import Inferer, SimpleInferer
from monai.utils import CommonKeys as Keys
from torch import Tensor, nn
from torch.utils.data import DataLoader

from passion_components.backbones.base import MultiPathOutput
from passion_components.engines.memory import keep_freed_memory
from passion_components.engines.precision import AutocastInferer


class MultiPathTrainer(SupervisedTrainer):
    """MONAI's supervised trainer around a :class:`~passion_components.backbones.base.MultiPath` network.

    A batch holds ``image`` (B, M, *S), ``target`` (B, 1, *S), ``presence`` and ``fused_presence`` (B, M). After the
    forward pass ``engine.state.paths`` is the MultiPathOutput, ``engine.state.losses`` the objective's named values. A
    step leaves a list in ``engine.state.output``, as MONAI's handlers expect it: for each sample its fused logits as
    ``pred`` and the batch's ``loss``, a number. Events and handlers are those of MONAI; accumulation too, but that the
    gradient of an epoch's last window is the mean over the steps that it really has.

    Args:
        device: where the network runs.
        max_epochs: epochs to train.
        train_data_loader: gives the batches.
        network: MultiPath, or DistributedDataParallel around it.
        optimizer: of the network's parameters.
        objective: called with (MultiPathOutput, target, presence), returns a dict with "loss".
        inferer: how the network is called; directly by default.
        amp: bfloat16 autocast for the network; the objective always runs in full precision.
        zero_absent_gradients: a parameter without gradient, because no sample of the batch had its modality, counts as
            having gradient zero, as in the published training: AdamW's decay and momentum still move it. False leaves
            such parameters alone.
        kwargs: further arguments of ``monai.engines.SupervisedTrainer``.
    """

    def __init__(
        self,
        *,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: DataLoader,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        objective: nn.Module,
        inferer: Inferer | None = None,
        amp: bool = False,
        zero_absent_gradients: bool = True,
        **kwargs: Any,
    ) -> None:
        device = torch.device(device)
        super().__init__(
            device=device,
            max_epochs=max_epochs,
            train_data_loader=train_data_loader,
            network=network,
            optimizer=optimizer,
            loss_function=self._objective_loss,
            prepare_batch=prepare_paths,
            inferer=AutocastInferer(inferer or SimpleInferer(), device=device, enabled=amp),
            decollate=False,
            optim_set_to_none=True,
            **kwargs,
        )
        self.objective = objective
        if device.type == "cpu":
            self.add_event_handler(Events.STARTED, keep_freed_memory)
        # only the logits stay in the output: MONAI's handlers cannot take a dataclass there
        self.add_event_handler(IterationEvents.LOSS_COMPLETED, keep_fused_logits)
        self.add_event_handler(IterationEvents.MODEL_COMPLETED, decollate_output)
        self.add_event_handler(IterationEvents.BACKWARD_COMPLETED, weigh_incomplete_window)
        if zero_absent_gradients:
            self.add_event_handler(IterationEvents.BACKWARD_COMPLETED, fill_missing_gradients)

    def _objective_loss(self, paths: MultiPathOutput, target: Tensor) -> Tensor:
        self.state.paths = paths
        self.state.losses = self.objective(paths, target, self.state.batch["presence"])
        return self.state.losses["loss"]


def prepare_paths(
    batch: Mapping[str, Tensor], device: torch.device, non_blocking: bool = False, **_: Any
) -> tuple[Tensor, Tensor, tuple, dict[str, Tensor]]:
    """Image and target on the device; presence stays on the CPU, where reading it waits for nothing."""
    image = batch["image"].to(device, non_blocking=non_blocking)
    target = batch["target"].to(device, non_blocking=non_blocking)
    return image, target, (), {"presence": batch["presence"], "fused_presence": batch["fused_presence"]}


def keep_fused_logits(engine: MultiPathTrainer) -> None:
    """Replace the prediction in ``engine.state.output`` by the detached logits of the fused path."""
    engine.state.output[Keys.PRED] = engine.state.paths.fused.logits.detach()


def decollate_output(engine: MultiPathTrainer) -> None:
    """Cut ``engine.state.output`` into samples; the batch stays whole."""
    engine.state.output = decollate_batch(engine.state.output)


def weigh_incomplete_window(engine: MultiPathTrainer) -> None:
    """Divide what the last steps of an epoch have accumulated by their number, where that is the smaller one."""
    length, steps = engine.state.epoch_length, engine.accumulation_steps
    rest = length % steps
    if rest and engine.state.iteration % length == 0:
        for parameter in engine.network.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(steps / rest)


def fill_missing_gradients(engine: MultiPathTrainer) -> None:
    """Give every trainable parameter without gradient a gradient of zeros."""
    for parameter in engine.network.parameters():
        if parameter.requires_grad and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
