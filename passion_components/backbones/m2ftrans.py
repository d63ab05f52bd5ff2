"""M2FTrans: masked fusion of modalities by transformers (Shi et al., 2023), for any modalities and classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from passion_components.backbones.base import Features, PathOutput
from passion_components.backbones.blocks import DecoderStep, Post, convolution
from passion_components.backbones.channel_attention import ChannelTransformer, Pairs
from passion_components.backbones.kernels import logits, normalise
from passion_components.backbones.sharing import Sharing
from passion_components.backbones.token_backbone import DIVISOR, N_LEVELS, TokenBackbone
from passion_components.backbones.transformer import (
    TransformerLayer,
    on_grid,
    to_map,
    to_tokens,
)

HEAD_WIDTH = 16


class M2FTrans(TokenBackbone):
    """M2FTrans as PASSION uses it: five levels, learned fusion tokens that look at the modalities which are there.

    A modality's tokens attend to themselves only, so they and their keys and values are computed once, in encoding;
    decoding re-runs the fusion tokens. How much these look at a location of a modality weighs its features there, on
    every level; no gradient flows through these weights. Absent modalities are never computed.

    Args:
        n_modalities: M.
        n_classes: K, background included.
        img_size: crop for whose token grid positions and fusion tokens are learned, multiples of 16; on other grids
            they are interpolated.
        spatial_dims: 2 or 3.
        width: channels of the finest level; level l has width * 2^l, a token width * 16 features.
        mlp_dim: hidden features of the transformer's MLP.
        num_heads: attention heads.
        depth: layers of the transformer.
        separate_decoder: build the published uni-modal decoder that all modalities share.

    Raises:
        ValueError: as :class:`TokenBackbone` and :class:`TransformerLayer`.

    Takes sizes divisible by 16, at least 32.
    """

    def __init__(
        self,
        *,
        n_modalities: int,
        n_classes: int,
        img_size: Sequence[int],
        spatial_dims: int = 3,
        width: int = 8,
        mlp_dim: int = 4096,
        num_heads: int = 8,
        depth: int = 3,
        separate_decoder: bool = False,
    ) -> None:
        super().__init__(
            n_modalities=n_modalities,
            n_classes=n_classes,
            img_size=img_size,
            spatial_dims=spatial_dims,
            width=width,
            depth=depth,
            separate_decoder=separate_decoder,
        )
        dim = width * DIVISOR
        self.positions = nn.Parameter(torch.zeros(1, (n_modalities + 1) * math.prod(self.grid), dim))
        self.fusion = nn.Parameter(torch.randn(1, math.prod(self.grid), dim))
        self.transformer = nn.ModuleList(
            TransformerLayer(dim=dim, mlp_dim=mlp_dim, num_heads=num_heads) for _ in range(depth)
        )
        self.decoder = MaskedFusionDecoder(
            n_modalities=n_modalities, n_classes=n_classes, spatial_dims=spatial_dims, width=width
        )

    def encode_modality(self, index: int, image: Tensor) -> tuple[Tensor, ...]:
        """Five levels (n, width * 2^l, *S / 2^l), tokens (n, P, d), then their keys and values for the fusion tokens.

        Keys and values are (n, depth, 2, heads, P, d / heads).
        """
        levels = self.encoders[index](image)
        position = self.position(index, levels[-1].shape[2:])
        tokens = to_tokens(levels[-1]) + position
        seen_by_fusion = []
        for layer in self.transformer:
            query, key, value = layer.heads(tokens)
            seen_by_fusion.append(torch.stack([key, value], 1))
            tokens = layer.finish(tokens, layer.attend(query, key, value))
        return *levels, tokens, torch.stack(seen_by_fusion, 1)

    def decode_rows(self, features: Features) -> PathOutput:
        """Logits, deep logits at scales 1, 2, 4, 8, 16 and the last decoder map (B, width, *S)."""
        sharing = Sharing.of(features)
        grid = features.levels[N_LEVELS - 1].shape[2:]
        fusion, weights = self.fuse(sharing.used_rows(features.levels[N_LEVELS + 1]), sharing, grid)
        rows = [sharing.used_rows(level) for level in features.levels[: N_LEVELS - 1]]
        rows.append(to_map(sharing.used_rows(features.levels[N_LEVELS]), grid))
        return self.decoder(rows, to_map(fusion, grid), weights, sharing)

    def fuse(self, keys_values: Tensor, sharing: Sharing, grid: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
        """Fusion tokens (B, P, d), and per group of samples what they weigh each modality with, (B_n, n, P).

        Args:
            keys_values: (R, depth, 2, heads, P, d / heads) of the rows that are used.
            sharing: which sample uses which rows.
            grid: tokens per axis.
        """
        start = on_grid(self.fusion, self.grid, grid) + self.position(self.n_modalities, grid)
        fused, weights = [], []
        for group in sharing.groups:
            seen = group.rows_of(keys_values)
            tokens = start.expand(len(seen), -1, -1)
            for number, layer in enumerate(self.transformer):
                query, key, value = layer.heads(tokens)
                keys, values = (
                    torch.cat([seen[:, :, number, which].transpose(1, 2).flatten(2, 3), own], 2)
                    for which, own in enumerate((key, value))
                )
                if number == 0:
                    looks = layer.probabilities(query, keys)
                    weights.append(self._weights(looks, group.member.shape[1]))
                    tokens = layer.finish(tokens, looks @ values)
                else:
                    tokens = layer.finish(tokens, layer.attend(query, keys, values))
            fused.append(tokens)
        return torch.cat(fused), weights

    def position(self, block: int, grid: Sequence[int]) -> Tensor:
        """Positions (1, P, d) of a modality, or of the fusion tokens, which are block M."""
        return on_grid(self.positions.unflatten(1, (self.n_modalities + 1, -1))[:, block], self.grid, grid)

    @staticmethod
    def _weights(looks: Tensor, n_present: int) -> Tensor:
        """(B_n, n, P): sums over heads and fusion queries of what (B_n, heads, P, (n + 1) P) says; detached."""
        return looks.detach().sum((1, 2)).unflatten(1, (n_present + 1, -1))[:, :n_present]


class MaskedFusionDecoder(nn.Module):
    """The decoder: channel attention on the two coarsest levels, fusion by convolutions on the three finest.

    Args:
        n_modalities: M.
        n_classes: K.
        spatial_dims: 2 or 3.
        width: channels of the finest level.
    """

    def __init__(self, *, n_modalities: int, n_classes: int, spatial_dims: int, width: int) -> None:
        super().__init__()
        self.n_modalities = n_modalities
        widths = [width * 2**level for level in range(N_LEVELS)]

        def post(in_channels: int, out_channels: int, kernel_size: int = 1) -> Post:
            return Post(
                spatial_dims=spatial_dims, in_channels=in_channels, out_channels=out_channels, kernel_size=kernel_size
            )

        self.attentions = nn.ModuleList(
            ChannelTransformer(n_modalities=n_modalities, spatial_dims=spatial_dims, channels=channels)
            for channels in widths[3:]
        )
        self.fusions = nn.ModuleList(
            nn.ModuleList(
                [post(n_modalities * channels, channels), post(channels, channels, 3), post(channels, channels)]
            )
            for channels in widths[:3]
        )
        self.merge = post(2 * widths[-1], widths[-1], 3)
        self.leave = post(widths[-1], widths[-1])
        self.steps = nn.ModuleList(
            DecoderStep(spatial_dims=spatial_dims, channels=channels) for channels in widths[:-1]
        )
        self.hidden = nn.ModuleList(post(channels, HEAD_WIDTH) for channels in widths)
        self.deep_heads = nn.ModuleList(convolution(spatial_dims, HEAD_WIDTH, n_classes) for _ in widths)
        self.head = convolution(spatial_dims, width, n_classes)

    def forward(self, rows: Sequence[Tensor], fusion: Tensor, weights: list[Tensor], sharing: Sharing) -> PathOutput:
        """Decode.

        Args:
            rows: per level the rows that are used, (R, C_l, *S_l), the coarsest made of tokens.
            fusion: map (B, C, *grid) of the fusion tokens, samples as the decoder holds them.
            weights: per group (B_n, n, P).
            sharing: which sample uses which rows.
        """
        pairs = Pairs.of(sharing, self.n_modalities)
        of_pairs = Pairs.joined(weights).unflatten(1, fusion.shape[2:])[:, None]
        deep = [(self._segment(N_LEVELS - 1, fusion), 2 ** (N_LEVELS - 1))]
        attended = self.attentions[1](fusion, self._weighted(rows[4], of_pairs, 1, sharing), pairs)
        x = self.leave(self.merge(attended, fusion))
        for level in reversed(range(N_LEVELS - 1)):
            step = self.steps[level]
            x = step.up(x)
            deep.insert(0, (self._segment(level, x), 2**level))
            if level == 3:
                fused = self.attentions[0](x, self._weighted(rows[level], of_pairs, 2, sharing), pairs)
            else:
                fused = self._fuse(level, rows[level], pairs.per_group(of_pairs), sharing)
            x = step.join(fused, x)
        return PathOutput(
            logits=sharing.in_order(logits(self.head, x)),
            deep=[(sharing.in_order(segmented), scale) for segmented, scale in deep],
            embedding=sharing.in_order(x),
        )

    def _segment(self, level: int, x: Tensor) -> Tensor:
        return logits(self.deep_heads[level], self.hidden[level](x))

    @staticmethod
    def _weighted(rows: Tensor, of_pairs: Tensor, scale: int, sharing: Sharing) -> Tensor:
        """(P, C, *S): each pair's row times its weights (P, 1, *grid), enlarged ``scale`` times."""
        return Pairs.joined([group.rows_of(rows) for group in sharing.groups]) * enlarged(of_pairs, scale)

    def _fuse(self, level: int, rows: Tensor, weights: list[Tensor], sharing: Sharing) -> Tensor:
        """Fused features (B, C, *S): the first block's products, one per row, are weighted and added per sample."""
        first, second, third = self.fusions[level]
        products = sharing.products(first.conv.weight, rows)
        sums = []
        for group, weight in zip(sharing.groups, weights, strict=True):
            of_group = group.rows_of(products)
            total = first.conv.bias[:, None]
            for number in range(of_group.shape[1]):
                total = total + of_group[:, number] * enlarged(weight[:, number], DIVISOR // 2**level).flatten(2)
            sums.append(total)
        return third(second(normalise(torch.cat(sums)).unflatten(2, rows.shape[2:])))


def enlarged(x: Tensor, scale: int) -> Tensor:
    """(B, C, *S) with every voxel repeated ``scale`` times along each axis."""
    return F.interpolate(x, scale_factor=scale, mode="nearest")
