"""Classification of voxels by their distance to class prototypes, as prototypical modal rebalance needs it."""

from __future__ import annotations

import torch
from torch import Tensor

from passion_components.backbones.base import at_least_float32
from passion_components.losses.prototypes import class_prototypes


def true_class_log_probabilities(embedding: Tensor, masks: Tensor) -> Tensor:
    """log p of every voxel's true class, where p is the softmax over classes of minus the distance to the prototype.

    The prototype of a class is the mean feature of its voxels in the sample; classes without voxels take no part.

    Args:
        embedding: (N, C, *S).
        masks: one-hot target (N, K, *S).

    Returns:
        (N, V), at least float32, also under autocast.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        features = at_least_float32(embedding).flatten(2)
        members = masks.to(features.dtype).flatten(2)
        distance = torch.cdist(features.transpose(1, 2), class_prototypes(features, members))
        distance = distance.masked_fill(~members.any(2)[:, None], float("inf"))
        log_probabilities = (-distance).log_softmax(2)
        return log_probabilities.gather(2, members.argmax(1)[..., None])[..., 0]
