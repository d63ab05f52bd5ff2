from math import log

import numpy as np
import pytest
import torch

from passion_components.backbones.base import PathOutput
from passion_components.losses import SegmentationLoss
from passion_components.losses.segmentation import target_masks


@pytest.fixture
def target() -> torch.Tensor:
    """Two voxels, the first of class 0, the second of class 1."""
    return torch.tensor([0, 1]).view(1, 1, 1, 2)


@pytest.fixture
def logits() -> torch.Tensor:
    """Probabilities (3/4, 1/4) in the first voxel, (1/2, 1/2) in the second."""
    return torch.tensor([[0.75, 0.5], [0.25, 0.5]], dtype=torch.float64).log().view(1, 2, 1, 2)


class TestCrossEntropyPlusDice:
    def test_two_voxels_by_hand(self, logits, target):
        cross_entropy = (0.5 * -log(0.75) + 0.5 * -log(0.5)) / 2
        dice = 1 - (2 * 0.75 / (1.25 + 1) + 2 * 0.5 / (0.75 + 1)) / 2
        assert SegmentationLoss()(logits, target).item() == pytest.approx(cross_entropy + dice, abs=1e-6)

    def test_class_weight_is_one_minus_the_share_of_the_sample(self):
        target = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 1]]).view(2, 1, 2, 2)
        loss = SegmentationLoss()(torch.zeros(2, 2, 2, 2), target)
        dice = torch.tensor([1 - (3 / 5 + 1 / 3) / 2, 0.5])
        expected = torch.tensor([0.75 * 0.25 + 0.25 * 0.75, 0.5]) * log(2) + dice
        torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)

    def test_fixed_weights_replace_those_of_the_sample(self, logits, target):
        difference = SegmentationLoss(class_weights=[3, 2])(logits, target) - SegmentationLoss()(logits, target)
        assert difference.item() == pytest.approx((2.5 * -log(0.75) + 1.5 * -log(0.5)) / 2, abs=1e-6)

    def test_fixed_weights_follow_the_type_of_the_logits(self, logits, target):
        loss = SegmentationLoss(class_weights=[0.1, 0.7])
        assert loss(logits.float(), target).dtype == torch.float32
        assert loss(logits, target).item() == SegmentationLoss(class_weights=[0.1, 0.7])(logits, target).item()

    @pytest.mark.parametrize("kind", [torch.tensor, np.array])
    def test_fixed_weights_may_be_a_tensor_or_an_array(self, logits, target, kind):
        given = SegmentationLoss(class_weights=kind([3.0, 2.0]))
        assert given(logits, target).item() == SegmentationLoss(class_weights=[3, 2])(logits, target).item()
        assert given.class_weights == (3, 2)

    def test_a_crop_of_background_is_finite(self):
        logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
        loss = SegmentationLoss()(logits, torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
        loss.sum().backward()
        assert loss.isfinite().all() and logits.grad.isfinite().all() and logits.grad.abs().max() > 0

    def test_confident_mistakes_keep_their_gradient(self, target):
        logits = torch.tensor([[-50.0, 50.0], [50.0, -50.0]]).view(1, 2, 1, 2).requires_grad_()
        SegmentationLoss()(logits, target).sum().backward()
        torch.testing.assert_close(logits.grad[0, 0, 0], torch.tensor([-0.25, 0.25]))

    @pytest.mark.parametrize(
        ("given", "expected"),
        [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.bfloat16, torch.float32)],
    )
    def test_at_least_float32(self, logits, target, given, expected):
        assert SegmentationLoss()(logits.to(given), target).dtype == expected


class TestDeepSupervision:
    @pytest.mark.parametrize("dims", [2, 3])
    def test_levels_are_upsampled_to_the_corners_and_count_once_each(self, dims):
        # a ramp 0, 3 becomes 0, 1, 2, 3
        fine, coarse = torch.arange(4.0), torch.tensor([0.0, 3.0])
        shape = (-1, *[1] * (dims - 1))
        logits = torch.stack([fine.view(shape).expand([4] * dims), torch.zeros([4] * dims)])[None]
        deep = torch.stack([coarse.view(shape).expand([2] * dims), torch.zeros([2] * dims)])[None]
        target = torch.randint(0, 2, (1, 1, *[4] * dims), generator=torch.Generator().manual_seed(0))
        loss, masks = SegmentationLoss(), target_masks(target, logits)
        total = loss.deep_supervision(PathOutput(logits, [(deep, 2), (deep, 2)], logits), masks)
        torch.testing.assert_close(total, 3 * loss(logits, target))


class TestRefusals:
    @pytest.mark.parametrize(
        "target",
        [torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 2, dtype=torch.long), torch.zeros(2, 1, 1, 2, dtype=torch.long)],
    )
    def test_targets_that_do_not_fit(self, logits, target):
        with pytest.raises(ValueError, match=r"integers of shape \(1, 1, 1, 2\)"):
            SegmentationLoss()(logits, target)

    @pytest.mark.parametrize("weights", [[], [1, -1]])
    def test_weights_that_are_none(self, weights):
        with pytest.raises(ValueError, match="class_weights must be non-negative"):
            SegmentationLoss(class_weights=weights)

    def test_weights_for_another_number_of_classes(self, logits, target):
        with pytest.raises(ValueError, match="expected 2 class_weights, one per class, got 3"):
            SegmentationLoss(class_weights=[1, 1, 1])(logits, target)
