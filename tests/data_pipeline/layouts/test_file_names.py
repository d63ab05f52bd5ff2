from pathlib import Path

import pytest

from passion_components.data.layouts.file_names import described_roles, read_file_name, read_name
from passion_components.datasets import BRATS2020, MYOPS2020, TCGA_LGG


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
            ("P_KM_T1", "t1ce", "P"),
            ("t1_mpr_sag_KM", "t1ce", ""),
            ("P_T1_AX_C", "t1ce", "P"),
            ("P_T1W_3D_TFE_+C", "t1ce", "P"),
            ("P_AX_T1_MPRAGE_GD", "t1ce", "P"),
            ("P_T1_w_o_contrast", "t1", "P"),
            ("P_T1_vor_KM", "t1", "P"),
            ("P_t1_tse_tra_nativ", "t1", "P"),
            ("P_post_radiation_T1", "t1", "P_post_radiation"),
            ("P_FLAIR_axial", "flair", "P"),
            ("P_T2_TSE", "t2", "P"),
            ("P_t2_tirm_tra_dark-fluid", "flair", "P"),
            ("KM_flair", "flair", "KM"),
            ("P_post_flair", "flair", "P"),
            ("pat_c_flair", "flair", "pat_c"),
            ("UCSF-PDGM-0004_tumor_segmentation", "label", "UCSF-PDGM-0004"),
            ("pat_p2_t1", "t1", "pat_p2"),
            ("sub-01_ce-dotarem_T1w", "t1ce", "sub-01"),
            ("sub-01_ce-none_T1w", "t1", "sub-01"),
            ("sub-01_acq-postGd_T1w", "t1ce", "sub-01"),
            ("sub-c_ses-post_T1w", "t1", "sub-c_ses-post"),
            ("sub-01_space-T1w_FLAIR", "flair", "sub-01"),
            ("P_AX_T1_20240131120000_5", "t1", "P_20240131120000"),
            ("t1_km_20240131120000_12a", "t1ce", "20240131120000"),
            ("P_T1_KM-", "t1", "P"),
            ("P_T1_Gd-_AX", "t1", "P"),
            ("P T1 -C", "t1", "P"),
            ("P_T1-C", "t1ce", "P"),
            ("P_T1_AX (+C)", "t1ce", "P"),
            ("P (no contrast) T1", "t1", "P"),
            ("P_[FLAIR]", "flair", "P"),
            ("P_T1_zonder_contrast", "t1", "P"),
            ("P_T1_sem_contraste", "t1", "P"),
            ("P_T1_con_gadolinio", "t1ce", "P"),
            ("P_T1_apre\u0300s_injection", "t1ce", "P"),
            ("P_增强_T1", "t1ce", "P"),
            ("CT1", "t1ce", ""),
            ("P_AX_T2_PROPELLER", "t2", "P"),
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
            ("pat_c_t1", "says C before T1, which may be contrast or of the case's name; write T1_C or T1"),
            ("P_SWI_T2", "names t2 and swi"),
            ("P_T2_GRE", "names t2 and gre"),
            ("t2_tirm_tra", "names t2 and tirm"),
            ("P_T1_sub_post", "names t1 and sub"),
            ("P_t2_to_flair", "names flair and t2"),
            ("P_T1_P2_axial", "names t1, but ends in another word"),
            ("P_lge", "lge is none of flair, t1ce, t1, t2"),
            ("P_T1_Gd_pre", "says both with and without contrast"),
            ("P_mask_t1", "names t1 and a label map"),
            ("ReMIND-001-SEG-tumor-MR-3D_AX_T1_postcontrast", "names t1ce and a label map"),
            ("sub-01_label-lesion_FLAIR", "names flair and a label map"),
        ],
    )
    def test_what_is_not_clear_is_no_guess_and_looks_like_a_scan(self, name, problem):
        read = read_name(name, BRATS2020)
        assert read.key is None and read.problem == problem and read.has_sequence

    def test_a_mask_of_the_brain_is_no_label_map(self):
        read = read_name("P_brain_mask", BRATS2020)
        assert (read.key, read.problem) == (None, "is a map of the brain")

    def test_gd_is_a_label_map_where_no_sequence_has_contrast(self):
        assert read_name("myops_training_101_gd", MYOPS2020).key == "label"

    def test_initials_that_are_a_word_of_contrast_are_no_label_map(self):
        read = read_name("gd_01_LGE", MYOPS2020)
        assert (read.key, read.beginning) == ("lge", "gd_01")

    @pytest.mark.parametrize("name", ["P_T2_FLAIR", "P_t2_space_flair", "P_t2_tirm_tra_dark-fluid", "P_AX_T2_FLAIR"])
    def test_t2_before_flair_is_flair_where_the_data_set_has_no_t2(self, name):
        read = read_name(name, TCGA_LGG)
        assert (read.key, read.beginning, read.problem) == ("flair", "P", "")

    def test_t2_aligned_to_flair_is_not_taken_for_flair(self):
        read = read_name("P_t2_to_flair", TCGA_LGG)
        assert (read.key, read.problem) == (None, "names flair and t2")

    def test_flair_with_a_technique_is_not_t2_where_the_data_set_has_no_flair(self):
        read = read_name("P_T2_FLAIR_AX", MYOPS2020)
        assert (read.key, read.problem) == (None, "flair is none of bssfp, lge, t2")

    def test_a_minus_counts_in_the_description_of_a_series_too(self):
        assert described_roles("t1_tse_tra KM-", BRATS2020) == ({"t1"}, False)
        assert described_roles("t1_tse_tra KM+", BRATS2020) == ({"t1ce"}, True)

    def test_the_name_of_the_folder_is_the_case_not_a_sequence(self):
        read = read_file_name(Path("x-T1x_3/x-T1x_3_post-op_flair.nii"), BRATS2020)
        assert (read.key, read.beginning) == ("flair", "x-T1x_3_post-op")
        read = read_file_name(Path("P1_post/P1_post_t1.nii"), BRATS2020)
        assert (read.key, read.beginning) == ("t1", "P1_post")
