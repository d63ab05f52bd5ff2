"""Subsets of a data set's sequences; the only file in which the order of modalities matters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

PUBLISHED_MODALITIES = ("flair", "t1ce", "t1", "t2")
"""Order of encoders in the published networks, hence of a loaded network's image channels, and in the split files of
PASSION's released code."""

AS_LISTED = "as listed"
"""How presence is sampled where nothing reduces it at random."""


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
