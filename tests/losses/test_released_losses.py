"""Terms of the released code against arrays that it computed, with their gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch

from passion_components.backbones.base import MultiPathOutput, PathOutput
from passion_components.losses.prototype_classification import true_class_log_probabilities
from passion_components.losses.prototypes import map_difference
from passion_components.losses.released import (
    FLOOR,
    deep_weights,
    divergence,
    full_size_probabilities,
    segmentation_term,
    semantic_terms,
)
from passion_components.losses.segmentation import dice_loss, target_masks

ARRAYS = np.load(Path(__file__).parents[1] / "data" / "losses_published.npz")
TEMPERATURE = float(ARRAYS["temp"])
N_CLASSES = 4

every_case = pytest.mark.parametrize("case", ["allcls", "missing"])


def array(name):
    return torch.from_numpy(ARRAYS[name].astype(np.float64))


def masks(case):
    target = torch.from_numpy(ARRAYS[f"{case}/label"])[:, None]
    return target_masks(target, torch.zeros(len(target), N_CLASSES, *target.shape[2:], dtype=torch.float64))


def close(actual, name):
    expected = ARRAYS[name]
    np.testing.assert_allclose(
        actual.detach().numpy().reshape(expected.shape), expected, rtol=0, atol=1e-5 * np.abs(expected).max()
    )


@every_case
def test_segmentation_and_its_gradients(case):
    logits, one_hot = array(f"{case}/logit_s").requires_grad_(), masks(case)
    probabilities = logits.softmax(1)
    dice = dice_loss(probabilities, one_hot)
    cross_entropy = segmentation_term(probabilities, one_hot) - dice
    close(dice, f"{case}/out/dice")
    close(cross_entropy, f"{case}/out/wce")
    close(torch.autograd.grad(dice.sum(), logits, retain_graph=True)[0], f"{case}/grad/dice_logit_s")
    close(torch.autograd.grad(cross_entropy.sum(), logits)[0], f"{case}/grad/wce_logit_s")


@every_case
def test_deep_levels_are_enlarged_as_probabilities(case):
    path = PathOutput(array(f"{case}/logit_s"), [(array(f"{case}/logit_s_low"), 2)], torch.zeros(0))
    _, low = full_size_probabilities(path)
    dice = dice_loss(low, masks(case))
    close(dice, f"{case}/out/dice_up2")
    close(segmentation_term(low, masks(case)) - dice, f"{case}/out/wce_up2")
    assert deep_weights(path) == [1, 0.5]


@every_case
def test_divergence_and_its_gradient(case):
    student = PathOutput(array(f"{case}/logit_s").requires_grad_(), [(array(f"{case}/logit_s_low"), 2)], torch.zeros(0))
    teacher = PathOutput(array(f"{case}/logit_t"), [(array(f"{case}/logit_t_low"), 2)], torch.zeros(0))

    def level(number, temperature):
        of_both = (full_size_probabilities(path, temperature)[number] for path in (student, teacher))
        return divergence(*of_both, temperature)

    final = level(0, TEMPERATURE)
    close(final, f"{case}/out/kl")
    close(level(0, 1.0), f"{case}/out/kl_t1")
    close(level(1, TEMPERATURE), f"{case}/out/kl_up2")
    close(torch.autograd.grad(final.sum(), student.logits)[0], f"{case}/grad/kl_logit_s")


@every_case
def test_semantic_term_distance_and_gradient(case):
    student, one_hot = array(f"{case}/feature_s").requires_grad_(), masks(case)
    everywhere = (one_hot.flatten(2).sum(2) > 0).all(0).double()
    assert everywhere.sum() == (4 if case == "allcls" else 3)
    index, nothing = torch.arange(len(student)), torch.zeros(0)
    fused, alone = (PathOutput(nothing, [], x) for x in (array(f"{case}/feature_t"), student))
    difference = map_difference(MultiPathOutput(fused, alone, index, index, None), one_hot)
    term, distance = semantic_terms(difference, everywhere)
    close(term, f"{case}/out/proto")
    close(distance, f"{case}/out/proto_dist")
    assert not distance.requires_grad
    close(torch.autograd.grad(term.sum(), student)[0], f"{case}/grad/proto_feature_s")


def test_leftover_prototype_classification_and_its_gradient():
    features = array("allcls/feature_s").requires_grad_()
    p = true_class_log_probabilities(features, masks("allcls")).exp()
    loss = -p.clamp(min=FLOOR).log().mean()
    close(loss, "allcls/out/pmr")
    close(p.mean(), "allcls/out/pmr_mean_prob")
    close(torch.autograd.grad(loss, features)[0], "allcls/grad/pmr_feature_s")


def test_samples_that_share_no_class_have_no_semantic_term():
    difference = torch.ones(2, 3, 4, requires_grad=True)
    for value in semantic_terms(difference, torch.zeros(3)):
        assert value.tolist() == [0, 0]
    for value in semantic_terms(difference, torch.tensor([1.0, 0, 0])):
        assert value.tolist() == [1, 1]
