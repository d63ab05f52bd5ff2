"""Between the values of label files and class indices."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms import Transform

from passion_components.data.errors import CaseError
from passion_components.data.reading.volumes import read_label_map
from passion_components.datasets import DatasetSpec
from passion_components.transforms.geometry import with_geometry

_MAX_LISTED = 8


class LoadLabeld(Transform):
    """Read a label file as class indices: MetaTensor uint8 (1, *S), in place of the file's path.

    Values that are whole numbers but for rounding (3.9999 of a file with a scale) count as these.

    Args:
        key: entry that holds the path.
        to: entry that gets the classes.
        label_codes: value in the file -> class index; keys may be strings, as JSON has them.

    Raises:
        ValueError: no label codes.
        CaseError: when called: no label file; one that is damaged or not 3D; values that are no label codes.
    """

    def __init__(
        self, key: Hashable = "label", *, to: Hashable, label_codes: Mapping[int, int] | Mapping[str, int]
    ) -> None:
        if not label_codes:
            raise ValueError("label_codes must map at least one value to a class, got none")
        self.key = key
        self.to = to
        self.label_codes = dict(sorted((int(code), index) for code, index in label_codes.items()))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        case = str(out["case"])
        if self.key not in out:
            raise CaseError(f"{case}: has no {self.key!r} entry; expected the path of its label map")
        volume = read_label_map(out.pop(self.key), case=case)
        codes = np.array(list(self.label_codes))
        found, position = np.unique(volume.array, return_inverse=True)
        wrong = found[~np.isin(found, codes)]
        if len(wrong):
            listed = ", ".join(f"{value:g}" for value in wrong[:_MAX_LISTED].astype(float))
            more = f" and {len(wrong) - _MAX_LISTED} more values" if len(wrong) > _MAX_LISTED else ""
            raise CaseError(
                f"{case}: {volume.path} holds the labels {listed}{more}; accepted: {', '.join(map(str, codes))}; "
                f"recode the file, name the right one, or name its scheme with --label-scheme"
            )
        index_of = np.array([self.label_codes[int(code)] for code in found], dtype=np.uint8)
        classes = torch.from_numpy(index_of[position].reshape(1, *volume.array.shape))
        out[self.to] = with_geometry(classes, volume, case=case)
        return out


def to_file_codes(class_map: np.ndarray, spec: DatasetSpec, scheme: str | None = None) -> np.ndarray:
    """Class indices as values of label files, in the smallest of uint8, int16, int32 that holds all of the scheme.

    Raises:
        ValueError: an index that is no class, an unknown scheme.
    """
    codes = [spec.file_code(index, scheme) for index in range(len(spec.classes))]
    if class_map.size and not 0 <= class_map.min() <= class_map.max() < len(codes):
        raise ValueError(f"class indices of {spec.name} are 0 to {len(codes) - 1}, got up to {class_map.max()}")
    dtype = next(dtype for dtype in (np.uint8, np.int16, np.int32) if np.iinfo(dtype).max >= max(codes))
    return np.array(codes, dtype=dtype)[class_map]
