"""The contract of a backbone: encode every present modality once, decode any subset of them as often as needed."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

SEPARATE_PREFIX = "separate."
"""What names of the separate uni-modal decoder's parameters begin with; it serves training alone."""


@dataclass
class Features:
    """What the encoders made of the modalities that were there; absent ones take no memory.

    Attributes:
        levels: per resolution one tensor (R, C_l, *S_l); a row is one encoded (sample, modality) pair and rows are
            sorted by modality, then by sample. What else a backbone keeps per row stands at the end of the list.
        rows: (B, M) int64 on the CPU: the row of a sample's modality, -1 where it was not encoded.
    """

    levels: tuple[Tensor, ...]
    rows: Tensor

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Sample index and modality index, each (R,) on the CPU, of the rows in their order."""
        modality, sample = (self.rows >= 0).t().nonzero(as_tuple=True)
        return sample, modality

    def select(self, samples: Tensor) -> Features:
        """A batch whose n-th sample is ``samples[n]``; rows are shared, nothing is copied."""
        return Features(self.levels, self.rows[samples])

    def alone(self) -> Features:
        """A batch of R samples, each of which has one row as its only modality: the uni-modal paths."""
        _, modality = self.pairs()
        row = self.rows.t()[self.rows.t() >= 0]
        rows = torch.full((len(row), self.rows.shape[1]), -1)
        rows[torch.arange(len(row)), modality] = row
        return Features(self.levels, rows)

    def join(self, other: Features) -> Features:
        """Both batches as one, over the same rows."""
        return Features(self.levels, torch.cat([self.rows, other.rows]))


@dataclass
class PathOutput:
    """One decoding.

    Attributes:
        logits: (B, K, *S), at least float32.
        deep: pairs of logits (B, K, *S / scale) and the scale, finest first.
        embedding: (B, C, *S), the decoder's last map, from which prototypes are made.
    """

    logits: Tensor
    deep: list[tuple[Tensor, int]]
    embedding: Tensor

    def split(self, first: int) -> tuple[PathOutput, PathOutput]:
        """The first samples and the rest."""

        def part(which: slice) -> PathOutput:
            return PathOutput(self.logits[which], [(d[which], s) for d, s in self.deep], self.embedding[which])

        return part(slice(None, first)), part(slice(first, None))

    @classmethod
    def join(cls, parts: Sequence[PathOutput]) -> PathOutput:
        """The samples of several decodings, one after the other."""
        deep = [(torch.cat([d for d, _ in level]), level[0][1]) for level in zip(*(p.deep for p in parts), strict=True)]
        return cls(torch.cat([p.logits for p in parts]), deep, torch.cat([p.embedding for p in parts]))


@dataclass
class MultiPathOutput:
    """The fused path of B samples and the uni-modal paths of the P present (sample, modality) pairs.

    Attributes:
        fused: decoding of each sample's (fused) presence.
        unimodal: decoding of each pair alone, by the same decoder; P rows.
        sample_index: (P,) int64, on the device of the logits.
        modality_index: (P,) int64, likewise.
        separate_logits: (P, K, *S) of the separate uni-modal decoder, or None where the backbone has none.
        averaged: the fused path of an average of the network, without gradient, where there is one.
    """

    fused: PathOutput
    unimodal: PathOutput
    sample_index: Tensor
    modality_index: Tensor
    separate_logits: Tensor | None
    averaged: PathOutput | None = None

    @property
    def teacher(self) -> PathOutput:
        """What the uni-modal paths learn from: the fused path, that of the averaged network where there is one."""
        return self.fused if self.averaged is None else self.averaged


class Backbone(nn.Module, ABC):
    """A segmentation network of modality-specific encoders and one fusion decoder.

    A network of its own implements :meth:`encode_modality`, and :meth:`decode_sample` or, where decoding sample by
    sample is too slow, :meth:`decode_rows`.

    Args:
        n_modalities: M, the number of image channels.
        n_classes: K, background included.
        spatial_dims: 2 or 3.
        size_divisor: every spatial size must be a multiple of it.
        min_size: and at least this many voxels.

    Attributes:
        settings: the arguments that the network was made with, defaults included: weights do not fit another one.

    Raises:
        ValueError: counts below 1 or dimensions other than 2 and 3.
    """

    settings: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the arguments of whichever backbone is made, by name."""
        made = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(made, *args, **kwargs)
        bound.apply_defaults()
        object.__setattr__(made, "settings", dict(list(bound.arguments.items())[1:]))
        return made

    def __init__(
        self, *, n_modalities: int, n_classes: int, spatial_dims: int, size_divisor: int, min_size: int
    ) -> None:
        super().__init__()
        if n_modalities < 1 or n_classes < 1:
            raise ValueError(f"expected at least one modality and one class, got {n_modalities} and {n_classes}")
        if spatial_dims not in (2, 3):
            raise ValueError(f"spatial_dims must be 2 or 3, got {spatial_dims}")
        self.n_modalities = n_modalities
        self.n_classes = n_classes
        self.spatial_dims = spatial_dims
        self.size_divisor = size_divisor
        self.min_size = min_size
        self.separate: nn.Module | None = None

    @abstractmethod
    def encode_modality(self, index: int, image: Tensor) -> tuple[Tensor, ...]:
        """Feature levels of modality ``index`` for images (n, 1, *S); n may be 0 in no call."""

    def decode_sample(self, levels: tuple[Tensor, ...], modalities: Tensor) -> PathOutput:
        """Decode one sample from all the modalities that it has.

        Args:
            levels: what :meth:`encode_modality` made of its n modalities, each (n, C_l, *S_l).
            modalities: (n,) int64, ascending, on the CPU: which ones they are.

        Returns:
            A decoding of B = 1.
        """
        raise NotImplementedError(f"{type(self).__name__} implements neither decode_sample nor decode_rows")

    def decode_rows(self, features: Features) -> PathOutput:
        """Decode every sample of ``features`` from all the modalities that its rows name; here one by one."""
        samples = []
        for rows in features.rows:
            used = rows[rows >= 0].to(features.levels[0].device)
            levels = tuple(level.index_select(0, used) for level in features.levels)
            samples.append(self.decode_sample(levels, (rows >= 0).nonzero().flatten()))
        return PathOutput.join(samples)

    def decode_separate(self, features: Features) -> Tensor | None:
        """Logits (R, K, *S) of the separate uni-modal decoder on every row; None where it was not built."""
        return None if self.separate is None else self.separate(features.levels)

    def encode(self, image: Tensor, presence: Tensor) -> Features:
        """Encode the present modalities; absent channels are never read.

        Args:
            image: (B, M, *S).
            presence: bool (B, M), or (1, M) for the whole batch.

        Raises:
            ValueError: shapes or sizes that the network cannot take, a sample without any modality.
        """
        presence = self._checked(image, presence)
        rows = torch.full(presence.shape, -1)
        levels: list[tuple[Tensor, ...]] = []
        n_rows = 0
        for index in range(self.n_modalities):
            samples = presence[:, index].nonzero().flatten()
            if len(samples) == 0:
                continue
            rows[samples, index] = n_rows + torch.arange(len(samples))
            n_rows += len(samples)
            channel = image[:, index : index + 1]
            here = channel if len(samples) == len(image) else channel[samples.to(image.device)]
            levels.append(self.encode_modality(index, here))
        return Features(tuple(torch.cat(level) for level in zip(*levels, strict=True)), rows)

    def decode(self, features: Features, presence: Tensor) -> PathOutput:
        """Decode from the modalities that ``presence`` (B, M) names, a subset of what was encoded.

        Raises:
            ValueError: a modality that was not encoded, or a sample without any.
        """
        presence = presence.cpu().bool().expand(features.rows.shape)
        if (presence & (features.rows < 0)).any():
            raise ValueError("presence names a modality that was not encoded for that sample")
        if not presence.any(1).all():
            raise ValueError(f"sample {int((~presence.any(1)).nonzero()[0])} has no modality; expected at least one")
        return self.decode_rows(Features(features.levels, features.rows.masked_fill(~presence, -1)))

    def forward(self, image: Tensor, presence: Tensor | None = None) -> Tensor:
        """Logits (B, K, *S) of the fused path.

        ``presence=None`` reads presence from the image: a channel of zeros is absent. A sample of nothing but zeros
        (a window of background) counts as complete.
        """
        if presence is None:
            presence = (image.flatten(2) != 0).any(2)
            presence = presence | ~presence.any(1, keepdim=True)
        return self.decode(self.encode(image, presence), presence).logits

    def _checked(self, image: Tensor, presence: Tensor) -> Tensor:
        """Presence (B, M) on the CPU, after everything that can be wrong with the input has been ruled out."""
        name, dims = type(self).__name__, self.spatial_dims
        if image.ndim != dims + 2 or image.shape[1] != self.n_modalities:
            raise ValueError(
                f"{name} takes images (batch, {self.n_modalities} modalities, {dims} spatial sizes), "
                f"got {tuple(image.shape)}"
            )
        sizes = tuple(image.shape[2:])
        if any(size % self.size_divisor or size < self.min_size for size in sizes):
            raise ValueError(
                f"{name} takes sizes divisible by {self.size_divisor} and at least {self.min_size}, got {sizes}; "
                f"crop or pad the image"
            )
        if presence.ndim != 2 or presence.shape[1] != self.n_modalities or presence.shape[0] not in (1, len(image)):
            raise ValueError(
                f"presence must have shape ({len(image)}, {self.n_modalities}), got {tuple(presence.shape)}"
            )
        presence = presence.cpu().bool().expand(len(image), -1)
        if not presence.any(1).all():
            raise ValueError(f"sample {int((~presence.any(1)).nonzero()[0])} has no modality; expected at least one")
        return presence


class MultiPath(nn.Module):
    """Training view of a backbone: one encoding, one decoding of the fused and of all uni-modal paths together.

    Distributed training wraps this module, so that every path runs inside one forward.

    Args:
        backbone: the network.
        checkpoint_activations: keep only what encoders give and each path gives, and compute the maps in between again
            for the gradient, path by path: less memory for more time. Random layers draw in another order.
    """

    def __init__(self, backbone: Backbone, *, checkpoint_activations: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.checkpoint_activations = checkpoint_activations

    def forward(self, image: Tensor, presence: Tensor, fused_presence: Tensor | None = None) -> MultiPathOutput:
        """All paths of a batch.

        Args:
            image: (B, M, *S).
            presence: bool (B, M), what may be seen: encoders and uni-modal paths. Best kept on the CPU, where reading
                it does not wait for the device.
            fused_presence: bool (B, M), the subset of it that the fused path decodes; the default is all of it.

        Raises:
            ValueError: as :meth:`Backbone.encode` and :meth:`Backbone.decode` do.
        """
        features = self._encode(image, presence)
        fused = features
        if fused_presence is not None:
            fused_presence = fused_presence.cpu().bool()
            if (fused_presence & (features.rows < 0)).any() or not fused_presence.any(1).all():
                raise ValueError("fused_presence must be a non-empty subset of presence for every sample")
            fused = Features(features.levels, features.rows.masked_fill(~fused_presence, -1))
        both = self._decode(fused.join(features.alone()))
        fused_output, unimodal_output = both.split(len(features.rows))
        sample, modality = features.pairs()
        return MultiPathOutput(
            fused=fused_output,
            unimodal=unimodal_output,
            sample_index=sample.to(image.device, non_blocking=True),
            modality_index=modality.to(image.device, non_blocking=True),
            separate_logits=self.backbone.decode_separate(features),
        )

    def _encode(self, image: Tensor, presence: Tensor) -> Features:
        if not self.checkpoint_activations:
            return self.backbone.encode(image, presence)
        features: Features = checkpoint(self.backbone.encode, image, presence, use_reentrant=False)
        return features

    def _decode(self, features: Features) -> PathOutput:
        if not self.checkpoint_activations:
            return self.backbone.decode_rows(features)
        paths = [Features(features.levels, row) for row in features.rows.split(1)]
        return PathOutput.join([checkpoint(self.backbone.decode_rows, path, use_reentrant=False) for path in paths])


def at_least_float32(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it is that already."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()
