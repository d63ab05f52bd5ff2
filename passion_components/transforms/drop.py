"""Random removal of modalities (ModDrop)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from torch import Tensor


class RandDropModalitiesd(RandomizableTransform, MapTransform):
    """Reduce a case's presence to a random non-empty subset of what it has.

    Every non-empty subset of the present modalities is equally likely, as in ModDrop
    (Neverova et al., TPAMI 2016). Images are not touched: what is absent is never read.
    Several keys are reduced to the same subset, by one draw per case.

    Args:
        keys: entries that hold presence, bool tensors of shape (M,), all the same before the draw.
        prob: probability that a case is reduced at all, in [0, 1].

    Raises:
        ValueError: ``prob`` outside [0, 1]; a case that has no modality; keys that differ before the draw.
    """

    def __init__(self, keys: KeysCollection, *, prob: float = 1.0) -> None:
        if not 0.0 <= prob <= 1.0:
            raise ValueError(f"prob must be in [0, 1], got {prob}")
        MapTransform.__init__(self, keys)
        RandomizableTransform.__init__(self, prob)
        self._code = 0

    def randomize(self, n_present: int) -> None:
        """Draw which of the ``n_present`` modalities stay; the only place that uses the generator."""
        super().randomize(None)
        self._code = int(self.R.randint(1, 2**n_present)) if self._do_transform else 2**n_present - 1

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        first, *others = self.keys
        presence = out[first]
        present = presence.nonzero().flatten()
        if len(present) == 0:
            raise ValueError(f"{first!r}: the case has no modality; expected at least one of {len(presence)}")
        for key in others:
            if not torch.equal(out[key], presence):
                raise ValueError(f"{key!r} is {out[key].tolist()}; expected the same as {first!r}, {presence.tolist()}")
        self.randomize(len(present))
        for key in self.keys:
            out[key] = keep_subset(presence, present, self._code)
        return out


def keep_subset(presence: Tensor, present: Tensor, code: int) -> Tensor:
    """The presence whose i-th present modality stays where bit i of ``code`` is set."""
    keep = torch.tensor([bool(code >> i & 1) for i in range(len(present))])
    reduced = torch.zeros_like(presence)
    reduced[present[keep]] = True
    return reduced
