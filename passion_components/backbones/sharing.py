"""Which sample of a decoding uses which encoded rows, and what is computed once per row for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from passion_components.backbones.base import Features


@dataclass
class Group:
    """Samples of a decoding that have the same number n of modalities.

    Attributes:
        rows: (B_n * n,) the rows they use, sample by sample; None where these are all rows in their order.
        member: bool (B_n, n, M), true where a row is of that modality.
    """

    rows: Tensor | None
    member: Tensor

    def rows_of(self, x: Tensor) -> Tensor:
        """(B_n, n, ...) from rows (R, ...)."""
        x = x if self.rows is None else x.index_select(0, self.rows)
        return x.unflatten(0, self.member.shape[:2])


@dataclass
class Sharing:
    """Which sample uses which encoded rows, for decoding samples that share them.

    A decoder holds its samples group by group, so that samples with as many modalities form dense tensors.

    Attributes:
        groups: in the order in which the decoder holds its samples.
        modality: (R,) modality of each row that is used.
        pair_modality: (P,) on the CPU: modality of each (sample, modality) pair, group by group, sample by sample.
        chosen: (R,) the rows that are used, or None for all of them.
        position: (B,) where the decoder holds each sample, or None where it keeps their order.
    """

    groups: list[Group]
    modality: Tensor
    pair_modality: Tensor
    chosen: Tensor | None
    position: Tensor | None

    @classmethod
    def of(cls, features: Features) -> Sharing:
        """What ``features.rows`` asks for; all indices go to the device in one transfer."""
        here = features.rows >= 0
        sample, modality = here.nonzero(as_tuple=True)
        chosen, row = features.rows[here].unique(return_inverse=True)
        modality_of_row = torch.empty_like(chosen).scatter_(0, row, modality)
        counts = here.sum(1)
        indices, order = [chosen, modality_of_row], []
        for count in dict.fromkeys(counts.tolist()):
            samples = (counts == count).nonzero().flatten()
            order.append(samples)
            of_group = (counts == count)[sample]
            indices += [row[of_group], modality[of_group].view(len(samples), count)]
        indices.append(torch.cat(order).argsort())
        where = features.levels[0].device
        moved = torch.cat([index.flatten() for index in indices]).to(where, non_blocking=True)
        parts = [
            part.view_as(index) for part, index in zip(moved.split([i.numel() for i in indices]), indices, strict=True)
        ]

        def unless_identity(number: int, size: int) -> Tensor | None:
            return None if torch.equal(indices[number], torch.arange(size)) else parts[number]

        names = torch.arange(here.shape[1], device=where)
        return cls(
            groups=[
                Group(unless_identity(i, len(chosen)), parts[i + 1][..., None] == names)
                for i in range(2, len(parts) - 1, 2)
            ],
            modality=parts[1],
            pair_modality=torch.cat([index.flatten() for index in indices[3:-1:2]]),
            chosen=unless_identity(0, len(features.levels[0])),
            position=unless_identity(len(parts) - 1, len(here)),
        )

    def used_rows(self, level: Tensor) -> Tensor:
        """The rows of a level that any sample uses."""
        return level if self.chosen is None else level.index_select(0, self.chosen)

    def in_order(self, x: Tensor) -> Tensor:
        """A decoder's output (B, ...) with samples back in the order in which they were asked for."""
        return x if self.position is None else x.index_select(0, self.position)

    def products(self, weight: Tensor, rows: Tensor) -> Tensor:
        """A 1x1 convolution of M concatenated modalities, row by row: what a sample's rows give is then added up.

        Args:
            weight: (O, M * C, ...), as of the convolution.
            rows: the rows that are used, (R, C, *S).

        Returns:
            (R, O, V) for V voxels, without bias.
        """
        weight = weight.flatten(1).unflatten(1, (-1, rows.shape[1])).transpose(0, 1)
        return torch.bmm(weight.index_select(0, self.modality), rows.flatten(2))

    def sums(self, products: Tensor) -> Tensor:
        """(B, O, V) in the order in which the decoder holds its samples: each sample's rows of (R, O, V) added up."""
        return joined([group.rows_of(products).sum(1) for group in self.groups])


def modality_weight(conv: Any, index: int, channels: int) -> Tensor:
    """The part (O, C) of a 1x1 convolution of M concatenated modalities that acts on modality ``index``."""
    return conv.weight.flatten(1).narrow(1, index * channels, channels)


def product(weight: Tensor, rows: Tensor) -> Tensor:
    """``weight`` (O, C) times every voxel of rows (n, C, *S): (n, O, V)."""
    return torch.bmm(weight.expand(len(rows), -1, -1), rows.flatten(2))


def joined(of_groups: list[Tensor]) -> Tensor:
    """What was computed group by group, as one batch; nothing is copied where there is one group."""
    return of_groups[0] if len(of_groups) == 1 else torch.cat(of_groups)
