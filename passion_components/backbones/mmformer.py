"""mmFormer: transformers within and across modalities (Zhang et al., MICCAI 2022), for any modalities and classes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from passion_components.backbones.base import Features, PathOutput
from passion_components.backbones.blocks import BorderedConv, DecoderStep, Pre, convolution
from passion_components.backbones.kernels import logits, normalise, pointwise
from passion_components.backbones.sharing import Sharing, modality_weight, product
from passion_components.backbones.token_backbone import DIVISOR, N_LEVELS, TokenBackbone
from passion_components.backbones.transformer import (
    TransformerLayer,
    on_grid,
    to_map,
    to_tokens,
)

TOKEN_LAYOUTS = ("aligned", "published")


class MMFormer(TokenBackbone):
    """mmFormer as PASSION uses it: five levels, one encoder and one transformer per modality, one across them.

    Encoding a modality ends with its own transformer, so that its tokens are computed once. In the transformer across
    modalities an absent one takes part with its positions alone, as in the published network: it attends and is
    attended to, and its tokens reach the bottleneck.

    Args:
        n_modalities: M.
        n_classes: K, background included.
        img_size: crop for whose token grid positions are learned, multiples of 16; for other grids they are
            interpolated.
        spatial_dims: 2 or 3.
        width: channels of the finest level; level l has width * 2^l.
        token_dim: d, features of a token.
        mlp_dim: hidden features of the transformers' MLPs.
        num_heads: attention heads.
        depth: layers of each transformer.
        token_layout: which tokens the bottleneck puts into one location: ``aligned``, the M tokens of that location, or
            ``published``, M consecutive ones of the modality-major sequence. The latter scrambles locations; published
            weights need it.
        separate_decoder: build the published uni-modal decoder that all modalities share.

    Raises:
        ValueError: as :class:`TokenBackbone` and :class:`TransformerLayer`, or an unknown layout.

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
        token_dim: int = 512,
        mlp_dim: int = 4096,
        num_heads: int = 8,
        depth: int = 1,
        token_layout: str = "aligned",
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
            block=Pre,
            first=BorderedConv,
        )
        if token_layout not in TOKEN_LAYOUTS:
            raise ValueError(f"token_layout must be one of {', '.join(TOKEN_LAYOUTS)}, got {token_layout!r}")
        self.token_layout = token_layout
        deepest = width * DIVISOR
        self.embeddings = nn.ModuleList(convolution(spatial_dims, deepest, token_dim) for _ in range(n_modalities))
        self.positions = nn.Parameter(torch.zeros(n_modalities, math.prod(self.grid), token_dim))

        def transformer() -> nn.ModuleList:
            return nn.ModuleList(
                TransformerLayer(dim=token_dim, mlp_dim=mlp_dim, num_heads=num_heads) for _ in range(depth)
            )

        self.within = nn.ModuleList(transformer() for _ in range(n_modalities))
        self.across = transformer()
        self.bottleneck = convolution(spatial_dims, n_modalities * token_dim, n_modalities * deepest)
        self.decoder = FusionDecoder(
            n_modalities=n_modalities, n_classes=n_classes, spatial_dims=spatial_dims, width=width
        )

    def encode_modality(self, index: int, image: Tensor) -> tuple[Tensor, ...]:
        """Five levels (n, width * 2^l, *S / 2^l), the tokens (n, P, d) after the modality's own transformer, products.

        Products, one of each level but the coarsest, are what the modality gives to the decoder's fusion.
        """
        levels = self.encoders[index](image)
        tokens = to_tokens(pointwise(self.embeddings[index], levels[-1]))
        position = on_grid(self.positions[index : index + 1], self.grid, levels[-1].shape[2:])
        for layer in self.within[index]:
            tokens = layer(tokens + position)
        return *levels, tokens, *self.decoder.products(index, levels)

    def decode_rows(self, features: Features) -> PathOutput:
        """Logits, deep logits at scales 2, 4, 8, 16 and the last decoder map (B, width, *S)."""
        grid = features.levels[N_LEVELS - 1].shape[2:]
        tokens = self.attend_across(features, grid)
        return self.decoder(features, self.mix(tokens, grid))

    def attend_across(self, features: Features, grid: Sequence[int]) -> Tensor:
        """Tokens (B, M, P, d) after the transformer across modalities; absent ones enter it as zeros."""
        tokens = features.levels[N_LEVELS]
        rows = features.rows.to(tokens.device, non_blocking=True)
        tokens = torch.cat([tokens, torch.zeros_like(tokens[:1])])[rows].flatten(1, 2)
        position = on_grid(self.positions, self.grid, grid).flatten(0, 1)
        for layer in self.across:
            tokens = layer(tokens + position)
        return tokens.unflatten(1, (self.n_modalities, -1))

    def mix(self, tokens: Tensor, grid: Sequence[int]) -> Tensor:
        """Bottleneck (B, M * width * 16, *grid) from the tokens (B, M, P, d) of all modalities."""
        batch, _, n_tokens, _ = tokens.shape
        per_location = tokens.transpose(1, 2) if self.token_layout == "aligned" else tokens
        return pointwise(self.bottleneck, to_map(per_location.reshape(batch, n_tokens, -1), grid))


class FusionDecoder(nn.Module):
    """The decoder that fuses the modalities on every level, from the bottleneck up.

    Args:
        n_modalities: M.
        n_classes: K.
        spatial_dims: 2 or 3.
        width: channels of the finest level.
    """

    def __init__(self, *, n_modalities: int, n_classes: int, spatial_dims: int, width: int) -> None:
        super().__init__()

        def fusion(channels: int) -> nn.ModuleList:
            shapes = [(n_modalities * channels, 1), (channels, 3), (channels, 1)]
            return nn.ModuleList(
                Pre(
                    spatial_dims=spatial_dims,
                    in_channels=before,
                    out_channels=channels,
                    kernel_size=kernel_size,
                    borders="zeros",
                )
                for before, kernel_size in shapes
            )

        widths = [width * 2**level for level in range(N_LEVELS)]
        self.fusions = nn.ModuleList(fusion(channels) for channels in widths)
        self.steps = nn.ModuleList(
            DecoderStep(spatial_dims=spatial_dims, channels=channels, block=Pre) for channels in widths[:-1]
        )
        self.heads = nn.ModuleList(convolution(spatial_dims, channels, n_classes) for channels in widths)

    def forward(self, features: Features, bottleneck: Tensor) -> PathOutput:
        """Decode every sample from the rows of its modalities and its bottleneck (B, M * C, *grid)."""
        sharing = Sharing.of(features)
        first, second, third = self.fusions[-1]
        x = third(second(first(bottleneck)))
        deep: list[tuple[Tensor, int]] = []
        for level in reversed(range(N_LEVELS - 1)):
            deep.insert(0, (logits(self.heads[level + 1], x), 2 ** (level + 1)))
            skip = self.fuse(level, features, sharing)
            x = self.steps[level].join(skip, self.steps[level].up(x))
        return PathOutput(logits=logits(self.heads[0], x), deep=deep, embedding=x)

    def products(self, index: int, levels: Sequence[Tensor]) -> list[Tensor]:
        """What modality ``index`` gives to the first block of every fused skip, (n, C, V) for levels (n, C, *S).

        Each channel is normalised alone, so a row's part of the block is the same for all samples that use the row.
        """
        return [
            product(modality_weight(fusion[0].conv, index, rows.shape[1]), normalise(rows))
            for fusion, rows in zip(self.fusions[:-1], levels, strict=False)
        ]

    def fuse(self, level: int, features: Features, sharing: Sharing) -> Tensor:
        """Fused skip (B, C, *S) of a level."""
        first, second, third = self.fusions[level]
        products = sharing.used_rows(features.levels[N_LEVELS + 1 + level])
        fused = sharing.in_order(sharing.sums(products) + first.conv.bias[:, None])
        return third(second(fused.unflatten(2, features.levels[level].shape[2:])))
