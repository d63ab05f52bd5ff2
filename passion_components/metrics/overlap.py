"""Dice overlap of two masks."""

from __future__ import annotations

import numpy as np

from passion_components.metrics.empties import empty_policy


def dice(prediction: np.ndarray, target: np.ndarray, *, policy: str = "brats") -> float:
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
    n_prediction, n_target = np.count_nonzero(prediction), np.count_nonzero(target)
    by_rule = rule.score("dice", prediction_empty=n_prediction == 0, target_empty=n_target == 0)
    if by_rule is not None:
        return by_rule
    return float(2 * np.count_nonzero(prediction & target) / (n_prediction + n_target))


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
