"""The terms of the released PASSION code, which differ from the paper's equations; one value per sample or pair.

Probabilities are clamped at 0.005 in every logarithm, deep levels are brought to full resolution as probabilities and
count 2^-j (j = 1 for the finest), and divergences are means over voxels and classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from passion_components.backbones.base import PathOutput, at_least_float32
from passion_components.losses.segmentation import dice_loss, weighted_cross_entropy

FLOOR = 0.005
COUNT_EPSILON = 1e-5
COSINE_EPSILON = 1e-5


def full_size_probabilities(path: PathOutput, temperature: float = 1.0) -> list[Tensor]:
    """Probabilities (N, K, *S) of the final logits and of every deep level, all at full resolution."""
    mode = {4: "bilinear", 5: "trilinear"}[path.logits.ndim]
    result = []
    for logits in (path.logits, *(deep for deep, _ in path.deep)):
        probabilities = (at_least_float32(logits) / temperature).softmax(1)
        if probabilities.shape != path.logits.shape:
            size = path.logits.shape[2:]
            probabilities = functional.interpolate(probabilities, size=size, mode=mode, align_corners=True)
        result.append(probabilities)
    return result


def segmentation_term(probabilities: Tensor, masks: Tensor) -> Tensor:
    """Class-weighted cross-entropy plus Dice, (N,), of probabilities and one-hot masks (N, K, *S)."""
    weights = 1 - masks.flatten(2).mean(2)
    return weighted_cross_entropy(probabilities.clamp(FLOOR, 1).log(), masks, weights) + dice_loss(probabilities, masks)


def divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """tau^2 times the mean over voxels and classes of q_t (log q_t - log q_s), (N,), of softened probabilities."""
    student, teacher = student.clamp(FLOOR, 1), teacher.clamp(FLOOR, 1)
    gap = teacher * (teacher.log() - student.log())
    return temperature**2 * gap.flatten(1).mean(1)


def deep_weights(path: PathOutput) -> list[float]:
    """1 for the final logits, 2^-j for deep level j."""
    return [2.0**-level for level in range(1 + len(path.deep))]


def semantic_terms(student: Tensor, teacher: Tensor, masks: Tensor, everywhere: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over voxels and used classes of the squared and of the absolute difference of similarity maps, each (N,).

    Args:
        student: features (N, C, *S), whose prototypes carry gradient.
        teacher: features (N, C, *S) without gradient.
        masks: one-hot target (N, K, *S).
        everywhere: (K,), 1 for the classes that every sample of the batch has, else 0: only these are used.
    """
    difference = (_maps(student, masks) - _maps(teacher, masks)).flatten(2).transpose(1, 2) * everywhere
    n_used = everywhere.sum()
    return difference.square().sum(2).mean(1) / n_used, difference.detach().abs().sum(2).mean(1) / n_used


def _maps(features: Tensor, masks: Tensor) -> Tensor:
    """Cosine (N, K, V) of features with class prototypes."""
    with torch.autocast(features.device.type, enabled=False):
        features = at_least_float32(features).flatten(2)
        members = masks.to(features.dtype).flatten(2)
        sums = members @ features.transpose(1, 2)
        prototypes = sums / (members.sum(2, keepdim=True) + COUNT_EPSILON)
        # each norm is held above eps by itself, as torch's cosine_similarity does
        directions = functional.normalize(features, dim=1, eps=COSINE_EPSILON)
        return functional.normalize(prototypes, dim=2, eps=COSINE_EPSILON) @ directions
