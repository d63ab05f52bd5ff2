"""Rules that tell where a sequence shows tissue."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor


def nonzero(image: Tensor) -> Tensor:
    """Voxels that are not zero: brain extraction leaves zeros outside, and negative values may occur inside."""
    return image != 0


FOREGROUND_RULES: Mapping[str, Callable[[Tensor], Tensor]] = {"nonzero": nonzero}


def foreground_rule(name: str) -> Callable[[Tensor], Tensor]:
    """The rule of that name: image (M, *S) to bool mask (M, *S), each channel by itself.

    Raises:
        ValueError: no such rule.
    """
    if name not in FOREGROUND_RULES:
        raise ValueError(f"unknown foreground rule {name!r}; accepted: {', '.join(FOREGROUND_RULES)}")
    return FOREGROUND_RULES[name]
