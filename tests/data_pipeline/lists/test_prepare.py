import json
import re

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.prepare import find_cases, prepare_cases
from passion_components.data.outputs import IMAGE_MARK
from passion_components.data.reading.nifti import nifti_image
from passion_components.datasets import BRATS2020

from ..conftest import brats_case

SPLIT = {"training": 0.5, "test": 0.5}


def names(found):
    return [case["case"] for case in found.cases]


class TestNamedFiles:
    def test_every_sequence_has_its_own_file(self, make):
        root = make(*brats_case("A1"))
        expected = {key: str(root / f"A1/A1_{key}.nii.gz") for key in ("flair", "t1", "t1ce", "t2")}
        found = find_cases(root, BRATS2020)
        assert found.cases == [{"case": "A1", **expected, "label": str(root / "A1/A1_seg.nii.gz")}]
        assert found.notes == []

    def test_cases_at_any_depth_compressed_or_not_sorted_by_name(self, make):
        root = make(*brats_case("HGG/deep/B_2"), *brats_case("LGG/A_1", suffix=".NII"))
        found = find_cases(root, BRATS2020)
        assert names(found) == ["A_1", "B_2"] and found.notes == []

    def test_files_without_a_name_of_the_case_belong_to_their_folder(self, make):
        (case,) = find_cases(make("P1/T1.mha", "P1/seg.mha"), BRATS2020).cases
        assert case["case"] == "P1" and case["t1"].endswith("P1/T1.mha")

    def test_a_case_that_lacks_sequences_is_kept(self, make):
        found = find_cases(make(*brats_case("A", ("t1ce", "seg"))), BRATS2020)
        assert [sorted(case) for case in found.cases] == [["case", "label", "t1ce"]] and found.notes == []

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            (
                brats_case("B", ("t1", "t2")),
                r"B: no label map, expected <case>_\{seg,.*\}; left out",
            ),
            (brats_case("B", ("seg",)), "B: a label map without any sequence; left out"),
            ([*brats_case("B"), "B/B_t1.nii"], r"B: t1 is there 2 times \(.*B_t1.nii and .*B_t1.nii.gz\).*; left out"),
            (["B/B_dwi.nii"], "B_dwi.nii: names no sequence; expected for brats2020 .* flair, t1ce, t1, t2, seg"),
            (["B/W39_Segm.nii"], "W39: a label map without any sequence; left out"),
            ([*brats_case("B"), "B/W39_Segm.nii"], "W39: a label map without any sequence; left out"),
        ],
    )
    def test_what_is_not_understood_is_told_and_the_rest_is_done(self, make, files, message):
        found = find_cases(make(*brats_case("A"), *files), BRATS2020)
        assert names(found) in (["A"], ["A", "B"]) and len(found.notes) == 1
        assert re.search(message, found.notes[0])

    def test_a_label_of_another_name_is_given_to_the_only_case_in_its_folder(self, make):
        found = find_cases(make(*brats_case("B", ("t1", "t2")), "B/W39_1998.09.19_Segm.nii", "C/C_t1.nii"), BRATS2020)
        assert names(found) == ["B"] and found.cases[0]["label"].endswith("W39_1998.09.19_Segm.nii")
        assert re.search("Segm.nii: taken as the label map of B, the only case in its folder", found.notes[0])

    def test_a_prediction_is_no_label_map(self, make):
        """As after ``passion predict SCANS --out SCANS/out``."""
        root = make(*brats_case("A"), *brats_case("B", ("t1",)), "out/A/A_seg.nii.gz", "out/B/B_seg.nii.gz")
        for case in "AB":
            predicted = nifti_image(np.ones((2, 2, 2), np.uint8), np.eye(4), description=IMAGE_MARK)
            nib.save(predicted, root / f"out/{case}/{case}_seg.nii.gz")
        found = find_cases(root, BRATS2020)
        assert names(found) == ["A"] and found.cases[0]["label"] == str(root / "A/A_seg.nii.gz")
        assert sum("is a prediction of this program, not used as a label map" in note for note in found.notes) == 2

    def test_other_files_are_no_problem(self, make):
        root = make(*brats_case("A"), "name_mapping.csv", "A/.partial-1-A_t1.nii.gz")
        assert find_cases(root, BRATS2020).notes == []

    def test_nothing_found_tells_where_and_what(self, make, tmp_path):
        with pytest.raises(FileNotFoundError, match="none: no such folder; expected the folder of the brats2020 cases"):
            find_cases(tmp_path / "none", BRATS2020)
        with pytest.raises(FileNotFoundError, match="no complete case like .* first of 1 problems: .*x.nii: names no"):
            find_cases(make("x.nii"), BRATS2020)


class TestNumberedChannels:
    def describe(self, root, **content):
        (root / "dataset.json").write_text(json.dumps(content))

    def test_labelled_test_images_count_and_unlabelled_ones_do_not(self, make):
        root = make("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "imagesTs/b_0000.nii.gz")
        self.describe(root, channel_names={"0": "T1", "1": "DWI"})
        found = find_cases(root, BRATS2020)
        assert names(found) == ["a"] and "channel 1 is 'DWI', no sequence of brats2020; left out" in found.notes[0]
        make("labelsTs/b.nii.gz")
        assert names(find_cases(root, BRATS2020)) == ["a", "b"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("[", "dataset.json: is not valid JSON"),
            ("[]", "dataset.json: expected an object, got a list"),
            ("{}", "dataset.json: expected channel_names .* got None"),
            ('{"channel_names": {"0": "T1", "1": "t1n"}}', "expected every sequence once"),
            ('{"channel_names": {"0": "CT"}}', "expected every sequence once"),
        ],
    )
    def test_a_description_that_says_too_little_is_refused(self, make, content, message):
        root = make("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz")
        (root / "dataset.json").write_text(content)
        with pytest.raises(ValueError, match=message):
            find_cases(root, BRATS2020)


class TestPatterns:
    def test_a_case_is_what_the_last_part_with_a_star_says(self, make):
        root = make("x/P1_T1.nii.gz", "x/P2_T1.nii.gz", "flair/P1/f.mha", "x/P1_T1.json")
        found = find_cases(root, BRATS2020, ["T1=*_T1.nii.gz", "flair=flair/*/f.mha"])
        assert found.cases == [
            {"case": "P1", "flair": str(root / "flair/P1/f.mha"), "t1": str(root / "x/P1_T1.nii.gz")},
            {"case": "P2", "t1": str(root / "x/P2_T1.nii.gz")},
        ]

    def test_with_a_pattern_for_labels_every_case_needs_one(self, make):
        root = make("P1_T1.nii", "P1_lab.nii", "P2_T1.nii")
        found = find_cases(root, BRATS2020, ["t1=*_T1.nii", "label=*_lab.nii"])
        assert names(found) == ["P1"] and found.notes == ["P2: no label map, expected *_lab.nii; left out"]

    def test_what_matches_nothing_or_no_image_is_told(self, make):
        found = find_cases(make("P1_T1.nii", "P1.txt"), BRATS2020, ["t1=*_T1.nii", "t2=*.txt", "flair=*_F.nii"])
        assert names(found) == ["P1"] and len(found.notes) == 2
        notes = sorted(found.notes)
        assert "P1.txt: matches the pattern of t2 but is no image; accepted: .nii.gz" in notes[0]
        assert re.match("flair: no file in .* matches .*_F.nii", notes[1])

    @pytest.mark.parametrize(
        ("patterns", "message"),
        [
            (["t1"], "pattern 't1': expected name=pattern with a name among flair, t1ce"),
            (["flairs=*"], "did you mean flair"),
            (["t1=*.nii", "T1=*_b.nii"], "t1 has a pattern already"),
            (["t1=t1.nii"], r"expected a pattern below the folder with a \*"),
            (["t1=../*.nii"], "expected a pattern below the folder"),
            (["t1=/data/*.nii"], "expected a pattern below the folder"),
            (["label=*.nii"], "expected at least one of flair"),
        ],
    )
    def test_patterns_that_cannot_be_used_are_refused(self, make, patterns, message):
        with pytest.raises(ValueError, match=message):
            find_cases(make("t1.nii"), BRATS2020, patterns)


class TestTable:
    def write(self, root, *lines):
        (root / "cases.csv").write_text("\n".join(lines))
        return root / "cases.csv"

    def test_empty_cells_are_absent_sequences_and_parts_are_kept(self, make):
        root = make("a.nii", "b.nii")
        path = self.write(root, "case,t1,t2,part", "P2,b.nii,,test", f"P1,a.nii,{root / 'b.nii'}#3,training")
        done = prepare_cases(path, root / "out", BRATS2020, split=SPLIT, seed=0)
        assert done.parts["training"] == [{"case": "P1", "t1": str(root / "a.nii"), "t2": f"{root / 'b.nii'}#3"}]
        assert done.parts["test"] == [{"case": "P2", "t1": str(root / "b.nii")}]

    def test_a_file_that_is_not_there_leaves_its_case_out(self, make):
        found = find_cases(self.write(make("a.nii"), "case,t1", "P1,a.nii", "P2,none.nii"), BRATS2020)
        assert names(found) == ["P1"] and re.match("P2: .*none.nii does not exist; left out", found.notes[0])

    @pytest.mark.parametrize("absent", ["NA", "n/a", "NaN", "None", "-"])
    def test_cells_that_say_so_are_absent_sequences(self, make, absent):
        root = make("a.nii")
        found = find_cases(self.write(root, "case,t1,t2", f"P1,a.nii,{absent}"), BRATS2020)
        assert found.cases == [{"case": "P1", "t1": str(root / "a.nii")}] and found.notes == []

    def test_empty_lines_and_columns_count_for_nothing(self, make):
        root = make("a.nii")
        found = find_cases(self.write(root, ";;;", "case;t1;;", "P1;a.nii;;", ";;;"), BRATS2020)
        assert found.cases == [{"case": "P1", "t1": str(root / "a.nii")}]

    def test_columns_are_called_as_people_call_sequences_and_label_maps(self, make):
        root = make("a.nii", "b.nii", "c.nii")
        found = find_cases(self.write(root, "Case,T1 (post contrast),T1 KM-,Mask", "P1,a.nii,b.nii,c.nii"), BRATS2020)
        expected = {"t1ce": "a.nii", "t1": "b.nii", "label": "c.nii"}
        assert found.cases == [{"case": "P1", **{key: str(root / name) for key, name in expected.items()}}]

    def test_a_file_that_is_named_like_another_sequence_is_told(self, make):
        root = make("P1_t1.nii", "P1_flair.nii", "P1_seg.nii")
        found = find_cases(self.write(root, "case,t1,t2", "P1,P1_flair.nii,P1_seg.nii"), BRATS2020)
        assert found.notes == [
            f"P1: {root}/P1_flair.nii is in the column of t1, but its name says flair; used as t1",
            f"P1: {root}/P1_seg.nii is in the column of t2, but its name says label; used as t2",
        ]

    def test_a_row_without_any_sequence_is_left_out(self, make):
        found = find_cases(self.write(make("a.nii"), "case,t1,t2", "P1,a.nii,", "P2,,"), BRATS2020)
        assert names(found) == ["P1"] and found.notes == ["P2: no sequence; left out"]

    @pytest.mark.parametrize(
        ("lines", "message"),
        [
            (["case,t1,flare", "P,a,b"], r"unknown column 'flare' \(did you mean flair\?\); accepted: case, flair"),
            (["t1", "a"], "expected the columns case and flair"),
            (["case,label", "P,a"], "expected the columns case and flair"),
            (["case,t1,T1n", "P,a,b"], "each once"),
            (["case,t1,t1", "P,a,b"], "each once, got case, t1, t1"),
            (["case,t1", "P,a, b.nii"], "line 2 has 3 cells, but there are 2 columns; .* a cell that holds a ','"),
            ([",case,t1", "0,P,a"], "column 1 has no name; accepted: case"),
            (["case,t1", ",a.nii"], "line 2 has no case"),
            (["case,t1", 'P,"a.nii', "Q,a.nii"], r"is no valid CSV \(unexpected end of data\); is a quote opened"),
            (["case,t1", 'P,"a.nii', "Q" * 2**17], r"is no valid CSV \(field larger than field limit"),
            (["case,t1", "P,a.nii", "P,a.nii"], "line 3 has a case again: P"),
            (["case,t1,part", "P,a.nii,train"], "line 2 has the part 'train'; accepted: training"),
        ],
    )
    def test_other_tables_are_refused_by_line_and_column(self, make, lines, message):
        with pytest.raises(ValueError, match=message):
            find_cases(self.write(make("a.nii"), *lines), BRATS2020)


class TestParts:
    def source(self, make, *cases):
        return make(*(name for case in cases for name in brats_case(f"src/{case}")))

    def test_preparing_writes_a_datalist_once(self, make):
        root = self.source(make, "P0", "P1", "P2", "P3")
        done = prepare_cases(root / "src", root / "out", BRATS2020, split=SPLIT, seed=0)
        assert done.datalist == root / "out" / "datalist.json" and done.notes == []
        assert [len(part) for part in done.parts.values()] == [2, 0, 2]
        assert Datalist(done.datalist).parts(BRATS2020.modalities) == done.parts
        with pytest.raises(ValueError, match="exists already; remove it first"):
            prepare_cases(root / "src", root / "out", BRATS2020, split=SPLIT, seed=0)

    def test_scans_of_one_patient_stay_together(self, make):
        scans = [f"BraTS-GLI-{patient:05d}-{scan}" for patient in range(4) for scan in (100, 101)]
        root = self.source(make, *scans)
        for seed in range(4):
            done = prepare_cases(root / "src", root / str(seed), BRATS2020, split=SPLIT, seed=seed)
            patients = [{case["case"][:-4] for case in part} for part in done.parts.values()]
            assert [len(part) for part in patients] == [2, 0, 2] and not patients[0] & patients[2]

    def test_numbers_that_do_not_add_up_are_told_in_patients(self, make):
        root = self.source(make, "BraTS-GLI-00005-100", "BraTS-GLI-00005-101")
        with pytest.raises(ValueError, match="add up to 2, but there are 1 patients .*scans of one patient count once"):
            prepare_cases(root / "src", root / "out", BRATS2020, split={"training": 2}, seed=0)

    def test_lists_say_who_is_where_and_the_others_are_left_out(self, make, tmp_path):
        root = self.source(make, "P0", "P1", "P2")
        (tmp_path / "train.txt").write_text("P2\n\n")
        (tmp_path / "test.csv").write_text("P0,7\n")
        lists = {"training": tmp_path / "train.txt", "test": tmp_path / "test.csv"}
        done = prepare_cases(root / "src", root / "out", BRATS2020, split=SPLIT, seed=0, lists=lists)
        assert {part: [case["case"] for case in cases] for part, cases in done.parts.items()} == {
            "training": ["P2"],
            "validation": [],
            "test": ["P0"],
        }
        assert done.notes == ["P1: in no list; left out"]

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("P2\nP9", "'P9': no such case; did you mean P"),
            ("case", "'case': no such case; the cases are P0 and so on"),
            ("P0", "P0 is in"),
        ],
    )
    def test_a_case_listed_twice_or_not_there_is_refused(self, make, tmp_path, name, message):
        root = self.source(make, "P0", "P2")
        (tmp_path / "a.txt").write_text("P0")
        (tmp_path / "b.txt").write_text(name)
        lists = {"training": tmp_path / "a.txt", "test": tmp_path / "b.txt"}
        with pytest.raises(ValueError, match=message):
            prepare_cases(root / "src", root / "out", BRATS2020, split=SPLIT, seed=0, lists=lists)
        assert not (root / "out").exists()

    def test_lists_may_be_written_by_windows_and_other_encodings_are_told(self, make, tmp_path):
        root, path = self.source(make, "Müller", "P2"), tmp_path / "a.txt"
        path.write_text("Müller\r\nP2\r\n", encoding="utf-16")
        done = prepare_cases(root / "src", root / "out", BRATS2020, split=SPLIT, seed=0, lists={"test": path})
        assert [case["case"] for case in done.parts["test"]] == ["Müller", "P2"]
        path.write_text("Müller\r\n", encoding="latin-1")
        with pytest.raises(ValueError, match=r"a.txt: is not a text file in UTF-8; save it as that"):
            prepare_cases(root / "src", root / "new", BRATS2020, split=SPLIT, seed=0, lists={"test": path})

    def test_the_scheme_is_told_by_codes_that_are_rounded(self, make, tmp_path):
        root = make("src/P/P_t1.nii", "src/P/P_seg.nii")
        label = np.array([0, 1.00392163, 1.99215698, 4.00000024]).reshape(4, 1, 1)
        nib.save(nib.Nifti1Image(label, np.eye(4)), root / "src/P/P_seg.nii")
        done = prepare_cases(root / "src", tmp_path / "out", BRATS2020, split={"training": 1}, seed=0)
        assert (done.label_scheme, done.label_values) == ("brats2020", (0, 1, 2, 4))

    def test_an_unknown_label_scheme_is_refused_before_anything_is_read(self, make):
        with pytest.raises(
            ValueError, match="unknown label scheme 'brats' of brats2020; accepted: brats2020, brats2023"
        ):
            prepare_cases("none", "out", BRATS2020, split=SPLIT, seed=0, label_scheme="brats")


class TestFieldsInPatterns:
    def files(self, make):
        return make(
            "P1_AX_FLAIR_002.nii", "P1_AX_T1_005.nii", "P2_AX_FLAIR_003.nii", "P2_AX_T1_001.nii", "P3_AX_PD_1.nii"
        )

    def test_one_case_for_each_patient_and_leftovers_are_told(self, make):
        patterns = ["flair={case}_AX_FLAIR_*.nii", "t1={case}_AX_T1_*.nii"]
        found = find_cases(self.files(make), BRATS2020, patterns)
        assert [sorted(case) for case in found.cases] == [["case", "flair", "t1"]] * 2 and names(found) == ["P1", "P2"]
        assert found.notes == ["1 images match no pattern and are not used: P3_AX_PD_1.nii"]

    def test_two_stars_do_not_say_which_is_the_case(self, make):
        with pytest.raises(
            ValueError, match=r"which \* is the case\? write \{case\} for it, like \{case\}_AX_FLAIR_\*"
        ):
            find_cases(self.files(make), BRATS2020, ["flair=*_AX_FLAIR_*.nii"])

    @pytest.mark.parametrize("case", ["*", "{case}"])
    def test_letters_in_brackets_stand_for_one_of_them(self, make, case):
        root = make("P1_T1.nii", "P1_FLAIR.nii", "P2_t1.nii", "P3_x1.nii")
        found = find_cases(root, BRATS2020, [f"t1={case}_[!a-s][12].nii", "flair=*_FLAIR.nii"])
        assert [sorted(case) for case in found.cases] == [["case", "flair", "t1"], ["case", "t1"], ["case", "t1"]]
        assert names(found) == ["P1", "P2", "P3"]

    def test_patient_and_visit_join(self, make):
        root = make("A/v1/x_T1.nii", "A/v2/x_T1.nii", "B/v1/B_T2.nii")
        found = find_cases(root, BRATS2020, ["t1={patient}/{visit}/*_T1.nii", "t2={patient}/{visit}/{patient}_T2.nii"])
        assert names(found) == ["A_v1", "A_v2", "B_v1"] and found.notes == []

    def test_visits_of_a_patient_get_into_one_part(self, make, tmp_path):
        make(*(f"in/{patient}/{visit}/T1.nii" for patient in "ABCD" for visit in ("1", "2", "3")))
        for seed in range(3):
            done = prepare_cases(
                tmp_path / "in",
                tmp_path / f"out{seed}",
                BRATS2020,
                split={"training": 2, "test": 2},
                seed=seed,
                patterns=["t1={patient}/{visit}/T1.nii"],
            )
            assert {part: len(cases) for part, cases in done.parts.items()} == {
                "training": 6,
                "validation": 0,
                "test": 6,
            }
            training, test = ({case["case"][0] for case in done.parts[part]} for part in ("training", "test"))
            assert not training & test

    def test_a_label_map_is_no_scan(self, make):
        root = make("P1_T1.nii", "P1_seg.nii")
        found = find_cases(root, BRATS2020, ["t1={case}_*.nii"])
        assert found.cases == [{"case": "P1", "t1": str(root / "P1_T1.nii")}]
        assert found.notes == [
            f"{root}/P1_seg.nii: matches the pattern of t1, but its name says label; left out, give label a --pattern"
        ]

    def test_t1_with_contrast_is_no_t1(self, make):
        root = make("P1_T1w.nii", "P1_ce-gadolinium_T1w.nii")
        found = find_cases(root, BRATS2020, ["t1=*_T1w.nii"])
        assert found.cases == [{"case": "P1", "t1": str(root / "P1_T1w.nii")}]
        assert ["its name says t1ce; left out, give t1ce a --pattern" in note for note in found.notes] == [True]
        both = find_cases(root, BRATS2020, ["t1=*_T1w.nii", "t1ce=*_ce-gadolinium_T1w.nii"])
        assert [sorted(case) for case in both.cases] == [["case", "t1", "t1ce"]] and both.notes == []

    @pytest.mark.parametrize("pattern", ["t1={visit}_T1.nii", "t1={case}{patient}.nii", "t1={name}.nii"])
    def test_other_fields_are_refused(self, make, pattern):
        with pytest.raises(ValueError, match=r"accepted are \{case\}, or \{patient\} with or without \{visit\}"):
            find_cases(self.files(make), BRATS2020, [pattern])


def test_empty_rows_are_none_and_other_encodings_are_told(make):
    table = make("a.nii") / "cases.csv"
    table.write_text("case;t1\nA;a.nii\n;\n\nA;a.nii\n")
    with pytest.raises(ValueError, match=r"cases.csv: line 5 has a case again: A"):
        find_cases(table, BRATS2020)
    table.write_bytes("case,t1\nMüller,a.nii\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"cases.csv: is not a text file in UTF-8; save it as that, a table as CSV"):
        find_cases(table, BRATS2020)
    table.write_text("case\tt1\nMüller\ta.nii\n", encoding="utf-16")  # "Unicode Text" of Excel
    assert names(find_cases(table, BRATS2020)) == ["Müller"]


@pytest.mark.parametrize(("cut", "start"), [(";", ""), ("\t", ""), (",", "\ufeff"), (";", "\ufeff")])
def test_tables_are_cut_at_what_their_first_line_is(make, cut, start):
    root = make("a.nii")
    (root / "cases.csv").write_text(start + f"case{cut}T1-Gd\nP,1{cut}a.nii\n".replace("P,1", "P1"), encoding="utf-8")
    assert find_cases(root / "cases.csv", BRATS2020).cases == [{"case": "P1", "t1ce": str(root / "a.nii")}]
