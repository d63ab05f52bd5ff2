"""Pre-norm transformer layers on the tokens of one resolution, and their positional tables."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

DROPOUT = 0.1


class TransformerLayer(nn.Module):
    """x + attention(LayerNorm x), then x + MLP(LayerNorm x), as in the published networks; no norm at the end.

    Args:
        dim: d, features of a token.
        mlp_dim: hidden features of the MLP.
        num_heads: attention heads, a divisor of d.

    Raises:
        ValueError: a number of heads that does not divide d.
    """

    def __init__(self, *, dim: int, mlp_dim: int, num_heads: int) -> None:
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads must divide the {dim} features of a token, got {num_heads}")
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        # Two in series: the published code wraps an attention that ends in dropout into another dropout.
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(DROPOUT), nn.Dropout(DROPOUT))
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp_dim), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(mlp_dim, dim), nn.Dropout(DROPOUT)
        )

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens (B, N, d), each (B, heads, N, d / heads)."""
        return self.qkv(self.attention_norm(x)).unflatten(2, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attended values (B, heads, N, d / heads), by whatever kernel is fastest."""
        return F.scaled_dot_product_attention(query, key, value, dropout_p=DROPOUT if self.training else 0.0)

    def probabilities(self, query: Tensor, key: Tensor) -> Tensor:
        """What the queries look at, (B, heads, N, N_key), where that itself is needed; after dropout."""
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        return F.dropout(scores.softmax(-1), DROPOUT, self.training)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """The layer's output (B, N, d) from its input and the attended values."""
        x = x + self.project(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.mlp_norm(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, d) from tokens (B, N, d) that all see each other."""
        return self.finish(x, self.attend(*self.heads(x)))


def token_grid(img_size: Sequence[int], spatial_dims: int, divisor: int) -> tuple[int, ...]:
    """Tokens per axis of a crop of ``img_size`` voxels.

    Raises:
        ValueError: another number of sizes than ``spatial_dims``, or sizes that ``divisor`` does not divide.
    """
    sizes = tuple(int(size) for size in img_size)
    if len(sizes) != spatial_dims or any(size < divisor or size % divisor for size in sizes):
        raise ValueError(f"img_size must be {spatial_dims} multiples of {divisor}, got {sizes}")
    return tuple(size // divisor for size in sizes)


def on_grid(table: Tensor, grid: Sequence[int], wanted: Sequence[int]) -> Tensor:
    """A table of one vector per token, (n, P, d) on ``grid``, brought to another grid by linear interpolation.

    On the same grid it is returned as it is.
    """
    if tuple(grid) == tuple(wanted):
        return table
    spread = table.transpose(1, 2).unflatten(2, tuple(grid))
    mode = "bilinear" if len(grid) == 2 else "trilinear"
    return F.interpolate(spread, size=tuple(wanted), mode=mode, align_corners=False).flatten(2).transpose(1, 2)


def to_map(tokens: Tensor, grid: Sequence[int]) -> Tensor:
    """Map (B, d, *grid) of tokens (B, P, d)."""
    return tokens.transpose(1, 2).unflatten(2, tuple(grid))


def to_tokens(x: Tensor) -> Tensor:
    """Tokens (B, P, d) of a map (B, d, *grid), the last axis running fastest."""
    return x.flatten(2).transpose(1, 2)
