"""What encoding each window once is worth: all subsets of a phantom on the CPU, against one pass per subset.

    python scripts/benchmark.py                    two windows of 80^3 from the middle of a brain
    python scripts/benchmark.py --full             the whole brain of 240 x 240 x 155 voxels
    python scripts/benchmark.py --backbones rfnet --repeats 1

Three ways to the same label maps, with random weights: `shared`, as the evaluation does it; `present`, a forward pass
per subset that encodes only what it holds; `all`, a pass per subset that encodes every modality, as published. Ratios
are of CPU time, which other processes disturb less than wall time; each repeat measures all three.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from monai.transforms import CropForeground
from torch import Tensor

from passion_components.backbones.base import Backbone
from passion_components.backbones.mmformer import MMFormer
from passion_components.backbones.rfnet import RFNet
from passion_components.data.phantoms.brain import draw_brain
from passion_components.datasets import BRATS2020
from passion_components.inferers.modality_aware import ModalityAwareInferer
from passion_components.presence import subset_table
from passion_components.transforms.foreground import foreground_rule
from passion_components.transforms.normalise import NormalizeModalitiesd
from passion_components.transforms.restore import label_map

SIZE = (240, 240, 155)
EDGE = 80
TABLE = subset_table(BRATS2020.modalities)
COUNTS = {"n_modalities": len(BRATS2020.modalities), "n_classes": len(BRATS2020.classes)}
BACKBONES: dict[str, Callable[[], Backbone]] = {
    "rfnet": partial(RFNet, **COUNTS),
    "mmformer": partial(MMFormer, img_size=(EDGE,) * 3, **COUNTS),
}


def brain(windows: int | None) -> Tensor:
    """A normalised image (1, M, *S): as many windows in a row as asked for, or all of the brain."""
    images, _ = draw_brain(1, SIZE)
    image = torch.stack([torch.from_numpy(images[name].astype(np.float32)) for name in BRATS2020.modalities])
    image = CropForeground(select_fn=foreground_rule(BRATS2020.foreground))(image)
    present = torch.ones(len(image), dtype=torch.bool)
    normalise = NormalizeModalitiesd("image", foreground=BRATS2020.foreground)
    image = normalise({"image": image, "presence": present})["image"].as_tensor()
    if windows is not None:
        sizes = (EDGE * (windows + 1) // 2, EDGE, EDGE)
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
    """The same from one pass per subset, which encodes every modality."""

    def forward(windows: Tensor, presence: Tensor) -> Tensor:
        return network.decode(network.encode(windows, torch.ones_like(presence)), presence).logits

    return torch.stack([label_map(inferer(image, forward, presence=subset[None])[0]) for subset in TABLE])


WAYS = {"shared": shared, "present": present, "all": every}


def measure(network: Backbone, image: Tensor) -> tuple[dict[str, tuple[float, float]], int]:
    """CPU and wall seconds of each way, and the number of voxels whose labels differ between any two."""
    inferer = ModalityAwareInferer(roi_size=EDGE)
    seconds, maps = {}, []
    for name, way in WAYS.items():
        cpu, wall = time.process_time(), time.perf_counter()
        maps.append(way(image, network, inferer))
        seconds[name] = (time.process_time() - cpu, time.perf_counter() - wall)
    differing = (maps[0] != maps[1]) | (maps[0] != maps[2])
    return seconds, int(differing.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the whole brain; hours on one core")
    parser.add_argument("--windows", type=int, default=2, help="windows in a row, without --full (default 2)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backbones", nargs="*", choices=BACKBONES, default=list(BACKBONES))
    args = parser.parse_args()
    image = brain(None if args.full else args.windows)
    print(f"{len(TABLE)} subsets, image {tuple(image.shape)}, {torch.get_num_threads()} threads", flush=True)
    for name in args.backbones:
        torch.manual_seed(0)
        network = BACKBONES[name]().eval()
        ratios: dict[str, list[float]] = {"present": [], "all": []}
        for _ in range(args.repeats):
            with torch.inference_mode():
                seconds, differing = measure(network, image)
            timings = ", ".join(f"{way} {cpu:.1f} s CPU ({wall:.1f} s)" for way, (cpu, wall) in seconds.items())
            print(f"{name}: {timings}; {differing} of {len(TABLE) * image[0, 0].numel()} labels differ", flush=True)
            for way in ratios:
                ratios[way].append(seconds[way][0] / seconds["shared"][0])
        for way, values in ratios.items():
            print(f"{name}: {way} / shared = {min(values):.2f} to {max(values):.2f} over {len(values)}", flush=True)


if __name__ == "__main__":
    main()
