"""One step of the optimizer: as it is trained here, and the same work as the published code arranges it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor

from benchmarks.measuring import peak_memory, take_turns
from passion_components.backbones.base import Backbone, MultiPath, MultiPathOutput
from passion_components.backbones.m2ftrans import M2FTrans
from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet
from passion_components.engines.memory import keep_freed_memory
from passion_components.engines.trainer import fill_missing_gradients
from passion_components.losses.segmentation import target_masks
from passion_components.objectives.base import Objective
from passion_components.objectives.baseline import BaselineObjective
from passion_components.objectives.passion import PassionObjective
from passion_components.objectives.pmr import PMRObjective
from passion_components.objectives.released import ReleasedObjective
from passion_components.preference import RelativePreference, ReleasedPreference, relative_preference

BACKBONES: dict[str, type[Backbone]] = {"rfnet": RFNet, "mmformer": MMFormer, "m2ftrans": M2FTrans}
OBJECTIVES = ("baseline", "passion", "pmr", "released")
RATES = (0.2, 0.4, 0.6, 0.8)


@dataclass(frozen=True)
class Shape:
    """What a step is made on: images (batch, modalities, edge, ...) of ``dims`` dimensions."""

    edge: int = 80
    dims: int = 3
    modalities: int = 4
    classes: int = 4
    batch: int = 1


class Training:
    """A network, its objective and its optimizer, and a random batch.

    Args:
        naive: every encoder runs whatever is present, every modality's own path is decoded and compared by itself,
            in a loop.
        amp: bfloat16 autocast of the network.
    """

    def __init__(
        self, backbone: str, objective: str, shape: Shape, device: torch.device, *, naive: bool, amp: bool
    ) -> None:
        torch.manual_seed(0)
        self.network = network(backbone, shape, separate_decoder=objective == "released").to(device).train()
        self.paths = MultiPath(self.network)
        self.objective = make_objective(objective, shape.modalities)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=2e-4, weight_decay=1e-4, fused=not naive)
        self.naive, self.amp, self.device = naive, amp, device
        size = (shape.edge,) * shape.dims
        self.image = torch.randn(shape.batch, shape.modalities, *size, device=device)
        self.target = torch.randint(shape.classes, (shape.batch, 1, *size), device=device)

    def loss(self, presence: Tensor) -> Tensor:
        """Of the batch, whose samples have what ``presence`` (B, M) says."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            if self.naive:
                one_by_one = forward_in_loop(self.network, self.image, presence)
            else:
                output = self.paths(self.image, presence)
        if self.naive:
            return loss_in_loop(self.objective, one_by_one, self.target, presence)
        return self.objective(output, self.target, presence)["loss"]

    def step(self, presence: Tensor) -> None:
        """Forward, backward, update."""
        self.loss(presence).backward()
        fill_missing_gradients(self)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def network(backbone: str, shape: Shape, **arguments: Any) -> Backbone:
    """Of the published width, with random weights."""
    if backbone != "rfnet":
        arguments["img_size"] = (shape.edge,) * shape.dims
    return BACKBONES[backbone](
        n_modalities=shape.modalities, n_classes=shape.classes, spatial_dims=shape.dims, **arguments
    )


def make_objective(name: str, modalities: int) -> Objective:
    """With the default weights, for missing rates of .5."""
    names = [str(number) for number in range(modalities)]
    known: dict[str, Any] = {"modalities": names, "missing_rates": dict.fromkeys(names, 0.5)}
    if name == "passion":
        return PassionObjective(preference=RelativePreference(**known))
    if name == "released":
        return ReleasedObjective(preference=ReleasedPreference(**known))
    return {"baseline": BaselineObjective, "pmr": PMRObjective}[name]()


def forward_in_loop(backbone: Backbone, image: Tensor, presence: Tensor) -> list[MultiPathOutput]:
    """Per modality, present or not, the fused paths and that modality's own, each decoded by a pass of its own."""
    features = backbone.encode(image, torch.ones_like(presence))
    fused = backbone.decode(features, presence)
    samples = torch.arange(len(image), device=image.device)
    outputs = []
    for index, alone in enumerate(torch.eye(presence.shape[1], dtype=torch.bool)):
        own = backbone.decode(features, alone[None])
        outputs.append(MultiPathOutput(fused, own, samples, torch.full_like(samples, index), None))
    return outputs


def loss_in_loop(objective: Objective, outputs: list[MultiPathOutput], target: Tensor, presence: Tensor) -> Tensor:
    """The baseline's or PASSION's loss, modality by modality; what is absent counts 0 times."""
    assert isinstance(objective, BaselineObjective), f"the loop does not know {type(objective).__name__}"
    masks = target_masks(target, outputs[0].fused.logits)
    loss = objective.segmentation_loss.deep_supervision(outputs[0].fused, masks).mean()
    here = presence.to(masks)
    if not isinstance(objective, PassionObjective):
        for output in outputs:
            own = objective.segmentation_loss.with_masks(output.unimodal.logits, masks)
            loss = loss + (here[:, output.modality_index[0]] * own).mean()
        return loss
    terms = [objective.distillation_loss(output, target) for output in outputs]
    distance = torch.stack([term.distance for term in terms], 1)
    sample, modality = presence.nonzero(as_tuple=True)
    delta = torch.zeros_like(distance)
    delta[sample, modality] = (relative_preference(distance[sample, modality], sample, len(masks)) < 0).to(delta)
    for index, term in enumerate(terms):
        own = objective.lambda1 * objective.preference.beta[index] * term.pixel
        own = own + objective.lambda2 * delta[:, index] * term.semantic
        loss = loss + (here[:, index] * own).mean()
    return loss


def measure_steps(
    backbone: str,
    objective: str,
    shape: Shape,
    device: torch.device,
    *,
    counts: Sequence[int],
    repeats: int,
    naive: bool = False,
    amp: bool = False,
) -> list[dict[str, Any]]:
    """Seconds of a step for each number of present modalities, and the peak memory of the process until then.

    With ``naive`` the published way takes its turn, whose memory is not told: where both share a process, the peak is
    that of the larger one.
    """
    if device.type == "cpu":
        keep_freed_memory()
    ways = {"ours": Training(backbone, objective, shape, device, naive=False, amp=amp)}
    rows = []
    for count in counts:
        presence = torch.zeros(shape.batch, shape.modalities, dtype=torch.bool)
        presence[:, :count] = True
        ways["ours"].step(presence)
        memory = peak_memory(device)
        rows.append({"present": count, "memory_gb": memory})
    if naive and objective in ("baseline", "passion"):
        ways["naive"] = Training(backbone, objective, shape, device, naive=True, amp=False)
    for row in rows:
        presence = torch.zeros(shape.batch, shape.modalities, dtype=torch.bool)
        presence[:, : row["present"]] = True
        works = {name: lambda way=way, presence=presence: way.step(presence) for name, way in ways.items()}
        row |= take_turns(works, repeats, device)
    facts = {"backbone": backbone, "objective": objective, "amp": amp, **vars(shape)}
    return [facts | row for row in rows]


def mixed(costs: Mapping[int, float], rates: Sequence[float] = RATES) -> float | None:
    """What a mean step costs at these missing rates, from the costs by number present, which is never 0."""
    share = dict.fromkeys(range(1, len(rates) + 1), 0.0)
    for pattern in product((False, True), repeat=len(rates)):
        if any(pattern):
            share[sum(pattern)] += prod(1 - r if here else r for here, r in zip(pattern, rates, strict=True))
    if set(costs) != set(share):
        return None
    return sum(share[count] * costs[count] for count in share) / sum(share.values())
