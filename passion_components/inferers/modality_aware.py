"""Sliding-window inference that settles once per volume which modalities are there."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer, sliding_window_inference
from monai.utils import ensure_tuple_rep
from torch import Tensor

from passion_components.backbones.base import Backbone
from passion_components.inferers.background import BackgroundOnce
from passion_components.inferers.mirrors import checked_mirror_axes, mirrored
from passion_components.inferers.windows import WINDOWS, fitted_windows

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
            the volume; smaller volumes are padded for the network and the result is cropped back.
        windows: ``"published"``, all of ``roi_size``, beyond the volume zeros; or ``"fitted"``, as large as
            :func:`fitted_windows` finds cheapest for the volume, beyond which its outermost voxels are repeated; or
            ``"fitted_slices"``, which are fitted where volumes are predicted slice by slice and else published.
        sw_batch_size: windows per call of the network.
        overlap: share of a window that its neighbour covers again, in [0, 1).
        mode: weights of the average: ``"constant"``, as published, or ``"gaussian"``, which trusts centres more.
        mirror_axes: axes of a window along which it is predicted mirrored as well; the probabilities are averaged. Each
            axis doubles the work.
        sw_device: where the windows are computed; by default where the input is.
        device: where the result is put together; by default where the input is.
        progress: show a bar.

    Raises:
        ValueError: ``sw_batch_size`` below 1, ``overlap`` outside [0, 1), an unknown ``mode`` or ``windows``, axes that
            a window does not have.
    """

    overlap: float

    def __init__(
        self,
        *,
        roi_size: Sequence[int] | int,
        windows: str = "published",
        sw_batch_size: int = 1,
        overlap: float = 0.5,
        mode: str = "constant",
        mirror_axes: Sequence[int] = (),
        sw_device: torch.device | str | None = None,
        device: torch.device | str | None = None,
        progress: bool = False,
    ) -> None:
        if sw_batch_size < 1:
            raise ValueError(f"sw_batch_size must be at least 1, got {sw_batch_size}")
        if isinstance(overlap, Sequence) or not 0 <= overlap < 1:
            raise ValueError(f"overlap must be one number in [0, 1), got {overlap}")
        if mode not in MODES:
            raise ValueError(f"blending must be one of {', '.join(MODES)}, got {mode!r}")
        if windows not in WINDOWS:
            raise ValueError(f"windows must be one of {', '.join(WINDOWS)}, got {windows!r}")
        super().__init__(roi_size, sw_batch_size, overlap, mode, sw_device=sw_device, device=device, progress=progress)
        self.windows = windows
        self.mirror_axes = checked_mirror_axes(mirror_axes, len(roi_size) if isinstance(roi_size, Sequence) else 3)

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
            TypeError: ``subsets`` or fitted windows for a network that is no Backbone.
        """
        image = inputs.as_tensor() if isinstance(inputs, MetaTensor) else inputs
        presence = _presence_of(image) if presence is None else _checked_presence(presence, image)
        predictors: list[Callable[[Tensor], Tensor]]
        if subsets is None:
            predictors = [partial(_fused, network=network, presence=row[None]) for row in presence]
        else:
            backbone = _backbone(network, "subsets")
            subsets = _checked_subsets(subsets, presence)
            predictors = [partial(_each, network=backbone, subsets=subsets)] * len(image)
        divisor = _backbone(network, "fitted windows").size_divisor if self.windows != "published" else 1
        volumes = [self._place(one, predictor, divisor) for one, predictor in zip(image, predictors, strict=True)]
        result = volumes[0] if len(volumes) == 1 else torch.cat(volumes)
        if subsets is not None:
            result = result.unflatten(1, (len(subsets), -1))
        return MetaTensor(result).copy_meta_from(inputs) if isinstance(inputs, MetaTensor) else result

    def _place(self, volume: Tensor, predictor: Callable[[Tensor], Tensor], divisor: int) -> Tensor:
        """As :meth:`_slide`; where a GPU is too small, results are put together on the CPU from then on."""
        try:
            return self._slide(volume, predictor, divisor)
        except torch.OutOfMemoryError:
            if self.device is not None and torch.device(self.device).type == "cpu":
                raise
        logger.warning("the GPU's memory does not suffice: windows are put together on the CPU (aggregate_on_cpu)")
        self.device = "cpu"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return self._slide(volume, predictor, divisor)

    def _slide(self, volume: Tensor, predictor: Callable[[Tensor], Tensor], divisor: int) -> Tensor:
        """Blended predictions (1, C, *S) of a volume (M, *S)."""
        by_slice = isinstance(self.roi_size, Sequence) and len(self.roi_size) == volume.ndim - 2
        images = volume.movedim(-1, 0) if by_slice else volume[None]
        roi_size, beyond = ensure_tuple_rep(self.roi_size, images.ndim - 2), "constant"
        if self.windows == "fitted" or (self.windows == "fitted_slices" and by_slice):
            roi_size = fitted_windows(images.shape[2:], roi_size, overlap=self.overlap, divisor=divisor)
            beyond = "replicate"
        blended = sliding_window_inference(
            images,
            roi_size,
            self.sw_batch_size,
            BackgroundOnce(mirrored(predictor, self.mirror_axes)),
            self.overlap,
            self.mode,
            padding_mode=beyond,
            sw_device=self.sw_device,
            device=self.device,
            progress=self.progress,
        )
        assert isinstance(blended, Tensor)
        return blended.movedim(0, -1)[None] if by_slice else blended


def _backbone(network: Callable[[Tensor, Tensor], Tensor], purpose: str) -> Backbone:
    """The network, if it is one that encodes, decodes and tells its sizes.

    Raises:
        TypeError: it is another one.
    """
    if not isinstance(network, Backbone):
        raise TypeError(f"{purpose} need a Backbone, got {type(network).__name__}")
    return network


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
