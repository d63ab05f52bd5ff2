"""Sliding-window inference that settles once per volume which modalities are there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from passion_components.backbones.base import Backbone

logger = logging.getLogger(__name__)

MODES = ("constant", "gaussian")

VOXELS_PER_CALL = 600_000
"""Voxels that a CPU decodes in one call: of more the maps leave its caches, as measured; a matter of speed only."""


class ModalityAwareInferer(SlidingWindowInferer):
    """Class probabilities of volumes with any modalities, from one subset of these or from several at once.

    A window of background looks as if every modality were absent, so presence is a property of the volume and is
    handed to the network with every window. Softmax probabilities of overlapping windows are averaged.

    Windows may have one dimension less than the volumes: these are then predicted slice by slice across their last
    axis, windows of several slices in one call of the network.

    Args:
        roi_size: voxels of a window, one number per dimension of the network's images, or one for all dimensions of
            the volume; smaller volumes are padded with zeros for the network and the result is cropped back.
        sw_batch_size: windows per call of the network.
        overlap: share of a window that its neighbour covers again, in [0, 1).
        mode: weights of the average: ``"constant"``, as published, or ``"gaussian"``, which trusts centres more.
        sw_device: where the windows are computed; by default where the input is.
        device: where the result is put together; by default where the input is.
        progress: show a bar.

    Raises:
        ValueError: ``sw_batch_size`` below 1, ``overlap`` outside [0, 1), an unknown ``mode``.
    """

    def __init__(
        self,
        *,
        roi_size: Sequence[int] | int,
        sw_batch_size: int = 1,
        overlap: float = 0.5,
        mode: str = "constant",
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        progress: bool = False,
    ) -> None:
        if sw_batch_size < 1:
            raise ValueError(f"sw_batch_size must be at least 1, got {sw_batch_size}")
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap must be in [0, 1), got {overlap}")
        if mode not in MODES:
            raise ValueError(f"blending must be one of {', '.join(MODES)}, got {mode!r}")
        super().__init__(roi_size, sw_batch_size, overlap, mode, sw_device=sw_device, device=device, progress=progress)

    def __call__(  # type: ignore[override]
        self,
        inputs: Tensor,
        network: Callable[[Tensor, Tensor], Tensor],
        *,
        presence: Tensor | None = None,
        subsets: Tensor | None = None,
    ) -> Tensor:
        """Probabilities of a batch of volumes.

        Args:
            inputs: (B, M, *S).
            network: called with windows (w, M, *roi) and their presence, bool (w, M), returns logits (w, K, *roi).
                With ``subsets`` a Backbone: each window is encoded once, in the modalities that they name, and
                decoded for all of them from there.
            presence: bool (B, M), or (1, M) for the whole batch; by default a channel with any non-zero voxel is
                present, and a volume of nothing but zeros counts as complete.
            subsets: bool (n, M), each a non-empty subset of every volume's presence.

        Returns:
            (B, K, *S), or (B, n, K, *S) with ``subsets``; the meta data of ``inputs`` stay.

        Raises:
            ValueError: presence of another shape, a volume or a subset without any modality, a subset that names an
                absent modality, sizes that the network cannot take.
            TypeError: ``subsets`` for a network that is no Backbone.
        """
        image = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        presence = _presence_of(image) if presence is None else _checked_presence(presence, image)
        if subsets is None:
            predictors = [partial(_fused, network=network, presence=row[None]) for row in presence]
        else:
            if not isinstance(network, Backbone):
                raise TypeError(f"subsets need a Backbone, which encodes and decodes, got {type(network).__name__}")
            subsets = _checked_subsets(subsets, presence)
            predictors = [partial(_each, network=network, subsets=subsets)] * len(image)
        volumes = [self._place(volume, predictor) for volume, predictor in zip(image, predictors, strict=True)]
        result = volumes[0] if len(volumes) == 1 else torch.cat(volumes)
        if subsets is not None:
            result = result.unflatten(1, (len(subsets), -1))
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    def _place(self, volume: Tensor, predictor: Callable[[Tensor], Tensor]) -> Tensor:
        """As :meth:`_slide`; where a GPU is too small, results are put together on the CPU from then on."""
        try:
            return self._slide(volume, predictor)
        except torch.OutOfMemoryError:
            if self.device is not None and torch.device(self.device).type == "cpu":
                raise
        logger.warning("the GPU's memory does not suffice: windows are put together on the CPU (aggregate_on_cpu)")
        self.device = "cpu"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._slide(volume, predictor)

    def _slide(self, volume: Tensor, predictor: Callable[[Tensor], Tensor]) -> Tensor:
        """Blended predictions (1, C, *S) of a volume (M, *S)."""
        slide = cast(Callable[..., Tensor], super().__call__)
        if isinstance(self.roi_size, Sequence) and len(self.roi_size) == volume.ndim - 2:
            return slide(volume.movedim(-1, 0), predictor).movedim(0, -1)[None]
        return slide(volume[None], predictor)


def _fused(windows: Tensor, *, network: Callable[[Tensor, Tensor], Tensor], presence: Tensor) -> Tensor:
    """Probabilities (w, K, *roi) of windows (w, M, *roi)."""
    return network(windows, presence.expand(len(windows), -1)).softmax(1)


def _each(windows: Tensor, *, network: Backbone, subsets: Tensor) -> Tensor:
    """Probabilities (w, n * K, *roi) of windows (w, M, *roi) from n subsets."""
    features = network.encode(windows, subsets.any(0, keepdim=True))
    probabilities = []
    for some in subsets.split(_subsets_per_call(windows, len(subsets))):
        sample = torch.arange(len(windows)).repeat_interleave(len(some))
        logits = network.decode(features.select(sample), some.repeat(len(windows), 1)).logits
        probabilities.append(logits.softmax(1).unflatten(0, (len(windows), len(some))))
    return torch.cat(probabilities, 1).flatten(1, 2)


def _subsets_per_call(windows: Tensor, n_subsets: int) -> int:
    """How many subsets of windows (w, M, *roi) are decoded together."""
    if windows.device.type != "cpu":
        return n_subsets
    return max(1, VOXELS_PER_CALL // windows[:, 0].numel())


def _presence_of(image: Tensor) -> Tensor:
    presence = (image.flatten(2) != 0).any(2).cpu()
    return presence | ~presence.any(1, keepdim=True)


def _checked_presence(presence: Tensor, image: Tensor) -> Tensor:
    """Presence (B, M) on the CPU."""
    n_volumes, n_modalities = image.shape[:2]
    if presence.ndim != 2 or presence.shape[0] not in (1, n_volumes) or presence.shape[1] != n_modalities:
        raise ValueError(f"presence must have shape ({n_volumes}, {n_modalities}), got {tuple(presence.shape)}")
    presence = presence.cpu().bool().expand(n_volumes, -1)
    if not presence.any(1).all():
        raise ValueError(f"volume {int((~presence.any(1)).nonzero()[0])} has no modality; expected at least one")
    return presence


def _checked_subsets(subsets: Tensor, presence: Tensor) -> Tensor:
    """Subsets (n, M) on the CPU."""
    n_modalities = presence.shape[1]
    if subsets.ndim != 2 or subsets.shape[1] != n_modalities or len(subsets) == 0:
        raise ValueError(f"subsets must have shape (n, {n_modalities}), n at least 1, got {tuple(subsets.shape)}")
    subsets = subsets.cpu().bool()
    if not subsets.any(1).all():
        raise ValueError(f"subset {int((~subsets.any(1)).nonzero()[0])} has no modality; expected at least one")
    outside = (subsets[None] & ~presence[:, None]).any(2)
    if outside.any():
        volume, subset = outside.nonzero()[0].tolist()
        raise ValueError(f"subset {subset} names a modality that volume {volume} does not have")
    return subsets
