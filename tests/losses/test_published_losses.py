"""Our terms against arrays that the published losses computed, through the factors in which the two differ."""

from pathlib import Path

import numpy as np
import pytest
import torch

from passion_components.backbones.base import MultiPathOutput, PathOutput
from passion_components.losses import MultiUniDistillationLoss
from passion_components.losses.prototypes import semantic_gap
from passion_components.losses.segmentation import dice_loss, target_masks, weighted_cross_entropy

ARRAYS = np.load(Path(__file__).parents[1] / "data" / "losses_published.npz")
N_CLASSES = 4


def array(name: str) -> torch.Tensor:
    return torch.from_numpy(ARRAYS[name].astype(np.float64))


def masks(case: str) -> torch.Tensor:
    target = torch.from_numpy(ARRAYS[f"{case}/label"])[:, None]
    return target_masks(target, torch.zeros(len(target), N_CLASSES, *target.shape[2:], dtype=torch.float64))


def as_pairs(logits: tuple[torch.Tensor, torch.Tensor], features: tuple[torch.Tensor, torch.Tensor]) -> MultiPathOutput:
    """Student and teacher of every sample, one modality each."""
    (student, teacher), (feature_s, feature_t) = logits, features
    index = torch.arange(len(feature_s))
    return MultiPathOutput(PathOutput(teacher, [], feature_t), PathOutput(student, [], feature_s), index, index, None)


def test_dice():
    dice = dice_loss(array("allcls/logit_s").softmax(1), masks("allcls"))
    torch.testing.assert_close(dice, array("allcls/out/dice")[:, 0], atol=1e-8, rtol=0)


def test_cross_entropy_of_probabilities_clamped_at_their_floor():
    one_hot = masks("allcls")
    log_probabilities = array("allcls/logit_s").softmax(1).clamp(min=0.005).log()
    value = weighted_cross_entropy(log_probabilities, one_hot, 1 - one_hot.flatten(2).mean(2))
    torch.testing.assert_close(value, array("allcls/out/wce")[:, 0], atol=1e-6, rtol=0)


def test_pixel_term_with_the_roles_exchanged_the_square_of_the_temperature_and_a_mean_over_classes():
    feature, temperature = array("allcls/feature_s"), float(ARRAYS["temp"])
    output = as_pairs((array("allcls/logit_t"), array("allcls/logit_s")), (feature, feature))
    value = MultiUniDistillationLoss(temperature).pixel(output) * temperature**2 / N_CLASSES
    torch.testing.assert_close(value, array("allcls/out/kl")[:, 0], atol=1e-8, rtol=0)


@pytest.mark.parametrize(("case", "n_present"), [("allcls", 4), ("missing", 3)])
def test_semantic_term_and_distance_times_the_number_of_classes_present(case, n_present):
    last = slice(-1, None)  # the published terms leave out what any sample of the batch lacks; the last one lacks it
    feature = array(f"{case}/feature_s")[last]
    output = as_pairs((feature, feature), (feature, array(f"{case}/feature_t")[last]))
    semantic, distance = semantic_gap(output, masks(case)[last])
    torch.testing.assert_close(semantic, n_present * array(f"{case}/out/proto")[last, 0], atol=1e-6, rtol=0)
    torch.testing.assert_close(distance, n_present * array(f"{case}/out/proto_dist")[last, 0], atol=1e-6, rtol=0)


def test_gradient_of_the_semantic_term_runs_through_the_student_prototypes():
    feature = array("allcls/feature_s").requires_grad_()
    output = as_pairs((feature, feature), (feature, array("allcls/feature_t")))
    semantic_gap(output, masks("allcls"))[0].sum().backward()
    torch.testing.assert_close(feature.grad, N_CLASSES * array("allcls/grad/proto_feature_s"), atol=1e-8, rtol=0)
