"""Inference on phantoms: all subsets of a few windows three ways, and one case as the bundles predict it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from monai.transforms import CropForeground
from torch import Tensor

from benchmarks.measuring import peak_memory, take_turns
from benchmarks.steps import Shape, network
from passion_components.backbones.base import Backbone
from passion_components.data.phantoms.brain import draw_brain
from passion_components.datasets import BRATS2020
from passion_components.inferers.modality_aware import ModalityAwareInferer
from passion_components.presence import subset_table
from passion_components.transforms.foreground import foreground_rule
from passion_components.transforms.normalise import NormalizeModalitiesd
from passion_components.transforms.restore import label_map

SIZE = (240, 240, 155)
TABLE = subset_table(BRATS2020.modalities)


def brain(*sizes: int) -> Tensor:
    """A normalised image (1, M, *sizes) from the middle of a phantom, all of its brain where no sizes are given."""
    images, _ = draw_brain(1, SIZE)
    image = torch.stack([torch.from_numpy(images[name].astype(np.float32)) for name in BRATS2020.modalities])
    image = CropForeground(select_fn=foreground_rule(BRATS2020.foreground))(image)
    present = torch.ones(len(image), dtype=torch.bool)
    normalise = NormalizeModalitiesd("image", foreground=BRATS2020.foreground)
    image = normalise({"image": image, "presence": present})["image"].as_tensor()
    for axis, size in enumerate(sizes, start=1):
        image = image.narrow(axis, (image.shape[axis] - size) // 2, size)
    return image[None]


def shared(image: Tensor, network: Backbone, inferer: ModalityAwareInferer) -> Tensor:
    """Label maps (n, *S) of all subsets, each window encoded once."""
    return torch.stack([label_map(one) for one in inferer(image, network, subsets=TABLE)[0]])


def present(image: Tensor, network: Backbone, inferer: ModalityAwareInferer) -> Tensor:
    """The same from one forward pass per subset, which encodes the modalities of the subset."""
    return torch.stack([label_map(inferer(image, network, presence=subset[None])[0]) for subset in TABLE])


def every(image: Tensor, network: Backbone, inferer: ModalityAwareInferer) -> Tensor:
    """The same from one pass per subset, which encodes every modality, as published."""

    def forward(windows: Tensor, presence: Tensor) -> Tensor:
        return network.decode(network.encode(windows, torch.ones_like(presence)), presence).logits

    return torch.stack([label_map(inferer(image, forward, presence=subset[None])[0]) for subset in TABLE])


WAYS = {"ours": shared, "per_subset": present, "naive": every}


@torch.inference_mode()
def measure_subsets(
    backbone: str, device: torch.device, *, windows: int | None, edge: int, repeats: int
) -> dict[str, Any]:
    """Seconds for all subsets of so many windows in a row, or of all the brain, each way; and labels that differ."""
    sizes = () if windows is None else (edge * (windows + 1) // 2, edge, edge)
    image, inferer = brain(*sizes).to(device), ModalityAwareInferer(roi_size=edge)
    torch.manual_seed(0)
    net = network(backbone, Shape(edge=edge)).to(device).eval()
    maps: dict[str, Tensor] = {}

    def keep(name: str) -> None:
        maps[name] = WAYS[name](image, net, inferer)

    seconds = take_turns({name: partial(keep, name) for name in WAYS}, repeats, device)
    differing = int(((maps["ours"] != maps["naive"]) | (maps["ours"] != maps["per_subset"])).sum())
    return {"backbone": backbone, "image": list(image.shape[2:]), "differing_labels": differing, **seconds}


@torch.inference_mode()
def measure_case(
    backbone: str, device: torch.device, *, dims: int, edge: int, count: int, full: bool, repeats: int
) -> dict[str, Any]:
    """Seconds from a normalised image to its label map, windows overlapping by half: a volume, or its slices in 2D."""
    image = brain() if full else brain(*(2 * edge, 2 * edge, edge if dims == 3 else 8))
    image = image[:, -3:] if dims == 2 else image
    shape = Shape(edge=edge, dims=dims, modalities=image.shape[1])
    torch.manual_seed(0)
    net = network(backbone, shape).to(device).eval()
    inferer = ModalityAwareInferer(roi_size=(edge,) * dims, sw_batch_size=16 if dims == 2 else 1)
    subset = torch.arange(shape.modalities)[None] < count
    image = image.to(device)
    seconds = take_turns({"ours": lambda: label_map(inferer(image, net, presence=subset)[0])}, repeats, device)
    facts = {"backbone": backbone, "dims": dims, "image": list(image.shape[2:]), "present": count}
    return {**facts, **seconds, "memory_gb": peak_memory(device)}
