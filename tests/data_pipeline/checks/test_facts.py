import gzip
import hashlib
import os

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.checks.findings import Kind

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


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
            (flip_a_bit, "cannot be read (CRC check failed"),
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

    def test_pointers_have_other_endings_as_well(self, drawn):
        drawn.first["t1"] = "P1_t1.nrrd"
        make_pointer(drawn.path(drawn.first, "t1"))
        assert "it is a Git LFS pointer, not the image: run git lfs pull" in drawn.only_finding()[2]

    def test_volumes_of_one_4d_file_are_sequences_of_their_own(self, drawn):
        keys = ("flair", "t1ce", "t1", "t2")
        drawn.write("stack.nii.gz", np.stack([drawn.array(drawn.first, key) for key in keys], 3))
        drawn.first.update({key: f"stack.nii.gz#{index}" for index, key in enumerate(keys)})
        report = drawn.report()
        assert not report.findings
        digest = hashlib.sha256((drawn.folder / "stack.nii.gz").read_bytes()).hexdigest()
        assert {report.cases[0].files[key].sha256 for key in keys} == {digest}

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

    def test_codes_written_as_bytes_with_a_scale_are_no_other_values(self, drawn):
        label = nib.Nifti1Image(drawn.array(drawn.first, "label").astype(np.float64), AFFINE)
        label.set_data_dtype(np.uint8)
        nib.save(label, drawn.path(drawn.first, "label"))
        assert drawn.array(drawn.first, "label").max() != 4
        report = drawn.report()
        assert not report.findings
        assert report.as_json()["cases"][0]["files"]["label"]["label_values"] == [0, 1, 2, 4]

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
