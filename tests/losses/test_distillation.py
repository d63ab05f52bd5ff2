from math import log, sqrt

import pytest
import torch

from passion_components.backbones.base import MultiPathOutput, PathOutput
from passion_components.losses import MultiUniDistillationLoss
from passion_components.losses.prototypes import semantic_distance, semantic_gap, similarity_maps
from passion_components.losses.segmentation import target_masks

# the first voxel of class 0, the second of class 1
TARGET = torch.tensor([0, 1]).view(1, 1, 1, 2)


def voxels(*values: tuple[float, ...], dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Channels of each voxel -> (1, C, 1, V)."""
    return torch.tensor(values, dtype=dtype).t()[None, :, None]


def paths(fused: PathOutput, unimodal: PathOutput) -> MultiPathOutput:
    """One sample whose pairs are the rows of ``unimodal``."""
    n = len(unimodal.logits)
    return MultiPathOutput(fused, unimodal, torch.zeros(n, dtype=torch.long), torch.arange(n), None)


def random_paths(dims: int, *, n_samples: int = 2, dtype: torch.dtype = torch.float64) -> MultiPathOutput:
    """Each sample with two modalities, leaves with gradient."""
    generator = torch.Generator().manual_seed(1)

    def decoding(n: int) -> PathOutput:
        def leaf(channels: int, size: int) -> torch.Tensor:
            return torch.randn(n, channels, *[size] * dims, generator=generator, dtype=dtype).requires_grad_()

        return PathOutput(leaf(3, 4), [(leaf(3, 2), 2)], leaf(5, 4))

    sample = torch.arange(n_samples).repeat_interleave(2)
    return MultiPathOutput(
        decoding(n_samples), decoding(2 * n_samples), sample, torch.arange(2).repeat(n_samples), None
    )


def random_target(dims: int, n_samples: int = 2) -> torch.Tensor:
    return torch.randint(0, 3, (n_samples, 1, *[4] * dims), generator=torch.Generator().manual_seed(2))


class TestPixelTerm:
    STUDENT = voxels((0.75, 0.25), (0.5, 0.5)).log()
    TEACHER = voxels((0.5, 0.5), (0.5, 0.5)).log()

    @pytest.mark.parametrize("temperature", [1.0, 4.0])
    def test_student_against_teacher_by_hand(self, temperature):
        embedding = torch.ones_like(self.STUDENT)
        fused = PathOutput(temperature * self.TEACHER, [], embedding)
        student = PathOutput(temperature * self.STUDENT, [], embedding)
        expected = (0.75 * log(1.5) + 0.25 * log(0.5)) / 2
        pixel = MultiUniDistillationLoss(temperature)(paths(fused, student), TARGET).pixel
        assert pixel.tolist() == pytest.approx([expected])

    def test_teacher_first_and_the_square_of_the_temperature_by_hand(self):
        embedding = torch.ones_like(self.STUDENT)
        output = paths(PathOutput(4 * self.TEACHER, [], embedding), PathOutput(4 * self.STUDENT, [], embedding))
        of_student, of_teacher = 0.75 * log(1.5) + 0.25 * log(0.5), 0.5 * log(0.5 / 0.75) + 0.5 * log(0.5 / 0.25)
        squared = MultiUniDistillationLoss(4.0, temperature_squared=True).pixel(output)
        assert squared.tolist() == pytest.approx([16 * of_student / 2])
        turned = MultiUniDistillationLoss(4.0, teacher_first=True).pixel(output)
        assert turned.tolist() == pytest.approx([of_teacher / 2])

    def test_every_level_at_its_own_resolution(self):
        embedding, deep_student, deep_teacher = (
            torch.ones_like(self.STUDENT),
            self.STUDENT[..., :1],
            self.TEACHER[..., :1],
        )
        fused = PathOutput(self.TEACHER, [(deep_teacher, 2), (deep_teacher, 4)], embedding)
        student = PathOutput(self.STUDENT, [(deep_student, 2), (deep_student, 4)], embedding)
        at_the_voxel = 0.75 * log(1.5) + 0.25 * log(0.5)
        pixel = MultiUniDistillationLoss(temperature=1.0).pixel(paths(fused, student))
        assert pixel.tolist() == pytest.approx([at_the_voxel / 2 + 2 * at_the_voxel])

    def test_gradient_is_that_of_the_whole_divergence(self):
        fused = PathOutput(self.TEACHER, [], self.TEACHER)

        def pixel(student: torch.Tensor) -> torch.Tensor:
            return MultiUniDistillationLoss(temperature=2.0).pixel(paths(fused, PathOutput(student, [], student)))

        assert torch.autograd.gradcheck(pixel, self.STUDENT.clone().requires_grad_())


class TestSemanticTerm:
    TEACHER = voxels((1, 0), (0, 1))

    def test_two_voxels_by_hand(self):
        student = voxels((3, 0), (2, 2))  # one cosine in each voxel is 1 / sqrt 2 instead of 0
        output = paths(PathOutput(self.TEACHER, [], self.TEACHER), PathOutput(student, [], student))
        terms = MultiUniDistillationLoss()(output, TARGET)
        assert terms.semantic.tolist() == pytest.approx([0.5])
        assert terms.distance.tolist() == pytest.approx([1 / sqrt(2)])

    def test_prototype_is_the_mean_of_the_class(self):
        masks = target_masks(torch.tensor([0, 0, 1]).view(1, 1, 1, 3), torch.zeros(1, 2, 1, 3))
        maps = similarity_maps(voxels((3, 0), (0, 4), (0, 1)), masks)
        assert maps[0].tolist() == [pytest.approx([0.6, 0.8, 0.8]), pytest.approx([0, 1, 1])]

    def test_class_without_voxels_adds_nothing(self):
        output = paths(PathOutput(self.TEACHER, [], self.TEACHER), PathOutput(self.TEACHER, [], voxels((3, 0), (2, 2))))
        two = semantic_gap(output, target_masks(TARGET, torch.zeros(1, 2, 1, 2)))
        four = semantic_gap(output, target_masks(TARGET, torch.zeros(1, 4, 1, 2)))
        assert [t.tolist() for t in two] == [t.tolist() for t in four]

    def test_distance_alone_is_the_same_and_keeps_no_graph(self):
        output, target = random_paths(3), random_target(3)
        alone = semantic_distance(output, target_masks(target, output.fused.logits))
        assert torch.equal(alone, MultiUniDistillationLoss()(output, target).distance)
        assert not alone.requires_grad

    @pytest.mark.parametrize("fused", [True, False])
    def test_zero_embedding_is_finite(self, fused):
        output, target = random_paths(2), random_target(2)
        zero = torch.zeros_like((output.fused if fused else output.unimodal).embedding).requires_grad_()
        (output.fused if fused else output.unimodal).embedding = zero
        terms = MultiUniDistillationLoss()(output, target)
        (terms.semantic.sum() + terms.pixel.sum()).backward()
        assert terms.semantic.isfinite().all() and terms.distance.isfinite().all()
        assert output.unimodal.embedding.grad.isfinite().all()

    def test_crop_of_background_is_finite(self):
        output = random_paths(2)
        terms = MultiUniDistillationLoss()(output, torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
        terms.semantic.sum().backward()
        assert terms.semantic.isfinite().all() and (terms.distance > 0).all()
        assert output.unimodal.embedding.grad.isfinite().all()


@pytest.mark.parametrize("dims", [2, 3])
class TestAllTerms:
    def test_gradient_reaches_students_only(self, dims):
        output = random_paths(dims)
        terms = MultiUniDistillationLoss()(output, random_target(dims))
        (terms.pixel.sum() + terms.semantic.sum()).backward()
        for path, learns in ((output.unimodal, True), (output.fused, False)):
            for leaf in (path.logits, path.deep[0][0], path.embedding):
                assert (leaf.grad is not None and leaf.grad.abs().max() > 0) == learns
        assert not terms.distance.requires_grad

    def test_student_equal_to_teacher_costs_nothing(self, dims):
        output = random_paths(dims)
        fused, pairs = output.fused, output.sample_index
        output.unimodal = PathOutput(
            fused.logits[pairs], [(d[pairs], s) for d, s in fused.deep], fused.embedding[pairs]
        )
        terms = MultiUniDistillationLoss()(output, random_target(dims))
        assert torch.stack([terms.pixel, terms.semantic, terms.distance]).abs().max() < 1e-12

    def test_pairs_are_compared_with_their_own_sample(self, dims):
        output, target = random_paths(dims), random_target(dims)
        both = MultiUniDistillationLoss()(output, target)
        second = MultiPathOutput(
            output.fused.split(1)[1],
            output.unimodal.split(2)[1],
            torch.zeros(2, dtype=torch.long),
            torch.arange(2),
            None,
        )
        alone = MultiUniDistillationLoss()(second, target[1:])
        for name in ("pixel", "semantic", "distance"):
            torch.testing.assert_close(getattr(both, name)[2:], getattr(alone, name))

    def test_autocast_changes_nothing(self, dims):
        output, target = random_paths(dims, dtype=torch.float32), random_target(dims)
        full = MultiUniDistillationLoss()(output, target)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = MultiUniDistillationLoss()(output, target)
        for name in ("pixel", "semantic", "distance"):
            assert torch.equal(getattr(full, name), getattr(cast, name))

    @pytest.mark.parametrize(("given", "expected"), [(torch.float64, torch.float64), (torch.bfloat16, torch.float32)])
    def test_at_least_float32(self, dims, given, expected):
        terms = MultiUniDistillationLoss()(random_paths(dims, dtype=given), random_target(dims))
        assert {terms.pixel.dtype, terms.semantic.dtype, terms.distance.dtype} == {expected}


def test_temperature_of_zero_is_refused():
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        MultiUniDistillationLoss(temperature=0)
