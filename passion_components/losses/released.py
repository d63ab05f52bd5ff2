"""The terms of the released PASSION code, which differ from the paper's equations; one value per sample or pair.

Probabilities are clamped at 0.005 in every logarithm, deep levels are brought to full resolution as probabilities and
count 2^-j (j = 1 for the finest), and divergences are means over voxels and classes.
"""

from __future__ import annotations

from torch import Tensor

from passion_components.backbones.base import PathOutput, at_least_float32
from passion_components.losses.segmentation import dice_loss, enlarged, weighted_cross_entropy

FLOOR = 0.005


def full_size_probabilities(path: PathOutput, temperature: float = 1.0) -> list[Tensor]:
    """Probabilities (N, K, *S) of the final logits and of every deep level, all at full resolution."""
    size = path.logits.shape[2:]
    result = []
    for logits in (path.logits, *(deep for deep, _ in path.deep)):
        probabilities = (at_least_float32(logits) / temperature).softmax(1)
        result.append(probabilities if probabilities.shape[2:] == size else enlarged(probabilities, size))
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


def semantic_terms(difference: Tensor, everywhere: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over voxels and used classes of the squared and of the absolute difference, each (P,), the latter detached.

    Args:
        difference: (P, K, V), of :func:`~passion_components.losses.prototypes.map_difference`.
        everywhere: (K,), 1 for the classes that every sample of the batch has, else 0: only these are used. Without
            any the means are 0.
    """
    used = difference * everywhere[:, None]
    n_used = everywhere.sum().clamp(min=1)
    return used.square().sum(1).mean(1) / n_used, used.detach().abs().sum(1).mean(1) / n_used
