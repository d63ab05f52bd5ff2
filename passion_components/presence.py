"""Which modalities are there, as tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from passion_components.modalities import all_subsets, subset_name


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
