"""Connected components of label maps."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import convert_to_dst_type
from scipy import ndimage


class RemoveSmallComponentsd(MapTransform):
    """Make background of what is small beside the largest connected component of the foreground.

    All classes but background count as one; voxels that touch by a face, an edge or a corner are connected. Components
    are compared with the largest one of the same map. MONAI's KeepLargestConnectedComponent needs scikit-image and
    keeps a number of components, not those above a share.

    Args:
        keys: entries with label maps (n, *S), background 0, on the CPU; the affine of a MetaTensor stays.
        min_share: components with fewer voxels than this share of the largest one go, 0 to 1; 0 keeps all.

    Raises:
        ValueError: another share.
    """

    def __init__(self, keys: KeysCollection, *, min_share: float) -> None:
        super().__init__(keys)
        check_min_share(min_share)
        self.min_share = min_share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        out = dict(data)
        if self.min_share > 0:
            for key in self.key_iterator(out):
                maps = [without_small_components(np.asarray(one), self.min_share) for one in out[key]]
                out[key], *_ = convert_to_dst_type(np.stack(maps), out[key])
        return out


def check_min_share(share: float) -> None:
    """Refuse what is no share.

    Raises:
        ValueError: what is no number from 0 to 1.
    """
    if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
        raise ValueError(f"expected a number from 0 (keep every component) to 1 (the largest one only), got {share!r}")


def without_small_components(class_map: np.ndarray, min_share: float) -> np.ndarray:
    """A copy of a class map (*S); see :class:`RemoveSmallComponentsd`."""
    everywhere = ndimage.generate_binary_structure(class_map.ndim, class_map.ndim)
    component, count = ndimage.label(class_map, everywhere)
    sizes = np.bincount(component.ravel(), minlength=count + 1)
    sizes[0] = 0  # background
    keep = sizes / sizes.max(initial=1) >= min_share
    return class_map * keep[component]
