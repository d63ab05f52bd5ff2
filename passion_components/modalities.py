"""Subsets of a data set's sequences; the only file in which the order of modalities matters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import torch

PUBLISHED_MODALITIES = ("flair", "t1ce", "t1", "t2")
"""Order of encoders in the published networks, hence of a loaded network's image channels, and in the split files of
PASSION's released code."""


def all_subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """The 2^M - 1 non-empty subsets: by size, within a size in the data set's order (t1, t2, t1+t2 for two)."""
    return [subset for size in range(1, len(modalities) + 1) for subset in combinations(modalities, size)]


def subset_name(subset: Iterable[str], modalities: Sequence[str]) -> str:
    """A subset as it is written in files and tables: ``t1+t2``, in the data set's order.

    Raises:
        ValueError: a name that is no modality of the data set, or an empty subset.
    """
    wanted = set(subset)
    if not wanted or wanted - set(modalities):
        raise ValueError(f"expected a non-empty subset of {', '.join(modalities)}, got {sorted(wanted)}")
    return "+".join(name for name in modalities if name in wanted)


def presence_vector(subset: Iterable[str], modalities: Sequence[str]) -> torch.Tensor:
    """Presence of a subset: bool tensor of shape (M,), in the data set's order.

    Raises:
        ValueError: a name that is no modality of the data set.
    """
    wanted = set(subset)
    if wanted - set(modalities):
        raise ValueError(f"expected modalities out of {', '.join(modalities)}, got {sorted(wanted)}")
    return torch.tensor([name in wanted for name in modalities])


def present_names(presence: torch.Tensor, modalities: Sequence[str]) -> tuple[str, ...]:
    """Names of the modalities that a presence vector of shape (M,) marks."""
    return tuple(name for name, here in zip(modalities, presence.tolist(), strict=True) if here)


def subset_table(modalities: Sequence[str], names: Sequence[str] | None = None) -> torch.Tensor:
    """Subsets as one bool tensor (n, M): those of these names (``t1+t2``), by default all 2^M - 1.

    Rows are in the order of :func:`all_subsets`, or of ``names``.

    Raises:
        ValueError: a name that is no non-empty subset of the modalities.
    """
    if names is None:
        subsets = all_subsets(modalities)
    else:
        subsets = [tuple(subset_name(name.split("+"), modalities).split("+")) for name in names]
    return torch.stack([presence_vector(subset, modalities) for subset in subsets])


def subsets_within(table: torch.Tensor, presence: torch.Tensor) -> torch.Tensor:
    """The rows of a table of subsets (n, M) that need nothing but what a presence (M,) or (1, M) marks."""
    return table[~(table & ~presence).any(1)]
