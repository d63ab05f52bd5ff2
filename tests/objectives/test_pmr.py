import numpy as np
import pytest
import torch

from passion_components.losses.prototype_classification import true_class_log_probabilities
from passion_components.objectives.baseline import BaselineObjective
from passion_components.objectives.pmr import PMRObjective, slowness


def test_two_voxels_of_two_classes_by_hand():
    embedding = torch.tensor([[[[0.0, 3.0]], [[0.0, 4.0]]]])  # features (0, 0) and (3, 4), each its class's prototype
    masks = torch.eye(2)[None, :, None]
    p = 1 / (1 + np.exp(-5.0))
    torch.testing.assert_close(
        true_class_log_probabilities(embedding, masks), torch.full((1, 2), np.log(p)), atol=1e-4, rtol=0
    )


def test_a_class_without_voxels_takes_no_part():
    embedding = torch.randn(1, 3, 2, 2)
    masks = torch.zeros(1, 3, 2, 2)
    masks[:, 1] = 1
    assert torch.equal(true_class_log_probabilities(embedding, masks), torch.zeros(1, 4))


def test_only_modalities_weaker_than_the_mean_are_slow():
    strength = torch.tensor([0.2, 0.6, 0.7, 0.01, 0.9])
    slow = slowness(strength, torch.tensor([0, 0, 1, 2, 2]), 3)
    assert slow.tolist() == pytest.approx([1, 0, 0, 1, 0])
    assert slowness(torch.tensor([0.3, 0.4]), torch.tensor([0, 0]), 1).tolist() == pytest.approx([0.35 / 0.3 - 1, 0])


class TestObjective:
    def test_is_the_baseline_plus_its_term(self, make_paths, make_target):
        output, target, presence = make_paths(torch.ones(2, 3, dtype=torch.bool)), make_target(2), torch.ones(2, 3)
        with_term = PMRObjective(lambda_pmr=0.3)(output, target, presence)
        without = BaselineObjective()(output, target, presence)
        torch.testing.assert_close(with_term["loss"], without["loss"] + 0.3 * with_term["prototypical"])
        assert with_term["prototypical"] > 0 and torch.equal(with_term["distance"], without["distance"])

    def test_pushes_slow_modalities_alone(self, make_paths, make_target):
        output, target = make_paths(torch.ones(1, 2, dtype=torch.bool)), make_target(1)
        terms = PMRObjective(lambda_pmr=1.0)(output, target, torch.ones(1, 2))
        terms["loss"].backward()
        pushed = output.unimodal.embedding.grad.flatten(1).abs().sum(1) > 0
        assert pushed.sum() == 1

    def test_a_negative_weight_is_refused(self):
        with pytest.raises(ValueError, match="lambda_pmr must not be negative, got -1"):
            PMRObjective(lambda_pmr=-1)
