"""What holds for every test: one thread, equal generators; and what the published networks computed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from passion_components.backbones.base import Backbone
from passion_components.backbones.published_weights import load_published

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


DATA = Path(__file__).parent / "data"
NUM_HEADS = 4


class Published:
    """What the published implementation of a backbone computed, narrow, on crops of 32 voxels; and our network.

    ``tests/data/<backbone>_published.npz`` holds the weights (one flat float16 array, cut by ``names`` and ``shapes``),
    two images in sixteenths and a sample of what came out of them in float64. Names are those of the published code,
    whose modalities are flair, t1ce, t1, t2.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        with np.load(DATA / f"{name}_published.npz") as arrays:
            self.arrays: Mapping[str, np.ndarray] = dict(arrays)
        shapes = [tuple(size for size in row if size) for row in self.arrays["shapes"].tolist()]
        pieces = np.split(self.arrays["weights"], np.cumsum([np.prod(shape) for shape in shapes])[:-1])
        names = self.arrays["names"].tolist()
        self.state = {n: piece.reshape(s) for n, s, piece in zip(names, shapes, pieces, strict=True)}

    def __getitem__(self, key: str) -> np.ndarray:
        return self.arrays[key]

    def network(self, dtype: type) -> Backbone:
        """The network in the precision asked for, np.float64 or np.float32."""
        return load_published({n: v.astype(dtype) for n, v in self.state.items()}, self.name, num_heads=NUM_HEADS)

    def image(self, dtype: type) -> Tensor:
        """Two images (2, 4, 32, 32, 32)."""
        return torch.from_numpy(self["image"].astype(dtype)) / 16


@pytest.fixture(scope="session")
def published() -> Callable[[str], Published]:
    return cache(Published)
