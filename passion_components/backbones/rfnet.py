"""RFNet: region-aware fusion of modality-specific encoders (Ding et al., ICCV 2021), for any modalities and classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from passion_components.backbones.base import Backbone, Features, PathOutput, at_least_float32
from passion_components.backbones.blocks import (
    DecoderStep,
    Post,
    ResidualEncoder,
    UnimodalDecoder,
    convolution,
    uniform_bias,
)
from passion_components.backbones.kernels import SLOPE, logits, normalise
from passion_components.backbones.sharing import Sharing, joined, modality_weight, product

N_LEVELS = 4
HEAD_WIDTH = 16
WEIGHT_WIDTH = 128
POOL_EPS = 1e-7


class RFNet(Backbone):
    """RFNet as PASSION uses it: four levels, one encoder per modality, no transformer.

    On every level the decoder first segments (the region maps, which are the deep supervision), then pools each
    modality over each region, turns what it pooled into one weight per region and modality, and fuses with these.
    Weights and products of absent modalities are never computed.

    Args:
        n_modalities: M.
        n_classes: K, background included.
        spatial_dims: 2 or 3.
        width: channels of the finest level, even and at least 4; level l has width * 2^l.
        separate_decoder: build the published uni-modal decoder that all modalities share.

    Raises:
        ValueError: as :class:`Backbone`, or a width that is odd or below 4.

    Takes sizes divisible by 8, at least 16.
    """

    def __init__(
        self,
        *,
        n_modalities: int,
        n_classes: int,
        spatial_dims: int = 3,
        width: int = 8,
        separate_decoder: bool = False,
    ) -> None:
        super().__init__(
            n_modalities=n_modalities, n_classes=n_classes, spatial_dims=spatial_dims, size_divisor=8, min_size=16
        )
        if width < 4 or width % 2:
            raise ValueError(f"width must be even and at least 4, got {width}")
        self.encoders = nn.ModuleList(
            ResidualEncoder(spatial_dims=spatial_dims, width=width, n_levels=N_LEVELS) for _ in range(n_modalities)
        )
        self.fusions = nn.ModuleList(
            RegionFusion(
                n_modalities=n_modalities,
                n_classes=n_classes,
                spatial_dims=spatial_dims,
                channels=width * 2**level,
                from_decoder=level < N_LEVELS - 1,
            )
            for level in range(N_LEVELS)
        )
        self.steps = nn.ModuleList(
            DecoderStep(spatial_dims=spatial_dims, channels=width * 2**level) for level in range(N_LEVELS - 1)
        )
        self.head = convolution(spatial_dims, width, n_classes)
        if separate_decoder:
            self.separate = UnimodalDecoder(
                spatial_dims=spatial_dims, width=width, n_levels=N_LEVELS, n_classes=n_classes
            )

    def encode_modality(self, index: int, image: Tensor) -> tuple[Tensor, ...]:
        """Four levels (n, width * 2^l, *S / 2^l) of modality ``index`` for images (n, 1, *S), and their products."""
        levels = self.encoders[index](image)
        return *levels, *(fusion.products(index, level) for fusion, level in zip(self.fusions, levels, strict=True))

    def decode_rows(self, features: Features) -> PathOutput:
        """Logits, the region maps' logits at scales 1, 2, 4, 8 and the last decoder map (B, width, *S)."""
        sharing = Sharing.of(features)
        used = [sharing.used_rows(level) for level in features.levels]
        rows, products = used[:N_LEVELS], used[N_LEVELS:]
        regions, *fused = self.fusions[-1](rows[-1], products[-1], sharing)
        deep = [(regions, 2 ** (N_LEVELS - 1))]
        for level in reversed(range(N_LEVELS - 1)):
            step = self.steps[level]
            x = step.up(torch.cat(fused, 1))
            regions, *fused = self.fusions[level](rows[level], products[level], sharing, x)
            deep.insert(0, (regions, 2**level))
            fused = [step.join(*fused, x)]
        embedding = fused[0]
        return PathOutput(
            logits=sharing.in_order(logits(self.head, embedding)),
            deep=[(sharing.in_order(regions), scale) for regions, scale in deep],
            embedding=sharing.in_order(embedding),
        )


class RegionFusion(nn.Module):
    """Region maps of one level and the fusion of the modalities by them.

    Args:
        n_modalities: M.
        n_classes: K.
        spatial_dims: 2 or 3.
        channels: C of this level.
        from_decoder: whether the region maps also see the decoder's map of this level, as all but the coarsest do.
    """

    def __init__(
        self, *, n_modalities: int, n_classes: int, spatial_dims: int, channels: int, from_decoder: bool
    ) -> None:
        super().__init__()
        self.n_classes = n_classes

        def post(in_channels: int, out_channels: int, kernel_size: int = 1) -> Post:
            return Post(
                spatial_dims=spatial_dims,
                in_channels=in_channels,
                out_channels=out_channels,
                kernel_size=kernel_size,
            )

        def narrowing(in_channels: int, middle: int, out_channels: int) -> nn.Sequential:
            return nn.Sequential(
                post(in_channels, middle), post(middle, middle, kernel_size=3), post(middle, out_channels)
            )

        self.embedding = narrowing(n_modalities * channels, channels // 4, channels)
        self.map_hidden = post(channels * (1 + from_decoder), HEAD_WIDTH)
        self.map_head = convolution(spatial_dims, HEAD_WIDTH, n_classes)
        self.weights = RegionWeights(n_modalities=n_modalities, n_classes=n_classes, channels=channels)
        self.region = narrowing(n_classes * channels, channels, channels // 2)
        self.short_cut = narrowing(n_modalities * channels, channels, channels // 2)

    def products(self, index: int, rows: Tensor) -> Tensor:
        """What rows (n, C, *S) of modality ``index`` give to the first blocks of embedding and short cut, (n, O, V)."""
        weights = [modality_weight(conv, index, rows.shape[1]) for conv in self._first_convs()]
        return product(torch.cat(weights), rows)

    def forward(
        self, rows: Tensor, products: Tensor, sharing: Sharing, *decoded: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Region logits (B, K, *S), then the region-aware and the short-cut half (B, C / 2, *S) of the fused map.

        Args:
            rows: encoded rows (R, C, *S).
            products: of these rows, (R, O, V).
            sharing: which sample uses which rows.
            decoded: the decoder's map (B, C, *S), where the level has one.
        """
        embedding, short_cut = self._first_blocks(products, rows.shape[2:], sharing)
        embedding = self.embedding[2](self.embedding[1](embedding))
        regions = logits(self.map_head, self.map_hidden(*decoded, embedding))
        fused = self._fuse_regions(rows, regions.detach().softmax(1).flatten(2), sharing)
        return regions, self.region[2](self.region[1](fused)), self.short_cut[2](self.short_cut[1](short_cut))

    def _first_convs(self) -> list[nn.Module]:
        return [self.embedding[0].conv, self.short_cut[0].conv]

    def _first_blocks(self, products: Tensor, sizes: Sequence[int], sharing: Sharing) -> tuple[Tensor, ...]:
        """First blocks of embedding (B, C / 4, *S) and short cut (B, C, *S): what a sample's rows give, summed."""
        convs = self._first_convs()
        bias = torch.cat([conv.bias for conv in convs])[:, None]
        blocks = normalise(sharing.sums(products) + bias).unflatten(2, sizes)
        return blocks.split([conv.out_channels for conv in convs], dim=1)

    def _fuse_regions(self, rows: Tensor, maps: Tensor, sharing: Sharing) -> Tensor:
        """First block of the region-aware half, (B, C, *S): conv of map_k * sum over m of w_mk x_m, over all k.

        The convolution and the weights act on channels alone, so they are multiplied with each other first and
        applied to the rows class by class: nothing of K times the size of the rows is ever held.
        """
        conv = self.region[0].conv
        mixing = conv.weight.flatten(1).unflatten(1, (self.n_classes, -1))
        regions = maps.split([len(group.member) for group in sharing.groups])
        fused = []
        for group, region in zip(sharing.groups, regions, strict=True):
            x = group.rows_of(rows.flatten(2))
            weights = self.weights(x, region, group.member)
            mixed = torch.einsum("bnk,ckd->bkcnd", weights.to(x.dtype), mixing.to(x.dtype)).flatten(3)
            x = x.flatten(1, 2)
            total = conv.bias[:, None]
            for k in range(self.n_classes):
                total = torch.addcmul(total, torch.bmm(mixed[:, k], x), region[:, k : k + 1])
            fused.append(total)
        return normalise(joined(fused)).unflatten(2, rows.shape[2:])


class RegionWeights(nn.Module):
    """One weight in (0, 1) per region and modality, from what the modalities hold in that region.

    Per class k: w_k = sigmoid(W2_k LeakyReLU(W1_k [p_1k, ..., p_Mk, a_k] + b1_k) + b2_k) with the pooled features
    p_mk = mean(x_m map_k) / (a_k + 1e-7), zero for absent modalities, and a_k = mean(map_k).

    Args:
        n_modalities: M.
        n_classes: K.
        channels: C.
    """

    def __init__(self, *, n_modalities: int, n_classes: int, channels: int) -> None:
        super().__init__()
        pooled = n_modalities * channels + 1
        self.weight1 = nn.Parameter(torch.empty(n_classes, WEIGHT_WIDTH, pooled))
        self.bias1 = uniform_bias((n_classes, WEIGHT_WIDTH), pooled)
        self.weight2 = nn.Parameter(torch.empty(n_classes, n_modalities, WEIGHT_WIDTH))
        self.bias2 = uniform_bias((n_classes, n_modalities), WEIGHT_WIDTH)
        for weight in (*self.weight1, *self.weight2):
            nn.init.kaiming_normal_(weight)

    def forward(self, rows: Tensor, maps: Tensor, member: Tensor) -> Tensor:
        """Weights (B, n, K), at least float32, of the n rows of each sample.

        Args:
            rows: (B, n, C, V).
            maps: (B, K, V), probabilities.
            member: bool (B, n, M), true where a row is of that modality.
        """
        with torch.autocast(rows.device.type, enabled=False):
            maps = at_least_float32(maps)
            area = maps.mean(2)
            share = maps / ((area + POOL_EPS) * maps.shape[2])[..., None]
            pooled = torch.bmm(at_least_float32(rows).flatten(1, 2), share.transpose(1, 2)).unflatten(
                1, rows.shape[1:3]
            )
            member = member.to(pooled.dtype)
            inputs = torch.einsum("bnm,bnck->bkmc", member, pooled).flatten(2)
            inputs = torch.cat([inputs, area[..., None]], 2)
            hidden = F.leaky_relu(torch.einsum("bki,khi->bkh", inputs, self.weight1) + self.bias1, SLOPE)
            weights = torch.sigmoid(torch.einsum("bkh,kmh->bkm", hidden, self.weight2) + self.bias2)
            return torch.einsum("bnm,bkm->bnk", member, weights)
