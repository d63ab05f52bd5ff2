import gzip
import hashlib
import json
import os
from dataclasses import replace
from functools import partial
from itertools import product

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.checks.facts import content_hash
from passion_components.data.checks.findings import Kind
from passion_components.data.checks.report import check_datalist
from passion_components.data.errors import UserError
from passion_components.data.phantoms.brain import draw_brain
from passion_components.datasets import BRATS2020, TCGA_LGG
from passion_components.transforms.foreground import has_contrast, nonzero

SIZE = (16, 16, 16)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
CONTRAST = partial(has_contrast, foreground=nonzero)


class Collection:
    """Drawn patients in a folder, sound until a test does something to them."""

    def __init__(self, folder):
        self.folder = folder
        self.parts = {"training": [], "validation": [], "test": []}
        for number, part in enumerate(("training", "training", "validation", "test"), 1):
            images, label = draw_brain(number, SIZE)
            entry = {"case": f"P{number}"}
            self.parts[part].append(entry)
            for key, array in {**images, "label": label}.items():
                entry[key] = self.write(f"P{number}_{key}.nii.gz", array)
        self.first, self.second = self.parts["training"]

    def write(self, name, array, affine=AFFINE):
        nib.save(nib.Nifti1Image(array, affine), self.folder / name)
        return name

    def path(self, entry, key):
        return self.folder / entry[key]

    def array(self, entry, key):
        return np.asanyarray(nib.load(self.path(entry, key), mmap=False).dataobj)

    def change(self, entry, key, change, affine=AFFINE):
        self.write(entry[key], change(self.array(entry, key)), affine)

    def report(self, spec=BRATS2020, jobs=1, contrast=CONTRAST, **options):
        path = self.folder / "datalist.json"
        path.write_text(json.dumps(self.parts))
        return check_datalist(path, spec, has_contrast=contrast, jobs=jobs, **options)

    def only_finding(self, spec=BRATS2020):
        """Kind, names of the cases and message of the one thing that is wrong."""
        report = self.report(spec)
        assert len(report.findings) == 1, [finding.message for finding in report.findings]
        finding = report.findings[0]
        assert "\n" not in finding.message
        return finding.kind, [case.name for case in finding.cases], finding.message


@pytest.fixture
def drawn(tmp_path):
    return Collection(tmp_path)


def end_process(_):
    os._exit(9)


def cut(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flip_a_bit(path):
    """Content of a checksum that belongs to other content: gzip of level 0 keeps the bytes as they are."""
    content = bytearray(gzip.compress(gzip.decompress(path.read_bytes()), compresslevel=0))
    content[-100] ^= 4
    path.write_bytes(content)


def decompress(path):
    path.write_bytes(gzip.decompress(path.read_bytes()))


def make_pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


def make_slices(path):
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8, 2), np.int16), AFFINE), path)


class TestFiles:
    def test_sound_cases_have_no_findings(self, drawn):
        report = drawn.report()
        assert not report.findings and [str(case) for case in report.cases] == [
            "training P1",
            "training P2",
            "validation P3",
            "test P4",
        ]

    @pytest.mark.parametrize(
        ("damage", "found"),
        [
            (lambda path: path.unlink(), "does not exist"),
            (cut, "cannot be read"),
            (flip_a_bit, "is damaged (CRC check failed"),
            (decompress, "it is not compressed although its name ends in .gz"),
            (make_pointer, "it is a Git LFS pointer, not the image: run git lfs pull"),
            (make_slices, "8 x 8 x 8 x 2 voxels; expected one 3D volume"),
            (lambda path: path.write_bytes(b""), "it is empty"),
        ],
        ids=["missing", "truncated", "flipped", "plain", "pointer", "4D", "empty"],
    )
    def test_a_file_that_cannot_be_used_is_one_error_and_the_others_are_read(self, drawn, damage, found):
        damage(drawn.path(drawn.first, "t1"))
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.UNREADABLE and cases == ["P1"]
        assert message.startswith(f"training P1: {drawn.path(drawn.first, 't1')} ") and found in message

    def test_a_compressed_file_may_not_be_named_nii(self, drawn):
        compressed = drawn.path(drawn.first, "t1")
        drawn.first["t1"] = "P1_t1.nii"
        compressed.rename(drawn.path(drawn.first, "t1"))
        assert "it is compressed although its name does not end in .gz" in drawn.only_finding()[2]

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_without_rights_is_an_error(self, drawn):
        drawn.path(drawn.first, "t1").chmod(0)
        assert "cannot be read (Permission denied)" in drawn.only_finding()[2]

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
    def test_values_that_are_not_finite_in_float32_are_counted(self, drawn, value):
        def spoil(array):
            array = array.astype(np.float64)
            array[8, 8, 6:9] = value
            return array

        drawn.change(drawn.second, "flair", spoil)
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.NON_FINITE and cases == ["P2"] and "P2_flair.nii.gz holds 3 NaN or infinite" in message

    def test_facts_of_a_file(self, drawn):
        array = np.zeros((4, 5, 6), np.int16)
        array[1, 2, 2:5] = -3, 7, 20
        drawn.first["t1"] = drawn.write("t1.nii", array, np.diag([-1.0, -1.0, 2.5, 1.0]))
        facts = drawn.report().as_json()["cases"][0]["files"]["t1"]
        path = drawn.path(drawn.first, "t1")
        assert facts["path"] == str(path) and facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert (facts["shape"], facts["spacing"], facts["axis_codes"]) == ([4, 5, 6], [1.0, 1.0, 2.5], "LPS")
        assert (facts["dtype"], facts["min"], facts["max"]) == ("int16", -3, 20)
        assert facts["zero_share"] == pytest.approx(1 - 3 / 120) and facts["non_finite"] == 0

    def test_the_hash_of_a_folder_is_that_of_its_files_in_order(self, tmp_path):
        for name, content in (("b", b"2"), ("a", b"1"), ("c/a", b"3")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        assert content_hash(tmp_path) == hashlib.sha256(b"123").hexdigest()


class TestGrids:
    @pytest.mark.parametrize("key", ["t2", "label"])
    def test_one_grid_per_case(self, drawn, key):
        drawn.change(drawn.first, key, lambda array: array[:, :, 1:])
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.GRIDS and cases == ["P1"] and f"P1_{key}.nii.gz 16 x 16 x 15 at" in message

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

    @pytest.mark.parametrize(("shift", "findings"), [(5e-4, 0), (5e-3, 1)])
    def test_origins_may_differ_by_a_thousandth(self, drawn, shift, findings):
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


class TestCopies:
    def test_a_sequence_filled_with_another_one_whatever_its_header(self, drawn):
        other_type = drawn.array(drawn.first, "flair").astype(np.float64)
        drawn.first["t1ce"] = drawn.write("filled.nii", other_type)
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.COPIED_SEQUENCE and kind.severity == "warning" and cases == ["P1"]
        assert "flair and t1ce hold the same voxels" in message

    def test_negative_zeros_are_zeros(self, drawn):
        array = drawn.array(drawn.first, "flair").astype(np.float32)
        drawn.first["t1ce"] = drawn.write("filled.nii", np.where(array == 0, np.float32(-0.0), array))
        assert drawn.only_finding()[0] is Kind.COPIED_SEQUENCE

    def test_a_label_map_listed_as_a_sequence_is_an_error(self, drawn):
        drawn.first["t1"] = drawn.first["label"]
        assert drawn.only_finding()[0] is Kind.LABEL_AS_SEQUENCE

    def test_a_file_of_another_case_of_the_part_is_a_warning(self, drawn):
        drawn.second["t1"] = drawn.first["t1"]
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.COPIED_CASE and kind.severity == "warning" and cases == ["P1", "P2"]
        assert "training P1, training P2: hold the same data: t1 (one file)" in message

    @pytest.mark.parametrize(
        ("how", "told"),
        [
            (lambda drawn: drawn.first["t2"], "t2 (one file)"),
            (lambda drawn: os.link(drawn.path(drawn.first, "t2"), drawn.folder / "x.nii.gz"), "t2 (equal files)"),
            (lambda drawn: drawn.write("x.nii.gz", drawn.array(drawn.first, "t2") + 0.0), "t2 (equal voxels)"),
        ],
        ids=["same path", "same bytes", "same voxels"],
    )
    def test_data_in_two_parts_is_an_error(self, drawn, how, told):
        drawn.parts["test"][0]["t2"] = how(drawn) or "x.nii.gz"
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.LEAK and kind.severity == "error" and cases == ["P1", "P4"] and told in message

    def test_a_patient_under_two_names_is_one_finding(self, drawn):
        drawn.parts["validation"].append({**drawn.first, "case": "Q"})
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.LEAK and cases == ["P1", "Q"] and message.count("(one file)") == 5

    def test_another_sequence_of_another_case_counts_as_well(self, drawn):
        drawn.parts["test"][0]["t2"] = drawn.first["t1"]
        assert "t1 = t2 (one file)" in drawn.only_finding()[2]

    def test_a_name_in_two_parts_is_an_error(self, drawn):
        drawn.parts["test"][0]["case"] = "P1"
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.NAME_IN_PARTS and cases == ["P1", "P1"] and "P1: is in training and in test" in message


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

    def test_brains_normalised_inside_are_brains(self, drawn):
        rng = np.random.default_rng(0)
        drawn.change(drawn.first, "t1", lambda array: np.where(array != 0, rng.normal(size=SIZE), 0))
        assert not drawn.report().findings

    def test_scans_of_a_data_set_with_background_are_no_finding(self, drawn):
        label = drawn.write("seg.nii", drawn.array(drawn.first, "label").clip(0, 1))
        images = {
            key: drawn.write(f"{key}.nii", head(drawn.array(drawn.first, key), 30, 30)) for key in TCGA_LGG.modalities
        }
        drawn.parts = {"training": [{"case": "S", **images, "label": label}]}
        assert not drawn.report(TCGA_LGG).findings


class TestReport:
    @pytest.fixture
    def spoiled(self, drawn):
        drawn.path(drawn.first, "t1").unlink()
        drawn.change(drawn.second, "t2", np.zeros_like)
        drawn.change(drawn.parts["test"][0], "label", lambda array: array + 5)
        return drawn

    def test_it_does_not_depend_on_the_number_of_jobs(self, spoiled):
        one, two = (json.dumps(spoiled.report(jobs=jobs).as_json()) for jobs in (1, 2))
        assert one == two

    def test_errors_come_before_warnings_and_are_counted(self, spoiled):
        report = spoiled.report()
        assert [finding.kind for finding in report.findings] == [Kind.UNREADABLE, Kind.LABEL_VALUES, Kind.CONSTANT]
        assert (report.count("error"), report.count("warning")) == (2, 1)

    def test_json_says_everything_without_numbers_that_json_has_not(self, spoiled):
        spoiled.change(spoiled.second, "t1", lambda array: np.full(SIZE, np.nan, np.float32))
        content = json.loads(json.dumps(spoiled.report().as_json(), allow_nan=False))
        assert (content["dataset"], content["errors"], content["warnings"]) == ("brats2020", 3, 1)
        first, second, third, fourth = content["cases"]
        assert first["findings"] == [content["findings"][0]["message"]] and third["findings"] == []
        assert "does not exist" in first["files"]["t1"]["problem"] and first["files"]["t1"]["sha256"] is None
        assert second["files"]["t1"]["min"] is None and second["files"]["t2"]["contrast"] is False
        assert fourth["files"]["label"]["label_values"][0] == 5
        assert content["findings"][0]["cases"] == [{"part": "training", "case": "P1"}]

    def test_progress_counts_files(self, drawn):
        seen = []
        drawn.report(progress=lambda done, total: seen.append((done, total)))
        assert seen == [(done, 20) for done in range(1, 21)]

    def test_a_reading_process_that_is_killed_is_told(self, drawn):
        with pytest.raises(UserError, match="ended from outside.*fewer --jobs"):
            drawn.report(jobs=2, contrast=end_process)

    def test_at_least_one_job(self, drawn):
        with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
            drawn.report(jobs=0)
