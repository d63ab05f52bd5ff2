"""Configured parts as plain values: what the description of a run keeps of them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from numbers import Integral, Real
from typing import Any

import torch
from monai.transforms import Transform
from torch import nn

from passion_components.preference import RelativePreference

_MOVES = ("training", "epoch")
"""Attributes of modules that change while a run goes on."""


def settings_of(part: object) -> dict[str, Any]:
    """Class and public attributes of a configured part, and of the parts in it, as plain values.

    Numbers, texts and collections of them stay, functions are named; tensors, random states, None, and transforms that
    change nothing (``only_warns``) are left out.
    """
    attributes = {name: value for name, value in vars(part).items() if not name.startswith("_") and name not in _MOVES}
    if isinstance(part, nn.Module):
        attributes |= dict(part.named_children())
    return {"class": type(part).__qualname__, **_known(attributes)}


NO_NUMBERS = ("params", "lr", "initial_lr", "foreach", "fused")
"""Of an optimizer's group: what is described elsewhere, and by which kernel the same numbers are computed."""


def optimizer_settings(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Class and numbers of an optimizer, group by group where there are several; the learning rate has a schedule."""
    groups = [
        _known({name: value for name, value in group.items() if name not in NO_NUMBERS})
        for group in optimizer.param_groups
    ]
    return {"class": type(optimizer).__qualname__, **(groups[0] if len(groups) == 1 else {"groups": groups})}


def _known(attributes: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: _plain(value) for name, value in sorted(attributes.items())}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: Any) -> Any:
    """A plain value, None for what is none."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value if not getattr(item, "only_warns", False)]
    if isinstance(value, Transform | nn.Module | RelativePreference):
        return settings_of(value)
    if isinstance(value, torch.dtype):
        return str(value)
    return getattr(value, "__qualname__", None)


def differences(before: Any, now: Any, name: str = "") -> dict[str, tuple[Any, Any]]:
    """Where two descriptions differ: dotted name -> both values, None for what one of them lacks; the shallowest first.

    ``a.b.0`` is the first item of the list ``b`` in ``a``.
    """
    if isinstance(before, list | tuple) and isinstance(now, list | tuple):
        before, now = dict(enumerate(before)), dict(enumerate(now))
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return {} if before == now else {name: (before, now)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys((*before, *now)):
        found |= differences(before.get(key), now.get(key), f"{name}.{key}" if name else str(key))
    return dict(sorted(found.items(), key=lambda item: item[0].count(".")))
