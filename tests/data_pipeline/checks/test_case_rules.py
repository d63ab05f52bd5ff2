from dataclasses import replace
from functools import partial
from itertools import product

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import zoom

from passion_components.data.checks.findings import Kind
from passion_components.data.phantoms.brain import draw_brain
from passion_components.datasets import BRATS2020, TCGA_LGG

SIZE = (16, 16, 16)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


class TestGrids:
    @pytest.mark.parametrize("key", ["t2", "label"])
    def test_one_grid_per_case(self, drawn, key):
        drawn.change(drawn.first, key, lambda array: array[:, :, 1:])
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.GRIDS and cases == ["P1"] and f"P1_{key}.nii.gz 16 x 16 x 15 at" in message

    def test_other_grids_are_no_error_where_a_run_resamples_them(self, drawn):
        drawn.change(drawn.first, "t2", lambda array: array[:, :, 1:])
        assert drawn.report(resample_to="t1").findings == ()
        del drawn.first["t1"]
        assert [finding.kind for finding in drawn.report(resample_to="t1").findings] == [Kind.GRIDS]
        with pytest.raises(ValueError, match="--resample-to dwi: accepted: flair, t1ce, t1, t2"):
            drawn.report(resample_to="dwi")

    def test_other_spacing_of_one_file_is_told_once(self, drawn):
        drawn.change(drawn.first, "flair", lambda array: array, np.diag([-1.0, -1.0, 2.0, 1.0]))
        kind, _, message = drawn.only_finding()
        assert kind is Kind.GRIDS and "P1_flair.nii.gz 16 x 16 x 16 at 1.00 x 1.00 x 2.00 mm" in message

    def test_spacing_is_compared_along_anatomical_axes(self, drawn):
        thick = replace(BRATS2020, spacing=(1.0, 1.0, 3.0))
        sagittal = np.zeros((4, 4))
        sagittal[2, 0], sagittal[0, 1], sagittal[1, 2], sagittal[3, 3] = 3, 1, 1, 1
        drawn.parts = {"training": [drawn.first]}
        for affine, findings in ((sagittal, 0), (np.diag([3.0, 1.0, 1.0, 1.0]), 1)):
            for key in ("flair", "t1ce", "t1", "t2", "label"):
                drawn.change(drawn.first, key, lambda array: array, affine)
            assert [finding.kind for finding in drawn.report(thick).findings] == [Kind.SPACING] * findings

    @pytest.mark.parametrize(("shift", "findings"), [(0.04, 0), (0.06, 1)])
    def test_origins_may_differ_by_a_twentieth(self, drawn, shift, findings):
        affine = AFFINE.copy()
        affine[0, 3] = shift
        drawn.change(drawn.first, "t2", lambda array: array, affine)
        assert len(drawn.report().findings) == findings

    @pytest.mark.parametrize(("spacing", "findings"), [(1.0005, 0), (1.01, 1)])
    def test_other_spacing_is_a_warning_in_3d_alone(self, drawn, spacing, findings):
        for key in ("flair", "t1ce", "t1", "t2", "label"):
            drawn.change(drawn.first, key, lambda array: array, np.diag([-1.0, -1.0, spacing, 1.0]))
        assert [finding.kind for finding in drawn.report().findings] == [Kind.SPACING] * findings
        slices = {"label": drawn.write("seg.nii", drawn.array(drawn.first, "label").clip(0, 1))}
        drawn.parts = {"training": [{"case": "S", "t1": drawn.first["t1"], **slices}]}
        drawn.change(drawn.parts["training"][0], "label", lambda array: array, np.diag([-1.0, -1.0, spacing, 1.0]))
        assert Kind.SPACING not in drawn.report(TCGA_LGG).by_kind()


class TestLabels:
    def test_unknown_values_are_named_with_case_and_file(self, drawn):
        drawn.change(drawn.first, "label", lambda array: np.where(array == 4, 3, array))
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.LABEL_VALUES and cases == ["P1"]
        assert "P1_label.nii.gz holds the labels 3; accepted: 0, 1, 2, 4" in message

    def test_the_scheme_of_the_datalist_decides(self, drawn):
        drawn.scheme = "brats2023"
        report = drawn.report()
        assert report.label_scheme == "brats2023"
        assert "holds the labels 4; accepted: 0, 1, 2, 3" in report.by_kind()[Kind.LABEL_VALUES][0].message
        drawn.scheme = "none"
        with pytest.raises(ValueError, match="datalist.json: unknown label scheme 'none' of brats2020; .*; correct"):
            drawn.report()

    def test_an_image_in_place_of_a_label_map(self, drawn):
        image = np.random.default_rng(0).normal(size=SIZE).astype(np.float32)
        drawn.change(drawn.first, "label", lambda _: image)
        report = drawn.report()
        assert list(report.by_kind()) == [Kind.LABEL_VALUES] and report.findings[0].message.count(",") < 20
        assert len(report.as_json()["cases"][0]["files"]["label"]["label_values"]) == 256

    def test_background_alone_is_a_warning_and_no_leak(self, drawn):
        for part in ("training", "test"):
            drawn.change(drawn.parts[part][0], "label", np.zeros_like)
        report = drawn.report()
        assert [finding.kind for finding in report.findings] == [Kind.EMPTY_LABEL] * 2 and report.count("error") == 0

    @pytest.mark.parametrize(
        ("part", "kind"),
        [("training", Kind.NO_LABEL), ("validation", Kind.NO_LABEL), ("test", Kind.NOT_SCORED)],
    )
    def test_cases_without_label_map(self, drawn, part, kind):
        del drawn.parts[part][0]["label"]
        assert drawn.only_finding()[0] is kind


class TestContrast:
    @pytest.mark.parametrize("value", [0, 7])
    def test_a_constant_sequence_is_a_warning(self, drawn, value):
        drawn.change(drawn.first, "t1", lambda array: np.full_like(array, value))
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.CONSTANT and cases == ["P1"] and "t1 counts as absent" in message

    def test_a_mask_in_the_place_of_a_scan_is_a_warning(self, drawn):
        drawn.change(drawn.first, "t1", lambda array: (2 * (array > 0) + (array > array.mean())).astype(np.int16))
        (found,) = drawn.report().by_kind()[Kind.FEW_VALUES]
        assert [case.name for case in found.cases] == ["P1"] and found.kind.severity == "warning"
        assert found.message.endswith(
            "P1_t1.nii.gz holds the values 0, 2, 3 alone, as a label map or mask; expected the "
            "scan: correct the path of t1"
        )

    def test_constant_sequences_alone_are_an_error(self, drawn):
        for key in ("flair", "t1ce"):
            drawn.change(drawn.first, key, np.zeros_like)
        for key in ("t1", "t2"):
            del drawn.first[key]
        kind, _, message = drawn.only_finding()
        assert kind is Kind.ALL_CONSTANT and "P1_flair.nii.gz" in message and "P1_t1ce.nii.gz" in message

    def test_a_sequence_that_no_training_case_has_is_an_error(self, drawn):
        for entry in drawn.parts["training"]:
            del entry["t1ce"]
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.NEVER_PRESENT and not cases and "no case has t1ce" in message

    def test_missing_rates_are_those_of_the_training_part(self, drawn):
        del drawn.second["t1ce"], drawn.parts["test"][0]["t2"]
        assert drawn.report().missing_rates == {"flair": 0.0, "t1ce": 0.5, "t1": 0.0, "t2": 0.0}

    def test_without_training_cases_there_are_no_rates(self, drawn):
        drawn.parts = {"test": drawn.parts["test"]}
        report = drawn.report()
        assert report.missing_rates == {} and not report.findings


def head(array, air, bone):
    """The brain of a phantom in a head: a shell of bone and one of skin around it, air outside."""
    distance = np.sqrt(sum(((axis + 0.5) / n * 2 - 1) ** 2 for axis, n in zip(np.indices(SIZE), SIZE, strict=True)))
    rng = np.random.default_rng(0)
    shells = np.select([distance < 1.0, distance < 1.1], [bone, 900], air)
    return np.where(array != 0, array, shells * rng.uniform(0.5, 1, SIZE)).astype(np.float32)


class TestBackground:
    def test_noise_around_the_head(self, drawn):
        drawn.change(drawn.first, "t1", partial(head, air=30, bone=30))
        kind, cases, message = drawn.only_finding()
        assert (
            kind is Kind.BACKGROUND
            and cases == ["P1"]
            and "the background is not 0 (voxels that are 0: t1 0%)" in message
        )

    def test_a_skull_in_air_that_is_0(self, drawn):
        drawn.change(drawn.first, "t1", partial(head, air=0, bone=30))
        kind, _, message = drawn.only_finding()
        assert kind is Kind.BACKGROUND and "looks as if the skull was not removed" in message and "t1 " in message

    def test_values_shifted_below_zero_with_the_background(self, drawn):
        drawn.change(drawn.first, "t1", lambda array: ((array - array.mean()) / array.std()).astype(np.float32))
        assert "the background is not 0" in drawn.only_finding()[2]

    def test_one_corner_is_enough(self, drawn):
        for number, corner in enumerate(product((0, -1), repeat=3)):
            array = draw_brain(10 + number, SIZE)[0]["t1"]
            array[corner] = 1
            drawn.parts["test"].append({"case": f"C{number}", "t1": drawn.write(f"C{number}.nii", array)})
        found = drawn.report().by_kind()[Kind.BACKGROUND]
        assert [finding.cases[0].name for finding in found] == [f"C{number}" for number in range(8)]

    def test_hardly_any_zeros_though_the_corners_are_0(self, drawn):
        full = np.random.default_rng(0).uniform(1, 2, SIZE).astype(np.float32)
        full[np.ix_(*[(0, -1)] * 3)] = 0
        drawn.change(drawn.first, "t1", lambda _: full)
        assert "the background is not 0 (voxels that are 0: t1 0%)" in drawn.only_finding()[2]

    def test_brains_normalised_inside_are_brains_but_no_scans(self, drawn):
        rng = np.random.default_rng(0)
        drawn.change(drawn.first, "t1", lambda array: np.where(array != 0, rng.normal(size=SIZE), 0))
        kind, _, message = drawn.only_finding()
        assert (
            kind is Kind.NORMALISED and "looks normalised or shifted already (voxels below 0: P1_t1.nii.gz 5" in message
        )

    @pytest.mark.parametrize("other", [{"foreground": "above_background"}, {"skull": None}])
    def test_data_sets_of_another_kind_may_have_a_background(self, drawn, other):
        drawn.change(drawn.first, "t1", partial(head, air=30, bone=30))
        assert not drawn.report(replace(BRATS2020, **other)).findings

    def test_brains_of_a_data_set_of_whole_heads_are_told_and_heads_are_not(self, drawn):
        heads = replace(BRATS2020, skull="expected")
        found = drawn.report(heads).findings
        assert "training P1: looks as if the skull was removed (flair, " in found[0].message and len(found) == 4
        for key in BRATS2020.modalities:
            drawn.change(drawn.first, key, partial(head, air=30, bone=30))
        assert [finding.cases[0].name for finding in drawn.report(heads).findings] == ["P2", "P3", "P4"]

    def test_scans_of_a_data_set_with_background_are_no_finding(self, drawn):
        label = drawn.write("seg.nii", drawn.array(drawn.first, "label").clip(0, 1))
        images = {
            key: drawn.write(f"{key}.nii", head(drawn.array(drawn.first, key), 30, 30)) for key in TCGA_LGG.modalities
        }
        drawn.parts = {"training": [{"case": "S", **images, "label": label}]}
        assert not drawn.report(TCGA_LGG).findings


def test_a_header_that_names_two_places_is_told(drawn):
    moved = AFFINE.copy()
    moved[0, 3] = 5
    image = nib.Nifti1Image(drawn.array(drawn.first, "t1"), AFFINE)
    image.set_sform(AFFINE, code=1)
    image.set_qform(moved, code=1)
    nib.save(image, drawn.path(drawn.first, "t1"))
    kind, cases, message = drawn.only_finding()
    assert (
        kind is Kind.DOUBTFUL_PLACE and cases == ["P1"] and "sform and its qform differ; the sform is used" in message
    )


def test_labels_are_read_by_the_scheme_that_the_datalist_names(drawn):
    for entries in drawn.parts.values():
        for entry in entries:
            drawn.change(entry, "label", lambda labels: np.where(labels == 4, 3, labels).astype(np.uint8))
    assert {finding.kind for finding in drawn.report().findings} == {Kind.LABEL_VALUES}
    drawn.parts["label_scheme"] = "brats2023"
    assert drawn.report().findings == ()


def test_volumes_of_one_4d_file_are_no_copies_of_each_other(drawn):
    first = drawn.first
    names = ("flair", "t1ce", "t1", "t2")
    drawn.write("all.nii.gz", np.stack([drawn.array(first, name) for name in names], -1))
    first |= {name: f"all.nii.gz#{index}" for index, name in enumerate(names)}
    assert drawn.report().findings == ()


class TestCodesOfAllCases:
    def test_codes_of_two_schemes_are_told_by_case(self, drawn):
        drawn.change(drawn.first, "label", lambda array: np.where(array == 4, 3, array))
        drawn.scheme = "brats2024"
        kind, _, message = drawn.only_finding()
        assert kind is Kind.MIXED_CODES and "3 in 1 case (training P1); 4 in 3 cases (training P2, " in message

    def test_a_region_that_no_label_map_holds(self, drawn):
        for entries in drawn.parts.values():
            for entry in entries:
                drawn.change(entry, "label", lambda array: np.where(array == 4, 1, array))
        kind, _, message = drawn.only_finding()
        assert kind is Kind.EMPTY_REGION and "ET is in none of 4" in message


@pytest.mark.parametrize("order", [1, 3])
def test_a_brain_resampled_by_splines_has_no_skull(drawn, order):
    for key in ("flair", "t1ce", "t1", "t2", "label"):
        of_key = 0 if key == "label" else order
        drawn.change(drawn.first, key, lambda array, of_key=of_key: zoom(array.astype(np.float32), 1.25, order=of_key))
    assert not any("skull" in finding.message for finding in drawn.report().findings)
