from itertools import permutations, product

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import DataLoader, MetaTensor, decollate_batch
from monai.transforms import CenterSpatialCropd, Compose, CropForegroundd, Flip, Orientationd, Spacingd, SpatialPadd
from scipy.spatial.transform import Rotation

from passion_components.transforms.foreground import foreground_rule
from passion_components.transforms.load import LoadModalitiesd
from passion_components.transforms.normalise import NormalizeModalitiesd
from passion_components.transforms.restore import RestoreLabelMapsd, restore_label_map, restore_probabilities

N_CLASSES = 3
ORIENTATIONS = [(axes, flips) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]
BOX = (slice(3, 9), slice(2, 7), slice(4, 8))
"""Where the fixture ``brain`` has tissue."""
IN_PAD = (slice(1, 7), slice(1, 6), slice(2, 6))
"""Where that box lies after padding to 8 voxels a side."""


def preprocessing(*, spacing: tuple[float, ...] | None = None, pad: int = 8) -> Compose:
    """What bundles do to a scan of one sequence; without ``spacing`` there is no resampling."""
    steps = [LoadModalitiesd(["t1"]), Orientationd("image", axcodes="LPS", labels=None)]
    if spacing:
        steps.append(Spacingd("image", pixdim=spacing, mode="bilinear"))
    crop = CropForegroundd("image", source_key="image", select_fn=foreground_rule("nonzero"), allow_smaller=False)
    return Compose([*steps, crop, SpatialPadd("image", spatial_size=[pad] * 3), NormalizeModalitiesd()])


def oblique(*spacing: float) -> np.ndarray:
    """Affine of LPS axes, turned by about 20 degrees, with an origin that is not zero."""
    affine = np.eye(4)
    turn = Rotation.from_euler("xyz", [12, -17, 8], degrees=True).as_matrix()
    affine[:3, :3] = turn @ np.diag([-1, -1, 1]) @ np.diag(spacing)
    affine[:3, 3] = [31, -7, 12]
    return affine


def reoriented(array: np.ndarray, affine: np.ndarray, orientation: tuple) -> tuple[np.ndarray, np.ndarray]:
    """The same volume with its axes permuted and flipped, and the affine that belongs to it."""
    ornt = np.array(list(zip(*orientation, strict=True)), dtype=float)
    return nib.apply_orientation(array, ornt), affine @ nib.orientations.inv_ornt_aff(ornt, array.shape)


def random_probabilities(shape: torch.Size) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(N_CLASSES, *shape, generator=generator).softmax(0)


class TestWithoutResampling:
    def test_the_prediction_lies_where_the_crop_was_and_the_rest_is_background(self, save, brain):
        image = preprocessing()({"case": "P1", "t1": save("t1.nii.gz", brain)})["image"]
        probabilities = random_probabilities(image.shape[1:])
        expected = np.zeros(brain.shape, dtype=np.uint8)
        expected[BOX] = probabilities.argmax(0)[IN_PAD]
        restored = restore_label_map(probabilities, image)
        assert restored.dtype == torch.uint8 and np.array_equal(restored, expected)

    def test_any_orientation_gives_the_canonical_prediction_mapped_back_voxel_by_voxel(self, save, brain):
        affine, steps = oblique(0.9, 0.9, 1.5), preprocessing()
        canonical = steps({"case": "P1", "t1": save("canonical.nii", brain, affine)})["image"]
        probabilities = random_probabilities(canonical.shape[1:])
        label_map = restore_label_map(probabilities, canonical).numpy()
        assert len(np.unique(label_map)) == N_CLASSES
        for index, orientation in enumerate(ORIENTATIONS):
            path = save(f"{index}.nii", *reoriented(brain, affine, orientation))
            image = steps({"case": "P1", "t1": path})["image"]
            assert torch.equal(image.as_tensor(), canonical.as_tensor()), orientation
            expected, _ = reoriented(label_map, affine, orientation)
            assert np.array_equal(restore_label_map(probabilities, image), expected), orientation

    def test_outside_a_central_crop_is_background(self, save, brain):
        steps = Compose([LoadModalitiesd(["t1"]), CenterSpatialCropd("image", roi_size=(5, 4, -1))])
        image = steps({"case": "P1", "t1": save("t1.nii.gz", brain)})["image"]
        probabilities = random_probabilities(image.shape[1:])
        expected = np.zeros(brain.shape, dtype=np.uint8)
        corner = [size // 2 - length // 2 for size, length in zip(brain.shape, (5, 4), strict=False)]
        inside = tuple(slice(low, low + length) for low, length in zip(corner, (5, 4), strict=True))
        expected[inside] = probabilities.argmax(0)
        assert np.array_equal(restore_label_map(probabilities, image), expected)
        assert np.array_equal(image[0], brain[inside])

    def test_probabilities_are_moved_not_changed(self, save, brain):
        image = preprocessing()({"case": "P1", "t1": save("t1.nii.gz", brain)})["image"]
        probabilities = random_probabilities(image.shape[1:])
        restored = restore_probabilities(probabilities, image)
        assert torch.equal(restored[(slice(None), *BOX)], probabilities[(slice(None), *IN_PAD)])
        outside = torch.ones(brain.shape, dtype=torch.bool)
        outside[BOX] = False
        assert restored[:, outside].unique(dim=1).flatten().tolist() == [1.0, 0.0, 0.0]

    def test_the_padding_has_the_value_of_the_background(self, save, brain):
        brain[3:5, 2:4, 4:6] = 0
        image = preprocessing()({"case": "P1", "t1": save("t1.nii.gz", brain)})["image"][0].as_tensor()
        assert image[0, 0, 0] == image[1, 1, 2] != 0

    def test_input_and_record_are_left_alone(self, save, brain):
        image = preprocessing()({"case": "P1", "t1": save("t1.nii.gz", brain)})["image"]
        probabilities = random_probabilities(image.shape[1:])
        before = probabilities.clone()
        first, second = restore_label_map(probabilities, image), restore_label_map(probabilities, image)
        assert torch.equal(first, second) and torch.equal(probabilities, before)


class TestWithResampling:
    @pytest.mark.parametrize(
        "orientation", [((0, 1, 2), (1, 1, 1)), ((1, 2, 0), (-1, 1, -1)), ((2, 1, 0), (-1, -1, -1))]
    )
    def test_a_ramp_in_space_is_the_same_ramp_in_the_grid_of_the_scan(self, save, brain, orientation):
        array, affine = reoriented(brain, oblique(0.9, 0.8, 1.5), orientation)
        image = preprocessing(spacing=(1.0, 1.0, 1.0))({"case": "P1", "t1": save("t1.nii.gz", array, affine)})["image"]
        ramp = ramp_in_space(image.shape[1:], image.affine.numpy())
        restored = restore_probabilities(torch.stack([1 - ramp, ramp]), image)
        assert restored.shape == (2, *array.shape)
        expected = ramp_in_space(array.shape, affine)
        inner = torch.tensor(reoriented(eroded_box(brain.shape), affine, orientation)[0].copy())
        assert inner.sum() == 4 * 3 * 2 and torch.allclose(restored[1][inner], expected[inner], atol=1e-4)

    def test_probabilities_still_sum_to_one_and_far_outside_is_background(self, save, brain):
        path = save("t1.nii.gz", brain, oblique(0.9, 0.9, 1.5))
        image = preprocessing(spacing=(1.0, 1.0, 1.0))({"case": "P1", "t1": path})["image"]
        restored = restore_probabilities(random_probabilities(image.shape[1:]), image)
        assert torch.allclose(restored.sum(0), torch.ones(brain.shape), atol=1e-5)
        assert torch.allclose(restored[0, 0], torch.ones(brain.shape[1:]))

    def test_voxels_are_as_large_as_asked_for(self, save, brain):
        path = save("t1.nii.gz", brain, oblique(0.9, 0.9, 1.5))
        image = preprocessing(spacing=(1.0, 2.0, 0.5))({"case": "P1", "t1": path})["image"]
        assert np.allclose(image.pixdim, [1.0, 2.0, 0.5], atol=1e-6)


def ramp_in_space(shape: tuple[int, ...], affine: np.ndarray) -> torch.Tensor:
    """A linear function of the position in millimetres, between 0 and 1 near the brain."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    position = voxels @ affine[:3, :3].T + affine[:3, 3]
    return torch.from_numpy(0.5 + (position - [25, -10, 20]) @ [0.012, -0.008, 0.01]).float()


def eroded_box(shape: tuple[int, ...]) -> np.ndarray:
    inside = np.zeros(shape, dtype=bool)
    inside[tuple(slice(part.start + 1, part.stop - 1) for part in BOX)] = True
    return inside


class TestRestoreLabelMaps:
    @pytest.fixture
    def item(self, save, brain) -> dict:
        """A decollated case with two predictions, as an evaluator hands it on."""
        loaded = preprocessing()({"case": "P1", "t1": save("t1.nii.gz", brain)})
        batch = next(iter(DataLoader([loaded], batch_size=1)))
        first = random_probabilities(batch["image"].shape[2:])
        return decollate_batch({**batch, "pred": torch.stack([first, first.flip(0)])[None]})[0]

    def test_every_prediction_of_a_decollated_case_is_restored(self, item, brain):
        out = RestoreLabelMapsd("pred")(item)
        assert out["pred"].dtype == torch.uint8 and out["pred"].shape == (2, *brain.shape)
        inside = out["pred"][(slice(None), *BOX)]
        assert torch.equal(inside[0], 2 - inside[1])
        assert torch.equal(inside[0], item["pred"][0].argmax(0)[IN_PAD].to(torch.uint8))

    def test_probabilities_are_kept_on_request_only(self, item, brain):
        assert "pred_probabilities" not in RestoreLabelMapsd("pred")(item)
        out = RestoreLabelMapsd("pred", probabilities=True)(item)
        assert out["pred_probabilities"].shape == (2, N_CLASSES, *brain.shape)
        assert torch.equal(out["pred_probabilities"].argmax(1).to(torch.uint8), out["pred"])
        assert torch.equal(out["pred"], RestoreLabelMapsd("pred")(item)["pred"])


class TestRefusals:
    def test_an_image_without_record(self):
        with pytest.raises(ValueError, match="expected the image as a MetaTensor .* got Tensor"):
            restore_label_map(torch.ones(2, 4, 4, 4), torch.ones(1, 4, 4, 4))

    def test_another_size(self):
        with pytest.raises(ValueError, match=r"probabilities \(4, 4, 5\) and image \(4, 4, 4\)"):
            restore_label_map(torch.ones(2, 4, 4, 5), MetaTensor(torch.ones(1, 4, 4, 4)))

    def test_an_operation_that_is_not_known_here(self):
        image = Flip(spatial_axis=0)(MetaTensor(torch.ones(1, 4, 4, 4)))
        with pytest.raises(ValueError, match="cannot undo Flip on a prediction; accepted: Orientation, "):
            restore_label_map(torch.ones(2, 4, 4, 4), image)
