"""Attention over channels between a decoder's map and the modalities (the "CT" of M2FTrans)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from passion_components.backbones.blocks import convolution
from passion_components.backbones.sharing import Sharing
from passion_components.backbones.transformer import DROPOUT

CHANNEL_NORM_EPS = 1e-6
N_LAYERS = 2
FFN_FACTOR = 4


@dataclass
class Pairs:
    """The (sample, modality) pairs of a decoding, in the order of :attr:`Sharing.pair_modality`.

    Attributes:
        groups: per group of samples its size and how many modalities each sample has.
        counts: pairs of each modality.
        by_modality: (P,) pairs sorted by modality.
        back: (P,) the inverse of that order.
    """

    groups: list[tuple[int, int]]
    counts: list[int]
    by_modality: Tensor
    back: Tensor

    @classmethod
    def of(cls, sharing: Sharing, n_modalities: int) -> Pairs:
        """The pairs that the samples of a decoding form."""
        order = sharing.pair_modality.argsort(stable=True)
        moved = torch.stack([order, order.argsort()]).to(sharing.modality.device, non_blocking=True)
        return cls(
            groups=[(group.member.shape[0], group.member.shape[1]) for group in sharing.groups],
            counts=sharing.pair_modality.bincount(minlength=n_modalities).tolist(),
            by_modality=moved[0],
            back=moved[1],
        )

    def per_group(self, x: Tensor) -> list[Tensor]:
        """Per group (B_n, n, ...) of pairs (P, ...)."""
        parts = x.split([size * count for size, count in self.groups])
        return [part.unflatten(0, group) for part, group in zip(parts, self.groups, strict=True)]

    @staticmethod
    def joined(groups: Sequence[Tensor]) -> Tensor:
        """Pairs (P, ...) from per-group tensors (B_n, n, ...): the inverse of :meth:`per_group`."""
        return torch.cat([group.flatten(0, 1) for group in groups])


class ChannelNorm(nn.LayerNorm):
    """LayerNorm of every voxel over its channels, for maps (B, C, *S)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=CHANNEL_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) from (B, C, *S)."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def convolution_chain(spatial_dims: int, channels: int, hidden: int) -> nn.Sequential:
    """1x1, 3x3(x3) in ``channels`` groups and 1x1 convolution, each with a norm over channels, GELU between them.

    With ``hidden`` equal to ``channels`` the middle one is depthwise.
    """
    return nn.Sequential(
        convolution(spatial_dims, channels, hidden),
        ChannelNorm(hidden),
        nn.GELU(),
        convolution(spatial_dims, hidden, hidden, 3, padding=1, groups=channels),
        ChannelNorm(hidden),
        nn.GELU(),
        convolution(spatial_dims, hidden, channels),
        ChannelNorm(channels),
    )


class ConvFFN(nn.Module):
    """GELU(x + f(x)) with f: C -> 4C, a 3x3(x3) convolution in C groups, 4C -> C, each with a norm over channels.

    Args:
        spatial_dims: 2 or 3.
        channels: C.
    """

    def __init__(self, *, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.block = convolution_chain(spatial_dims, channels, FFN_FACTOR * channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) from (B, C, *S)."""
        return F.gelu(x + self.block(x))


class ChannelAttention(nn.Module):
    """The query's channels attend to the channels of all modalities of a sample; every modality has its projections.

    softmax(q k^T / sqrt(V)) v with q (C, V) of V voxels, k and v (n * C, V) of the n modalities that are there.

    Args:
        n_modalities: M.
        spatial_dims: 2 or 3.
        channels: C.
    """

    def __init__(self, *, n_modalities: int, spatial_dims: int, channels: int) -> None:
        super().__init__()

        def projection() -> nn.Sequential:
            return convolution_chain(spatial_dims, channels, channels)

        self.query = projection()
        self.keys = nn.ModuleList(projection() for _ in range(n_modalities))
        self.values = nn.ModuleList(projection() for _ in range(n_modalities))
        self.out = projection()
        self.dropout = nn.Dropout(DROPOUT)

    def forward(self, query: Tensor, features: Tensor, pairs: Pairs) -> Tensor:
        """Query map (B, C, *S) after attention to the features (P, C, *S) of the pairs."""
        projected = self.query(query).flatten(2)
        keys, values = (self._per_modality(branches, features, pairs) for branches in (self.keys, self.values))
        queries = projected.split([size for size, _ in pairs.groups])
        groups = zip(queries, pairs.per_group(keys), pairs.per_group(values), strict=True)
        attended = [
            F.scaled_dot_product_attention(q, k.flatten(1, 2).flatten(2), v.flatten(1, 2).flatten(2))
            for q, k, v in groups
        ]
        return query + self.dropout(self.out(torch.cat(attended).unflatten(2, query.shape[2:])))

    @staticmethod
    def _per_modality(branches: nn.ModuleList, features: Tensor, pairs: Pairs) -> Tensor:
        """Every pair through the branch of its modality."""
        parts = features.index_select(0, pairs.by_modality).split(pairs.counts)
        done = [branch(part) for branch, part in zip(branches, parts, strict=True) if len(part)]
        return torch.cat(done).index_select(0, pairs.back)


class ChannelTransformer(nn.Module):
    """Two layers of channel attention and ``ConvFFN``; after the first one the features pass through an FFN too.

    Args:
        n_modalities: M.
        spatial_dims: 2 or 3.
        channels: C.
    """

    def __init__(self, *, n_modalities: int, spatial_dims: int, channels: int) -> None:
        super().__init__()
        self.attentions = nn.ModuleList(
            ChannelAttention(n_modalities=n_modalities, spatial_dims=spatial_dims, channels=channels)
            for _ in range(N_LAYERS)
        )
        self.query_ffns = nn.ModuleList(ConvFFN(spatial_dims=spatial_dims, channels=channels) for _ in range(N_LAYERS))
        self.feature_ffns = nn.ModuleList(
            ConvFFN(spatial_dims=spatial_dims, channels=channels) for _ in range(N_LAYERS - 1)
        )

    def forward(self, query: Tensor, features: Tensor, pairs: Pairs) -> Tensor:
        """(B, C, *S) from a query map (B, C, *S) and the features (P, C, *S) of the pairs."""
        for layer, (attention, ffn) in enumerate(zip(self.attentions, self.query_ffns, strict=True)):
            query = ffn(attention(query, features, pairs))
            if layer < len(self.feature_ffns):
                features = self.feature_ffns[layer](features)
        return query
