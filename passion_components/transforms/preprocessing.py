"""From a case's files to a network's input, as a data set asks for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monai.transforms import CenterSpatialCropd, Compose, CropForegroundd, Orientationd, Spacingd

from passion_components.datasets import DatasetSpec
from passion_components.transforms.foreground import foreground_rule
from passion_components.transforms.normalise import NormalizeModalitiesd
from passion_components.transforms.pad import PadModalitiesd
from passion_components.transforms.register import loading
from passion_components.transforms.skull import WarnIfExtractedd, WarnIfNormalisedd, WarnUnlessExtractedd
from passion_components.transforms.slices import WarnUnlessAxiald

_KEYS = ("image", "target")


def preprocessing(
    spec: DatasetSpec,
    *,
    modalities: Sequence[str],
    spacing: Sequence[float],
    roi_size: Sequence[int],
    resample_to: str | None = None,
    register_to: str | None = None,
    allow_copies: bool = False,
) -> Compose:
    """What reads a case and brings it to a network's orientation, spacing and intensities.

    The configs of the bundles list the same steps for their own data sets.

    Args:
        spec: data set.
        modalities: names of the channels, in order.
        spacing: millimetres per voxel, one number per spatial dimension; slices stay where they are.
        roi_size: voxels of a window, one number per spatial dimension.
        resample_to: as of :class:`~passion_components.transforms.load.LoadModalitiesd`.
        register_to: sequence that the others are aligned to; None: they lie where their headers say.
        allow_copies: as of :class:`~passion_components.transforms.load.LoadModalitiesd`.
    """
    beyond = [-1] * (3 - spec.spatial_dims)
    window = [*roi_size, *beyond]
    steps: list[Callable] = [
        loading(
            modalities,
            foreground=spec.foreground,
            resample_to=resample_to,
            register_to=register_to,
            allow_copies=allow_copies,
        )
    ]
    if spec.orientation is not None:
        steps.append(Orientationd(_KEYS, axcodes=spec.orientation, labels=None, allow_missing_keys=True))
    steps += _warnings(spec, modalities)
    steps.append(Spacingd(_KEYS, pixdim=[*spacing, *beyond], mode=["bilinear", "nearest"], allow_missing_keys=True))
    if spec.crop_to_foreground:
        steps.append(
            CropForegroundd(
                _KEYS,
                source_key="image",
                select_fn=foreground_rule(spec.foreground),
                start_coord_key=None,
                end_coord_key=None,
                allow_missing_keys=True,
            )
        )
    if spec.central:
        steps.append(CenterSpatialCropd(_KEYS, roi_size=window, allow_missing_keys=True))
    steps.append(PadModalitiesd("image", spatial_size=window, foreground=spec.foreground))
    steps.append(NormalizeModalitiesd("image", foreground=spec.foreground))
    return Compose(steps)


def _warnings(spec: DatasetSpec, modalities: Sequence[str]) -> list[Callable]:
    """What says where a scan is not what the data set's are."""
    steps: list[Callable] = []
    if spec.axial_slices:
        steps.append(WarnUnlessAxiald())
    if spec.skull == "unexpected":
        steps.append(WarnUnlessExtractedd(modalities=modalities))
    if spec.skull == "expected":
        steps.append(WarnIfExtractedd(modalities=modalities))
    if spec.foreground == "nonzero":
        steps.append(WarnIfNormalisedd(modalities=modalities))
    return steps
