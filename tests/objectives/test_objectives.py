from math import log, sqrt

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from passion_components.backbones.base import MultiPathOutput, PathOutput
from passion_components.losses import MultiUniDistillationLoss, SegmentationLoss
from passion_components.losses.segmentation import target_masks
from passion_components.objectives import BaselineObjective, PassionObjective
from passion_components.preference import RelativePreference, relative_preference

NAMES = ("flair", "t1ce", "t1")
PRESENCE = torch.tensor([[1, 1, 0], [1, 1, 1]], dtype=torch.bool)


def passion(**changes) -> PassionObjective:
    """Eq. 14 with beta 1, 2, 4."""
    rates = {"flair": 0.0, "t1ce": 0.5, "t1": 0.75}
    return PassionObjective(preference=RelativePreference(modalities=NAMES, missing_rates=rates), **changes)


def every_objective() -> list:
    return [
        pytest.param(lambda: BaselineObjective(), id="baseline"),
        pytest.param(lambda: passion(), id="passion"),
        pytest.param(lambda: passion(pixel=False), id="semantic only"),
        pytest.param(lambda: passion(semantic=False), id="pixel only"),
        pytest.param(lambda: passion(distillation_warmup=1), id="warm-up"),
        pytest.param(lambda: passion(unimodal=True, temperature_squared=True, teacher_first=True), id="supervised"),
        pytest.param(lambda: passion(unimodal="neglected", semantic=False), id="neglected are supervised"),
    ]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("make_objective", every_objective())
class TestEveryObjective:
    def test_batch_is_the_mean_of_its_samples(self, make_objective, dims, make_paths, make_target):
        objective, target = make_objective(), make_target(2, dims=dims)
        batch = make_paths(PRESENCE, dims=dims)
        together = objective(batch, target, PRESENCE)
        alone = []
        for n, fused in enumerate(batch.fused.split(1)):
            pairs = batch.sample_index == n
            unimodal = batch.unimodal
            own = PathOutput(
                unimodal.logits[pairs], [(d[pairs], s) for d, s in unimodal.deep], unimodal.embedding[pairs]
            )
            zeros = torch.zeros_like(batch.sample_index[pairs])
            paths = MultiPathOutput(fused, own, zeros, batch.modality_index[pairs], None)
            alone.append(objective(paths, target[n : n + 1], PRESENCE[n : n + 1]))
        for name in together.keys() - {"distance"}:
            torch.testing.assert_close(together[name], (alone[0][name] + alone[1][name]) / 2)

    def test_order_of_pairs_is_irrelevant(self, make_objective, dims, make_paths, make_target, reorder):
        objective, target, order = make_objective(), make_target(2, dims=dims), torch.tensor([3, 0, 4, 2, 1])
        paths = make_paths(PRESENCE, dims=dims)
        straight, shuffled = objective(paths, target, PRESENCE), objective(reorder(paths, order), target, PRESENCE)
        torch.testing.assert_close(straight.pop("distance")[order], shuffled.pop("distance"))
        torch.testing.assert_close(straight, shuffled)

    def test_distance_is_always_given_and_terms_keep_no_graph(self, make_objective, dims, make_paths, make_target):
        paths, target = make_paths(PRESENCE, dims=dims), make_target(2, dims=dims)
        result = make_objective()(paths, target, PRESENCE)
        assert torch.equal(result["distance"], MultiUniDistillationLoss()(paths, target).distance)
        assert result["loss"].requires_grad and result["loss"].dtype == torch.float64 and result["loss"].ndim == 0
        assert not any(value.requires_grad for name, value in result.items() if name != "loss")

    def test_sample_with_one_modality_is_finite(self, make_objective, dims, make_paths, make_target):
        presence = torch.tensor([[False, True, False]])
        paths, target = make_paths(presence, dims=dims), make_target(1, dims=dims)
        paths.unimodal = paths.fused  # what a network without dropout gives
        result = make_objective()(paths, target, presence)
        result["loss"].backward()
        assert relative_preference(result["distance"], paths.sample_index, 1).tolist() == [0]
        assert result["loss"].isfinite() and paths.fused.logits.grad.isfinite().all()

    def test_nothing_waits_for_the_device(self, make_objective, dims):
        # fake tensors hold no values: whatever needs one to go on raises
        with FakeTensorMode(allow_non_fake_inputs=True):

            def decoding(n: int) -> PathOutput:
                def leaf(size: int) -> torch.Tensor:
                    return torch.empty(n, 2, *[size] * dims, requires_grad=True)

                return PathOutput(leaf(4), [(leaf(2), 2)], leaf(4))

            index = torch.empty(5, dtype=torch.long)
            target = torch.empty(2, 1, *[4] * dims, dtype=torch.uint8)
            result = make_objective()(MultiPathOutput(decoding(2), decoding(5), index, index, None), target, PRESENCE)
            result["loss"].backward()


class TestBaseline:
    def test_is_segmentation_plus_every_uni_modal_path(self, make_paths, make_target):
        paths, target = make_paths(PRESENCE), make_target(2)
        result, loss = BaselineObjective()(paths, target, PRESENCE), SegmentationLoss()
        segmentation = loss.deep_supervision(paths.fused, target_masks(target, paths.fused.logits))
        unimodal = loss(paths.unimodal.logits, target[paths.sample_index])
        torch.testing.assert_close(result["segmentation"], segmentation.sum().detach() / 2)
        torch.testing.assert_close(result["unimodal"], unimodal.sum().detach() / 2)
        torch.testing.assert_close(result["loss"], (segmentation.sum() + unimodal.sum()) / 2)

    def test_fixed_class_weights_act(self, make_paths, make_target):
        paths, target = make_paths(PRESENCE), make_target(2)
        with_weights = BaselineObjective(class_weights=[1, 3])(paths, target, PRESENCE)
        expected = SegmentationLoss(class_weights=[1, 3])(paths.unimodal.logits, target[paths.sample_index])
        torch.testing.assert_close(with_weights["unimodal"], expected.sum().detach() / 2)

    def test_never_moves_beta(self):
        assert not BaselineObjective().updates_preference


class TestPassionByHand:
    """Two voxels, two classes, t1ce equal to the fused path and t1 far from it."""

    @pytest.fixture
    def paths(self) -> MultiPathOutput:
        def row(*voxels: tuple[float, float]) -> torch.Tensor:
            return torch.tensor(voxels, dtype=torch.float64).t()[None, :, None]

        half, far = row((0.5, 0.5), (0.5, 0.5)).log() * 4, row((0.75, 0.25), (0.5, 0.5)).log() * 4
        axes, close = row((1, 0), (0, 1)), row((1, 0), (1, 1))
        unimodal = PathOutput(torch.cat([half, far]), [], torch.cat([axes, close]))
        return MultiPathOutput(
            PathOutput(half, [], axes), unimodal, torch.zeros(2, dtype=torch.long), torch.tensor([1, 2]), None
        )

    KL = (0.75 * log(1.5) + 0.25 * log(0.5)) / 2
    SEGMENTATION = log(2) / 2 + 0.5
    TARGET = torch.tensor([0, 1]).view(1, 1, 1, 2)
    HERE = torch.tensor([[False, True, True]])

    def test_total(self, paths):
        result = passion()(paths, self.TARGET, self.HERE)
        assert result["distance"].tolist() == pytest.approx([0, 1 / sqrt(2)])
        assert result["segmentation"].item() == pytest.approx(self.SEGMENTATION)
        assert result["pixel"].item() == pytest.approx(4 * self.KL)  # beta of t1
        assert result["semantic"].item() == pytest.approx(0.5)  # RP is 1 and -1
        assert result["loss"].item() == pytest.approx(self.SEGMENTATION + 0.5 * 4 * self.KL + 0.1 * 0.5)

    def test_beta_follows_its_update(self, paths):
        objective = passion()
        objective(paths, self.TARGET, self.HERE)
        objective.preference.update(torch.tensor([0.0, 0.0, -200.0]), torch.tensor([1, 1, 2]))
        assert objective(paths, self.TARGET, self.HERE)["pixel"].item() == pytest.approx(5 * self.KL)

    def test_preferred_modalities_get_no_semantic_term(self, paths):
        # now t1ce lies a little off, and stays preferred
        paths.unimodal.embedding = paths.unimodal.embedding.clone()
        paths.unimodal.embedding[0, 0, 0, 1] = 0.1
        with_delta, without = (passion(delta=on)(paths, self.TARGET, self.HERE) for on in (True, False))
        assert with_delta["semantic"].item() == pytest.approx(0.5)
        assert without["semantic"].item() == pytest.approx(0.5 + 0.1**2 / 1.01)

    def test_a_modality_at_the_balancing_point_gets_none_either(self, make_paths, make_target):
        presence = torch.tensor([[False, True, False]])
        result = passion()(make_paths(presence), make_target(1), presence)
        assert result["distance"].item() > 0 and result["semantic"].item() == 0


class TestSwitches:
    """Table 2 of the paper."""

    @pytest.mark.parametrize("off", [("pixel", "semantic"), ("pixel", "semantic", "delta", "beta")])
    def test_without_distillation_it_is_the_baseline(self, off, make_paths, make_target):
        paths, target = make_paths(PRESENCE), make_target(2)
        objective = passion(**dict.fromkeys(off, False))
        torch.testing.assert_close(objective(paths, target, PRESENCE), BaselineObjective()(paths, target, PRESENCE))
        assert not objective.updates_preference

    def test_zero_lambdas_leave_the_segmentation_term(self, make_paths, make_target):
        paths, target = make_paths(PRESENCE), make_target(2)
        result = passion(lambda1=0, lambda2=0)(paths, target, PRESENCE)
        assert torch.equal(result["loss"], BaselineObjective()(paths, target, PRESENCE)["segmentation"])

    def test_each_switch_removes_its_term_only(self, make_paths, make_target):
        paths, target = make_paths(PRESENCE), make_target(2)
        terms = MultiUniDistillationLoss()(paths, target)
        beta = torch.tensor([1.0, 2.0, 4.0])[paths.modality_index]
        delta = relative_preference(terms.distance, paths.sample_index, 2) < 0
        segmentation = BaselineObjective()(paths, target, PRESENCE)["segmentation"]
        pixel, semantic = 0.5 * beta * terms.pixel, 0.1 * delta * terms.semantic
        rows = {
            (): pixel + semantic,
            ("pixel",): semantic,
            ("semantic",): pixel,
            ("beta",): 0.5 * terms.pixel + semantic,
            ("delta",): pixel + 0.1 * terms.semantic,
            ("delta", "beta"): 0.5 * terms.pixel + 0.1 * terms.semantic,
        }
        for off, distillation in rows.items():
            result = passion(**dict.fromkeys(off, False))(paths, target, PRESENCE)
            torch.testing.assert_close(result["loss"], segmentation + distillation.sum() / 2)
            assert result.keys() == {"loss", "segmentation", "distance", "pixel", "semantic"} - set(off)

    def test_supervision_of_the_uni_modal_paths_is_added_to_the_rest(self, make_paths, make_target):
        output, target = make_paths(PRESENCE), make_target(2)
        plain, kept = (passion(unimodal=on)(output, target, PRESENCE) for on in (False, True))
        baseline = BaselineObjective()(output, target, PRESENCE)
        torch.testing.assert_close(kept["unimodal"], baseline["unimodal"])
        torch.testing.assert_close(kept["loss"], plain["loss"] + baseline["unimodal"])

    def test_supervision_can_be_kept_for_what_lies_further_from_the_fused_path_than_the_mean(
        self, make_paths, make_target
    ):
        output, target = make_paths(PRESENCE), make_target(2)
        result = passion(unimodal="neglected")(output, target, PRESENCE)
        per_pair = SegmentationLoss()(output.unimodal.logits, target[output.sample_index])
        total = 0.0
        for sample in (0, 1):
            pairs = output.sample_index == sample
            distance = result["distance"][pairs]
            total += per_pair[pairs][distance > distance.mean()].sum()
        assert 0 < total < per_pair.sum()
        torch.testing.assert_close(result["unimodal"], total.detach() / 2)
        plain = passion()(output, target, PRESENCE)
        torch.testing.assert_close(result["loss"], plain["loss"] + total / 2)

    def test_the_square_of_the_temperature_multiplies_the_pixel_term_alone(self, make_paths, make_target):
        output, target = make_paths(PRESENCE), make_target(2)
        plain, squared = (passion(temperature_squared=on)(output, target, PRESENCE) for on in (False, True))
        torch.testing.assert_close(squared["pixel"], 16 * plain["pixel"])
        torch.testing.assert_close(squared["loss"], plain["loss"] + 0.5 * 15 * plain["pixel"])

    def test_fused_path_learns_from_segmentation_alone(self, make_paths, make_target):
        target = make_target(2)
        grads = []
        for changes in ({}, {"lambda1": 0, "lambda2": 0}):
            paths = make_paths(PRESENCE)
            passion(**changes)(paths, target, PRESENCE)["loss"].backward()
            assert paths.fused.embedding.grad is None
            grads.append((paths.fused.logits.grad, paths.fused.deep[0][0].grad))
        torch.testing.assert_close(grads[0], grads[1])

    def test_beta_off_leaves_the_preference_alone(self):
        assert passion().updates_preference and not passion(beta=False).updates_preference


class TestWarmUp:
    def test_ends_after_its_last_epoch(self, make_paths, make_target):
        paths, target = make_paths(PRESENCE), make_target(2)
        objective = passion(distillation_warmup=2)
        for epoch, warm in ((1, True), (2, True), (3, False)):
            objective.set_epoch(epoch)
            expected = (BaselineObjective() if warm else passion())(paths, target, PRESENCE)
            torch.testing.assert_close(objective(paths, target, PRESENCE), expected)
            assert objective.updates_preference is not warm


@pytest.mark.parametrize("name", ["lambda1", "lambda2", "distillation_warmup"])
def test_negative_numbers_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must not be negative, got -1"):
        passion(**{name: -1})


def test_another_choice_of_supervision_is_refused():
    with pytest.raises(ValueError, match="unimodal must be True, False or 'neglected', got 'all'"):
        passion(unimodal="all")
