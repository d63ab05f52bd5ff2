"""Dice and HD95 of two masks, and what every metric says of itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from passion_components.metrics import METRICS, Metric, score_predictions
from passion_components.metrics.metric import check_policy
from passion_components.metrics.surface import bounding_box, eroded

dice, hd95 = METRICS["dice"], METRICS["hd95"]
PUBLISHED = Path(__file__).parents[1] / "data" / "metrics_published.npz"
REGIONS = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}


def cube(shape: tuple[int, ...], corner: tuple[int, ...], side: int) -> np.ndarray:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(start, start + side) for start in corner)] = True
    return mask


def brute_force_hd95(first: np.ndarray, second: np.ndarray, spacing: tuple[float, ...]) -> float:
    """The definition read literally, on the whole array."""

    def surface(mask: np.ndarray) -> np.ndarray:
        padded = np.pad(mask, 1)
        points = []
        for voxel in np.argwhere(padded):
            steps = [step * sign for step in np.eye(mask.ndim, dtype=int) for sign in (-1, 1)]
            if not all(padded[tuple(voxel + step)] for step in steps):
                points.append(voxel * np.array(spacing))
        return np.array(points)

    a, b = surface(first), surface(second)
    distances = np.linalg.norm(a[:, None] - b[None], axis=2)
    return float(np.percentile(np.concatenate([distances.min(1), distances.min(0)]), 95))


class TestDice:
    def test_identical_masks_score_one(self):
        mask = cube((6, 6, 6), (1, 2, 3), 2)
        assert dice(mask, mask) == 1.0

    def test_is_twice_the_overlap_over_both_sizes(self):
        # 8 and 27 voxels, of which 8 are shared
        assert dice(cube((6, 6, 6), (1, 1, 1), 2), cube((6, 6, 6), (1, 1, 1), 3)) == 16 / 35

    def test_labels_in_place_of_masks_are_refused(self):
        mask = cube((4, 4), (1, 1), 2)
        with pytest.raises(ValueError, match="prediction must be a bool mask, got int64"):
            dice(mask.astype(np.int64), mask)

    def test_different_shapes_are_refused(self):
        with pytest.raises(ValueError, match=r"one shape, got \(4, 4\) and \(1, 4\)"):
            dice(cube((4, 4), (1, 1), 2), cube((1, 4), (0, 1), 1))


class TestHd95:
    def test_identical_masks_are_zero_apart(self):
        mask = cube((6, 6, 6), (1, 2, 3), 3)
        assert hd95(mask, mask, (1, 1, 1)) == 0.0

    @pytest.mark.parametrize(("axis", "expected"), [(0, 0.5 * 6), (1, 1.0 * 6), (2, 2.5 * 6)])
    def test_a_shift_of_single_voxels_is_measured_in_millimetres_of_its_axis(self, axis, expected):
        there = [1, 1, 1]
        there[axis] += 6
        first, second = cube((9, 9, 9), (1, 1, 1), 1), cube((9, 9, 9), tuple(there), 1)
        assert hd95(first, second, (0.5, 1.0, 2.5)) == pytest.approx(expected)

    def test_separate_cubes_are_as_far_apart_as_their_faces(self):
        # Cubes of 3, shifted by 5 along an axis of 2 mm: each of 26 surface voxels is 6, 8 or 10 mm from the other
        # cube's nearest face; of all 52 distances 9 + 9 are 10, so the 95th percentile is 10.
        first, second = cube((4, 4, 10), (0, 0, 1), 3), cube((4, 4, 10), (0, 0, 6), 3)
        assert hd95(first, second, (1, 1, 2)) == pytest.approx(10.0)

    def test_percentile_is_that_of_both_directions_together(self):
        # The target is one pixel of the prediction's two: directed distances are 0, 3 and 0. Together their 95th
        # percentile is 2.7, the greater one of two percentiles would be 2.85.
        prediction = np.zeros((1, 8), dtype=bool)
        target = prediction.copy()
        prediction[0, [1, 4]], target[0, 1] = True, True
        assert hd95(prediction, target, (1, 1)) == pytest.approx(2.7)

    def test_the_border_of_the_array_is_surface(self):
        # A full array has its shell as surface; its centre is 1 voxel away from the shell, corners are sqrt(3) away.
        full, centre = np.ones((3, 3, 3), dtype=bool), cube((3, 3, 3), (1, 1, 1), 1)
        shell = [1.0] * 6 + [np.sqrt(2)] * 12 + [np.sqrt(3)] * 8
        assert hd95(full, centre, (1, 1, 1)) == pytest.approx(np.percentile([*shell, 1.0], 95))

    @pytest.mark.parametrize("voxels_per_lookup", [0, np.inf], ids=["tree", "distance map"])
    @pytest.mark.parametrize("seed", range(6))
    def test_equals_the_definition_on_random_masks(self, seed, voxels_per_lookup, monkeypatch):
        monkeypatch.setattr("passion_components.metrics.surface.VOXELS_PER_LOOKUP", voxels_per_lookup)
        generator = np.random.default_rng(seed)
        first, second = generator.random((2, 7, 6, 5)) < (0.05, 0.4, 0.85)[seed % 3]
        first[0, 0, 0] = second[6, 5, 4] = True
        spacing = tuple(generator.uniform(0.5, 3, size=3))
        assert hd95(first, second, spacing) == pytest.approx(brute_force_hd95(first, second, spacing), abs=1e-12)

    def test_position_in_the_array_does_not_matter(self):
        generator = np.random.default_rng(7)
        first, second = generator.random((2, 6, 6)) < 0.4
        alone = hd95(first, second, (1.0, 2.0))
        assert hd95(np.pad(first, ((4, 1), (0, 9))), np.pad(second, ((4, 1), (0, 9))), (1.0, 2.0)) == alone

    @pytest.mark.parametrize("spacing", [(1, 1), (1, 1, 0), (1, 1, float("nan"))])
    def test_a_spacing_that_does_not_fit_is_refused(self, spacing):
        mask = cube((4, 4, 4), (1, 1, 1), 2)
        with pytest.raises(ValueError, match="spacing must be 3 positive numbers of mm"):
            hd95(mask, mask, spacing)


class TestHd:
    def test_is_the_greatest_distance_where_hd95_is_a_percentile(self):
        # 41 distances, all 0 but for the one pixel that stands 3 mm from the target's last
        prediction, target = np.zeros((2, 1, 60), dtype=bool)
        prediction[0, :40:2], target[0, :40:2], prediction[0, 41] = True, True, True
        (scores,) = score_predictions(
            prediction[None].astype(int), target.astype(int), {"all": (1,)}, (1, 1), metrics=("hd", "hd95")
        )
        assert scores.values["all"] == {"hd": 3.0, "hd95": 0.0}


class TestEmptyMasks:
    @pytest.mark.parametrize(("policy", "distance"), [("brats", 373.13), ("published", 1.0)])
    def test_one_empty_mask_scores_the_worst_of_its_policy(self, policy, distance):
        mask = cube((4, 4, 4), (1, 1, 1), 2)
        for pair in ((mask, np.zeros_like(mask)), (np.zeros_like(mask), mask)):
            assert (dice(*pair, policy=policy), hd95(*pair, (1, 1, 1), policy=policy)) == (0.0, distance)

    @pytest.mark.parametrize("policy", ["brats", "published"])
    def test_two_empty_masks_agree(self, policy):
        none = np.zeros((4, 4, 4), dtype=bool)
        assert (dice(none, none, policy=policy), hd95(none, none, (1, 1, 1), policy=policy)) == (1.0, 0.0)

    @pytest.mark.parametrize("sides", [(0, 0), (0, 2), (2, 0)])
    def test_nan_gives_an_empty_mask_no_score(self, sides):
        pair = [cube((4, 4, 4), (1, 1, 1), side) for side in sides]
        assert np.isnan(dice(*pair, policy="nan")) and np.isnan(hd95(*pair, (1, 1, 1), policy="nan"))

    def test_nan_leaves_masks_with_voxels_alone(self):
        mask = cube((4, 4, 4), (1, 1, 1), 2)
        assert (dice(mask, mask, policy="nan"), hd95(mask, mask, (1, 1, 1), policy="nan")) == (1.0, 0.0)

    def test_a_metric_without_a_score_for_every_policy_is_refused(self):
        with pytest.raises(ValueError, match="own: expected a score for brats, published, got brats"):
            Metric(
                name="own",
                label="Own",
                unit="ml",
                more_is_better=False,
                value=lambda pair: 0.0,
                both_empty=0.0,
                one_empty={"brats": 0.0},
            )

    def test_brats_is_the_default(self):
        mask = cube((4, 4), (1, 1), 2)
        assert hd95(mask, np.zeros_like(mask), (1, 1)) == 373.13

    def test_an_unknown_policy_is_refused_with_the_accepted_ones(self):
        with pytest.raises(ValueError, match="'medpy'; accepted: brats, published, nan"):
            check_policy("medpy")


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_says_which_way_is_better(name):
    mask, metric = cube((4, 4, 4), (1, 1, 1), 2), METRICS[name]
    perfect, missed = (metric(mask, other, (1, 1, 1)) for other in (mask, np.zeros_like(mask)))
    assert (perfect > missed) is metric.more_is_better
    assert metric.greatest is None or metric.shown(perfect) == metric.greatest


def test_a_distance_without_a_spacing_is_refused():
    mask = cube((4, 4, 4), (1, 1, 1), 2)
    assert dice(mask, mask) == 1.0
    with pytest.raises(ValueError, match="spacing must be 3 positive numbers of mm"):
        hd95(mask, mask)


@pytest.mark.parametrize("density", [0.0, 0.02, 0.9, 1.0])
def test_box_and_erosion_are_those_of_scipy(density):
    mask = np.zeros((7, 6, 5), dtype=bool)
    mask[1:, :4, 2:] = np.random.default_rng(3).random((6, 4, 3)) < density
    boxes = ndimage.find_objects(mask.view(np.uint8))
    assert np.array_equal(mask[bounding_box(mask)], mask[boxes[0]] if boxes else np.zeros((0, 0, 0), bool))
    assert np.array_equal(eroded(mask), ndimage.binary_erosion(mask))


def test_scores_equal_those_of_the_published_evaluation():
    data = np.load(PUBLISHED)
    for case, name in enumerate(data["names"]):
        prediction, target = data["pred"][case], data["target"][case]
        for least, column_of in ({}, {"WT": 0, "TC": 1, "ET": 2}), ({"ET": 500}, {"WT": 0, "TC": 1, "ET": 3}):
            (scores,) = score_predictions(
                prediction[None], target, REGIONS, (1, 1, 1), policy="published", min_region_voxels=least
            )
            found = {
                (region, metric): scores.values[region][metric] for region in REGIONS for metric in ("dice", "hd95")
            }
            expected = {(region, metric): data[metric][case, column_of[region]] for region, metric in found}
            assert found == pytest.approx(expected, abs=1e-4), name
