"""Class prototypes and what uni-modal paths make of them (Eq. 4-8)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from passion_components.backbones.base import MultiPathOutput, at_least_float32

NORM_EPSILON = 1e-5


def class_prototypes(features: Tensor, members: Tensor) -> Tensor:
    """Mean feature of every class's voxels, (N, K, C), 0 for a class without voxels (Eq. 4).

    Args:
        features: (N, C, V).
        members: one-hot target (N, K, V), of the same type.
    """
    return members @ features.transpose(1, 2) / members.sum(2, keepdim=True).clamp(min=1)


def similarity_maps(embedding: Tensor, masks: Tensor) -> Tensor:
    """Cosine of every voxel's feature with every class's prototype, the mean feature of that class (Eq. 4-6).

    Norms below 1e-5 count as 1e-5. A class without voxels has the prototype 0 and therefore the map 0.

    Args:
        embedding: (N, C, *S).
        masks: one-hot target (N, K, *S).

    Returns:
        (N, K, V) over the V voxels, at least float32, also under autocast.
    """
    with torch.autocast(embedding.device.type, enabled=False):
        features = at_least_float32(embedding).flatten(2)
        members = masks.to(features.dtype).flatten(2)
        prototypes = class_prototypes(features, members)
        # written out: torch's norm over a strided dimension takes several times as long, and this one is flat at 0
        inverse_norms = features.square().sum(1, keepdim=True).clamp(min=NORM_EPSILON**2).rsqrt()
        return functional.normalize(prototypes, dim=2, eps=NORM_EPSILON) @ features * inverse_norms


def semantic_gap(output: MultiPathOutput, masks: Tensor) -> tuple[Tensor, Tensor]:
    """How far each uni-modal path's similarity maps lie from those of its sample's teacher.

    The gradient of the first value reaches the uni-modal embedding and its prototypes, never the teacher.

    Args:
        output: the paths of B samples and P pairs.
        masks: one-hot target (B, K, *S).

    Returns:
        L_proto (Eq. 8), (P,): mean over voxels of the sum over classes of the squared difference.
        D (Eq. 7), (P,), without gradient: the same with the absolute difference.
    """
    difference = map_difference(output, masks)
    # the paper sums over voxels; a mean keeps lambda2 independent of the crop size
    return difference.square().sum(1).mean(1), difference.detach().abs().sum(1).mean(1)


@torch.no_grad()
def semantic_distance(output: MultiPathOutput, masks: Tensor) -> Tensor:
    """D of :func:`semantic_gap` alone, without any graph, for objectives that only log relative preference."""
    return map_difference(output, masks).abs().sum(1).mean(1)


def map_difference(output: MultiPathOutput, masks: Tensor) -> Tensor:
    """Similarity maps of the uni-modal paths minus those of their sample's teacher, (P, K, V).

    The gradient reaches the uni-modal embedding and its prototypes, never the teacher.
    """
    with torch.no_grad():
        teacher = similarity_maps(output.teacher.embedding, masks).index_select(0, output.sample_index)
    return similarity_maps(output.unimodal.embedding, masks.index_select(0, output.sample_index)) - teacher
