"""Predictions back in the grid of the scan that they were made from, and into files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import CenterSpatialCrop, CropForeground, MapTransform, Orientation, SpatialPad, SpatialResample
from monai.utils import convert_to_tensor
from monai.utils.enums import TraceKeys
from torch import Tensor

from passion_components.data.outputs import IMAGE_MARK, check_replaceable
from passion_components.data.reading.image_files import is_nifti, split_index
from passion_components.data.reading.nifti import load_image, nifti_image
from passion_components.data.reading.volumes import read_volume
from passion_components.datasets import DatasetSpec
from passion_components.files import write_atomically
from passion_components.transforms.labels import to_file_codes

_INVERTERS = {
    "Orientation": Orientation(axcodes="RAS", labels=None),
    "SpatialResample": SpatialResample(),
    "CropForeground": CropForeground(),
    "CenterSpatialCrop": CenterSpatialCrop(roi_size=-1),
    "SpatialPad": SpatialPad(spatial_size=-1),
}
"""By the name under which MONAI records it, what undoes an operation; all parameters come from the record."""

_GEOMETRY_FIELDS = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


class RestoreLabelMapsd(MapTransform):
    """Probabilities (n, K, *S) of n predictions to label maps (n, *S_scan), class indices in the scan's own grid.

    Args:
        keys: entries with probabilities.
        image_key: the image that they were predicted from.
        probabilities: keep the restored probabilities too, float32 (n, K, *S_scan) under ``<key>_probabilities``.

    Raises:
        ValueError: when called: as :func:`restore_probabilities`.
    """

    def __init__(self, keys: KeysCollection, *, image_key: Hashable = "image", probabilities: bool = False) -> None:
        super().__init__(keys)
        self.image_key = image_key
        self.probabilities = probabilities

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        for key in self.key_iterator(out):
            image, predictions = out[self.image_key], out[key]
            if self.probabilities:
                restored = torch.stack([restore_probabilities(one, image).cpu() for one in predictions])
                out[f"{key}_probabilities"] = restored
                out[key] = torch.stack([label_map(one) for one in restored])
            else:
                out[key] = torch.stack([restore_label_map(one, image) for one in predictions])
        return out


def restore_label_map(probabilities: Tensor, image: MetaTensor) -> Tensor:
    """Class indices uint8 (*S_scan), on the CPU, of probabilities (K, *S); see :func:`restore_probabilities`."""
    return label_map(restore_probabilities(probabilities, image)).cpu()


def label_map(probabilities: Tensor) -> Tensor:
    """The most probable class uint8 (*S) of probabilities (K, *S), the first one where several are."""
    return probabilities.max(0).indices.to(torch.uint8)  # on the CPU argmax(0) takes five times as long


def restore_probabilities(probabilities: Tensor, image: MetaTensor) -> Tensor:
    """Undo on probabilities what the preprocessing has done to the geometry of an image.

    Flips, permutations, crops and pads are undone exactly, resampling by linear interpolation. What lay outside the
    crop is background with probability 1.

    MONAI's transforms undo each step; the loop is our own, since Invertd needs the very transforms that did them, and
    leaves no class any probability outside the crop.

    Args:
        probabilities: (K, *S), background first.
        image: (M, *S), with the operations that MONAI has recorded on it.

    Returns:
        (K, *S_scan) in float32, a plain tensor on the device of ``probabilities``.

    Raises:
        ValueError: an image without a record, with another size, or changed by an operation that cannot be undone.
    """
    if not isinstance(image, MetaTensor):
        raise ValueError(f"expected the image as a MetaTensor with its applied operations, got {type(image).__name__}")
    if probabilities.shape[1:] != image.shape[1:]:
        raise ValueError(
            f"probabilities {tuple(probabilities.shape[1:])} and image {tuple(image.shape[1:])} must have one size"
        )
    values = convert_to_tensor(probabilities.detach(), dtype=torch.float32, track_meta=False)
    inside = torch.ones_like(values[:1])
    restored = MetaTensor(
        torch.cat([values, inside]), affine=image.affine, applied_operations=_detached(image.applied_operations)
    )
    while restored.applied_operations:
        name = restored.applied_operations[-1][TraceKeys.CLASS_NAME]
        if name not in _INVERTERS:
            raise ValueError(f"cannot undo {name} on a prediction; accepted: {', '.join(_INVERTERS)}")
        restored = _INVERTERS[name].inverse(restored)
    values, inside = restored.as_tensor().split([len(probabilities), 1])
    values[0] += 1 - inside[0]
    return values


def _detached(operations: list[dict]) -> list[dict]:
    """Recorded operations that any instance of their class may undo, not only the one that did them."""
    operations = deepcopy(operations)
    for operation in operations:
        for record in (operation, operation[TraceKeys.EXTRA_INFO].get("pad_info", {})):
            record[TraceKeys.ID] = TraceKeys.NONE
    return operations


def write_label_map(
    path: Path | str,
    class_map: Tensor | np.ndarray,
    reference_file: Path | str,
    spec: DatasetSpec,
    scheme: str | None = None,
) -> None:
    """Write class indices (*S) as the codes of a label scheme, in the exact geometry of ``reference_file``.

    Raises:
        ValueError: a class map of another shape than the file's, or with an index that is no class.
        UserError: a file lies at ``path`` that this program did not write.
    """
    _write(path, to_file_codes(np.asarray(class_map), spec, scheme), reference_file)


def write_probabilities(path: Path | str, probabilities: Tensor | np.ndarray, reference_file: Path | str) -> None:
    """Write probabilities (K, *S) as a 4D file of float32 (*S, K), in the exact geometry of ``reference_file``.

    Raises:
        ValueError: probabilities of another shape than the file's.
        UserError: a file lies at ``path`` that this program did not write.
    """
    _write(path, np.moveaxis(np.asarray(probabilities, dtype=np.float32), 0, -1), reference_file)


def label_image(
    class_map: Tensor | np.ndarray, reference_file: Path | str, spec: DatasetSpec, scheme: str | None = None
) -> nib.Nifti1Image:
    """The image that :func:`write_label_map` writes, as it is read again."""
    image = _image(to_file_codes(np.asarray(class_map), spec, scheme), reference_file, what="the prediction")
    return nib.Nifti1Image.from_bytes(nib.Nifti1Image.from_image(image).to_bytes())


def _write(path: Path | str, array: np.ndarray, reference_file: Path | str) -> None:
    image = _image(array, reference_file, what=path)
    check_replaceable(path, IMAGE_MARK)
    write_atomically(path, partial(nib.save, image))


def _image(array: np.ndarray, reference_file: Path | str, *, what: Path | str) -> nib.Nifti1Pair:
    """NIfTI with the header's geometry where the reference is NIfTI too, else with its affine."""
    file, _ = split_index(reference_file)
    reference = load_image(file, case=file.name) if file.is_file() and is_nifti(file) else None
    if isinstance(reference, nib.Nifti1Pair):
        header = reference.header_class()
        for field in _GEOMETRY_FIELDS:
            header[field] = reference.header[field]
        header["descrip"] = IMAGE_MARK
        header.set_data_dtype(array.dtype)
        shape, image = (*reference.shape, 1)[:3], type(reference)(array, None, header)
    else:
        grid = read_volume(reference_file, case=file.name).grid
        shape, image = grid.shape, nifti_image(array, grid.affine, description=IMAGE_MARK)
    if array.shape[:3] != shape:
        raise ValueError(f"{what}: expected the shape of {reference_file}, {shape}, got {array.shape[:3]}")
    return image
