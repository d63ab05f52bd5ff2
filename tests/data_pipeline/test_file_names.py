from pathlib import Path

import pytest

from passion_components.data.file_names import read_file_name, read_name
from passion_components.datasets import BRATS2020, MYOPS2020


class TestOneReader:
    @pytest.mark.parametrize(
        ("name", "key", "beginning"),
        [
            ("P_T2_FLAIR", "flair", "P"),
            ("P_T1_Gd", "t1ce", "P"),
            ("P_T1-Gd", "t1ce", "P"),
            ("P_T1_CE", "t1ce", "P"),
            ("P_T1C+", "t1ce", "P"),
            ("P_T1+C", "t1ce", "P"),
            ("P_T1w_post", "t1ce", "P"),
            ("P_post_T1", "t1ce", "P"),
            ("P_post_AX_T1", "t1ce", "P"),
            ("P_T1_post_contrast", "t1ce", "P"),
            ("P_t1_t1ce", "t1ce", "P"),
            ("sub-01_ses-1_ce-gadolinium_run-2_T1w", "t1ce", "sub-01_ses-1"),
            ("sub-01_ses-1_run-2_T1w", "t1", "sub-01_ses-1"),
            ("P_pre_contrast_T1", "t1", "P"),
            ("P_T1_no_contrast", "t1", "P"),
            ("P_post-op_t1", "t1", "P_post-op"),
            ("C_1_t1", "t1", "C_1"),
            ("Ax T1 post", "t1ce", ""),
            ("AX_T2", "t2", ""),
            ("P_seg", "label", "P"),
        ],
    )
    def test_sequence_and_case(self, name, key, beginning):
        read = read_name(name, BRATS2020)
        assert (read.key, read.beginning, read.problem) == (key, beginning, "")

    @pytest.mark.parametrize(
        ("name", "problem"),
        [
            ("AX_T1_FLAIR", "names flair and t1"),
            ("P_t1_mask", "names t1 and a label map"),
            ("P_flair_seg", "names flair and a label map"),
            ("P_pre_T1_post", "says both with and without contrast"),
            ("P_t1_brain", "names t1, but ends in another word"),
            ("P_Gd", "names no sequence"),
            ("P_lge", "lge is none of flair, t1ce, t1, t2"),
        ],
    )
    def test_what_is_not_clear_is_no_guess_and_looks_like_a_scan(self, name, problem):
        read = read_name(name, BRATS2020)
        assert read.key is None and read.problem == problem and read.has_sequence

    def test_gd_is_a_label_map_where_no_sequence_has_contrast(self):
        assert read_name("myops_training_101_gd", MYOPS2020).key == "label"

    def test_the_name_of_the_folder_is_the_case_not_a_sequence(self):
        read = read_file_name(Path("x-T1x_3/x-T1x_3_post-op_flair.nii"), BRATS2020)
        assert (read.key, read.beginning) == ("flair", "x-T1x_3_post-op")
