"""Random decodings of a small network that is not there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from passion_components.backbones.base import MultiPathOutput, PathOutput


@pytest.fixture
def make_paths() -> Callable[..., MultiPathOutput]:
    """Builds the paths of a presence (B, M): 2 classes, 4 voxels a side, leaves with gradient, float64."""

    def build(presence: Tensor, *, dims: int = 2, seed: int = 0) -> MultiPathOutput:
        generator = torch.Generator().manual_seed(seed)

        def decoding(n: int) -> PathOutput:
            def leaf(channels: int, size: int) -> Tensor:
                shape = (n, channels, *[size] * dims)
                return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

            return PathOutput(leaf(2, 4), [(leaf(2, 2), 2)], leaf(3, 4))

        modality, sample = presence.t().nonzero(as_tuple=True)
        return MultiPathOutput(decoding(len(presence)), decoding(len(sample)), sample, modality, None)

    return build


@pytest.fixture
def make_target() -> Callable[..., Tensor]:
    """Builds integer targets (B, 1, *S) that fit the paths."""

    def build(n_samples: int, *, dims: int = 2, seed: int = 5) -> Tensor:
        return torch.randint(0, 2, (n_samples, 1, *[4] * dims), generator=torch.Generator().manual_seed(seed))

    return build


@pytest.fixture
def reorder() -> Callable[[MultiPathOutput, Tensor], MultiPathOutput]:
    """Gives the same paths with their pairs in another order, or with some of them only."""

    def pick(output: MultiPathOutput, pairs: Tensor) -> MultiPathOutput:
        alone = output.unimodal
        unimodal = PathOutput(alone.logits[pairs], [(d[pairs], s) for d, s in alone.deep], alone.embedding[pairs])
        return MultiPathOutput(output.fused, unimodal, output.sample_index[pairs], output.modality_index[pairs], None)

    return pick
