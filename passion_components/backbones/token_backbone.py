"""What the backbones with a transformer at their coarsest level share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from passion_components.backbones.base import Backbone
from passion_components.backbones.blocks import BorderedConv, Post, ResidualEncoder, UnimodalDecoder
from passion_components.backbones.transformer import token_grid

N_LEVELS = 5
DIVISOR = 2 ** (N_LEVELS - 1)


class TokenBackbone(Backbone):
    """Five levels, one convolutional encoder per modality, tokens on the grid of the coarsest level.

    ``Features.levels`` begins with the five levels of the encoders; what follows belongs to the backbone.

    Args:
        n_modalities: M.
        n_classes: K, background included.
        img_size: crop for whose token grid tables are learned, multiples of 16.
        spatial_dims: 2 or 3.
        width: channels of the finest level; level l has width * 2^l.
        depth: layers of a transformer.
        separate_decoder: build the published uni-modal decoder that all modalities share.
        block: kind of the encoders' and the separate decoder's blocks.
        first: kind of the block that sees the image.

    Raises:
        ValueError: as :class:`Backbone` and :func:`token_grid`, or a width or depth below 1.
    """

    def __init__(
        self,
        *,
        n_modalities: int,
        n_classes: int,
        img_size: Sequence[int],
        spatial_dims: int,
        width: int,
        depth: int,
        separate_decoder: bool,
        block: type[BorderedConv] = Post,
        first: type[BorderedConv] = Post,
    ) -> None:
        super().__init__(
            n_modalities=n_modalities,
            n_classes=n_classes,
            spatial_dims=spatial_dims,
            size_divisor=DIVISOR,
            min_size=2 * DIVISOR,
        )
        if width < 1 or depth < 1:
            raise ValueError(f"width and depth must be at least 1, got {width} and {depth}")
        self.grid = token_grid(img_size, spatial_dims, DIVISOR)
        self.encoders = nn.ModuleList(
            ResidualEncoder(spatial_dims=spatial_dims, width=width, n_levels=N_LEVELS, block=block, first=first)
            for _ in range(n_modalities)
        )
        if separate_decoder:
            self.separate = UnimodalDecoder(
                spatial_dims=spatial_dims, width=width, n_levels=N_LEVELS, n_classes=n_classes, block=block
            )
