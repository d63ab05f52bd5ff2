"""Dice overlap of two masks."""

from __future__ import annotations

import numpy as np

from passion_components.metrics.empties import DEFAULT_POLICY, empty_policy


def dice(prediction: np.ndarray, target: np.ndarray, *, policy: str = DEFAULT_POLICY) -> float:
    """Dice coefficient 2 |A n B| / (|A| + |B|), in [0, 1].

    Args:
        prediction: bool, any number of dimensions.
        target: bool, of the same shape.
        policy: name of the rule for empty masks (``EMPTY_POLICIES``).

    Raises:
        ValueError: masks that are not bool or differ in shape, an unknown policy.
    """
    check_masks(prediction, target)
    rule = empty_policy(policy)
    by_rule = rule.scores(prediction_empty=not prediction.any(), target_empty=not target.any())
    return dice_of_voxels(prediction, target) if by_rule is None else by_rule["dice"]


def dice_of_voxels(prediction: np.ndarray, target: np.ndarray) -> float:
    """:func:`dice` of masks of which at least one has voxels."""
    shared = np.count_nonzero(prediction & target)
    return float(2 * shared / (np.count_nonzero(prediction) + np.count_nonzero(target)))


def check_masks(prediction: np.ndarray, target: np.ndarray) -> None:
    """Refuse what is not a pair of bool masks of one shape.

    Raises:
        ValueError: another dtype, or different shapes.
    """
    for name, mask in (("prediction", prediction), ("target", target)):
        if mask.dtype != np.bool_:
            raise ValueError(f"{name} must be a bool mask, got {mask.dtype}")
    if prediction.shape != target.shape:
        raise ValueError(f"prediction and target must have one shape, got {prediction.shape} and {target.shape}")
