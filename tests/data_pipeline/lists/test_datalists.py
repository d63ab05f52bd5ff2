import hashlib
import json
import os
import shutil

import pytest

from passion_components.data.lists.datalist import (
    Datalist,
    check_files_exist,
    file_hashes,
    presence_table,
    write_datalist,
)
from passion_components.data.lists.splits import largest_remainder, parse_split, split_cases

MODALITIES = ("flair", "t1ce", "t1", "t2")


@pytest.fixture
def write(tmp_path):
    def write_json(content, name="datalist.json"):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write_json


class TestLoad:
    def test_paths_become_absolute_from_the_folder_of_the_datalist(self, write, tmp_path, monkeypatch):
        path = write({"test": [{"case": "P1", "t1": "P1/../t1.nii", "label": "/x/seg.nii"}]})
        monkeypatch.chdir("/")
        expected = [{"case": "P1", "t1": str(tmp_path / "t1.nii"), "label": "/x/seg.nii"}]
        assert Datalist(path).cases("test", MODALITIES) == expected
        assert Datalist(os.path.relpath(path)).cases("test", MODALITIES) == expected

    def test_a_case_named_like_a_folder_keeps_its_name(self, write, tmp_path):
        (tmp_path / "P1").mkdir()
        assert Datalist(write({"test": [{"case": "P1", "t1": "a"}]})).cases("test", MODALITIES)[0]["case"] == "P1"

    def test_notes_and_foreign_sequences_are_left_out(self, write):
        case = {"case": "P1", "t1": "/a", "t2": "/b", "fold": 0, "site": "x"}
        path = write({"training": [case], "name": "mine", "train": "at 3 T", "test_old": []})
        assert Datalist(path).cases("training", ("t1", "flair")) == [{"case": "P1", "t1": "/a"}]

    def test_an_empty_part_is_legal(self, write):
        assert Datalist(write({"validation": []})).cases("validation", MODALITIES) == []

    def test_all_parts_that_are_there(self, write):
        assert Datalist(write({"test": [], "training": []})).parts(MODALITIES) == {"training": [], "test": []}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "is not valid JSON: .* in line 1"),
            ({"training": [], "val": []}, r"unknown part 'val' \(did you mean validation\?\); accepted: training"),
            ({"Training": []}, r"unknown part 'Training' \(did you mean training\?\)"),
            ({"training": [], "testing": []}, r"unknown part 'testing' \(did you mean test\?\)"),
            ({"training": [], "test ": []}, r"unknown part 'test ' \(did you mean test\?\)"),
            ([], "expected an object with the parts training, validation, test, got a list"),
            ({"test": []}, "has no part 'training'; parts found: test"),
            ({"training": {}}, "part 'training' must be a list of cases, got a dict"),
            ({"training": [{"t1": "a"}]}, "entry 1 of part 'training' has no name"),
            ({"training": [{"case": 12, "t1": "a"}]}, "entry 1 of .*: case must be a name in quotes, got 12$"),
            ({"training": [{"case": "P", "t1": "a"}] * 2}, "case 'P' occurs twice in part 'training'"),
            ({"training": [{"case": "P", "label": "a"}]}, "'P' has no modality; expected at least one of flair, t1ce"),
            ({"training": [{"case": "P", "t1c": "a"}]}, r"unknown key 't1c' \(did you mean t1ce\?\)"),
            ({"training": [{"case": "P", "T1": "a"}]}, r"unknown key 'T1' \(did you mean t1\?\)"),
            ({"training": [{"case": "P", "flar": "a"}]}, r"unknown key 'flar' \(did you mean flair\?\)"),
            ('{"training": [], "training": []}', "the key 'training' stands twice in one object; expected"),
            ('{"training": [{"case": "P", "t1": "a", "t1": "b"}]}', "the key 't1' stands twice in one object"),
            ({"training": [{"case": "P", "t1": None}]}, "t1 must be a path, got None; leave the key out"),
        ],
    )
    def test_mistakes_are_told_in_one_line_with_the_file(self, write, content, message):
        path = write(content)
        with pytest.raises(ValueError, match=message) as error:
            Datalist(path).cases("training", MODALITIES)
        assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)

    def test_unknown_part_names_those_accepted(self, write):
        with pytest.raises(ValueError, match="unknown part 'train' .* accepted: training, validation, test"):
            Datalist(write({})).cases("train", MODALITIES)

    def test_no_file_says_how_to_make_one(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no such datalist; make one with `passion prepare`"):
            Datalist(tmp_path / "none.json").cases("training", MODALITIES)

    def test_a_folder_or_an_image_is_no_datalist(self, tmp_path):
        with pytest.raises(ValueError, match="is a folder"):
            Datalist(tmp_path).cases("training", MODALITIES)
        (tmp_path / "x.json").write_bytes(b"\x1f\x8b\xff")
        with pytest.raises(ValueError, match="is not a text file"):
            Datalist(tmp_path / "x.json").cases("training", MODALITIES)


class TestReadOnce:
    def test_what_it_tells_is_what_its_file_held_when_it_was_read(self, write):
        path = write({"label_scheme": "brats2021", "training": [{"case": "P", "t1": "a"}], "test": []})
        datalist = Datalist(path)
        before = datalist.hash(), datalist.missing_rates(("t1",)), datalist.parts(MODALITIES)
        path.unlink()
        assert datalist.label_scheme == "brats2021" and datalist.dataset() is None
        assert (datalist.hash(), datalist.missing_rates(("t1",)), datalist.parts(MODALITIES)) == before

    def test_a_scheme_that_is_no_name(self, write):
        with pytest.raises(ValueError, match=r"datalist\.json: label_scheme must be a name, got 3"):
            Datalist(write({"label_scheme": 3, "test": []}))


class TestWrite:
    def test_files_below_the_folder_are_relative_and_others_absolute(self, tmp_path):
        case = {"case": "P1", "t1": str(tmp_path / "a" / "P1" / "t1.nii"), "t2": str(tmp_path / "b" / "t2.nii")}
        path = write_datalist(tmp_path / "a" / "datalist.json", {"training": [case]})
        written = json.loads(path.read_text())
        assert written == {"training": [{"case": "P1", "t1": "P1/t1.nii", "t2": str(tmp_path / "b" / "t2.nii")}]}

    def test_what_is_written_is_read_back(self, tmp_path):
        parts = {"training": [{"case": "P1", "t1": str(tmp_path / "t1.nii")}], "validation": [], "test": []}
        assert Datalist(write_datalist(tmp_path / "d.json", parts)).parts(MODALITIES) == parts
        assert [path.name for path in tmp_path.iterdir()] == ["d.json"]


class TestSplit:
    CASES = [{"case": f"P{number:02d}", "t1": "x"} for number in range(20)]

    def test_shares_decide_the_sizes_and_every_case_has_one_part(self):
        parts = split_cases(self.CASES, {"training": 0.7, "validation": 0.1, "test": 0.2}, seed=0)
        assert [len(parts[part]) for part in ("training", "validation", "test")] == [14, 2, 4]
        assert sorted(case["case"] for part in parts.values() for case in part) == [c["case"] for c in self.CASES]

    def test_only_the_seed_decides_who_goes_where(self):
        shares = {"training": 0.5, "test": 0.5}
        parts = split_cases(self.CASES, shares, seed=3)
        assert split_cases(self.CASES[::-1], shares, seed=3) == parts
        assert split_cases(self.CASES, shares, seed=4) != parts
        assert parts["validation"] == []

    def test_a_name_that_occurs_twice_is_refused(self):
        with pytest.raises(ValueError, match="case 'P00' occurs twice"):
            split_cases(self.CASES + self.CASES[:1], {"training": 1.0}, seed=0)

    def test_text_becomes_shares(self):
        assert parse_split("test=.25, training=0.75") == {"test": 0.25, "training": 0.75}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("training=.7,test=.2", "the shares add up to 0.9; expected 1"),
            ("training=1.5,test=-.5", "the share of test is -0.5"),
            ("trainig=1", r"unknown part 'trainig' \(did you mean training\?\)"),
            ("training", "'training' is not name=number; write it like training=0.7"),
            ("training=nan", "'training=nan' is not name=number"),
            ("training=.5,training=.5", "training occurs twice"),
            ("", "is not name=number"),
        ],
    )
    def test_other_texts_are_refused_with_the_reason(self, text, message):
        with pytest.raises(ValueError, match=message):
            parse_split(text)


@pytest.mark.parametrize(
    ("shares", "total", "expected"),
    [
        ([0.7, 0.1, 0.2], 10, [7, 1, 2]),
        ([0.7, 0.1, 0.2], 2, [2, 0, 0]),  # 1.4, .2, .4: the first of two equal fractions
        ([0.5, 0.3, 0.2], 5, [3, 1, 1]),  # 2.5, 1.5, 1.0
        ([1.0], 0, [0]),
    ],
)
def test_largest_remainder(shares, total, expected):
    assert largest_remainder(shares, total) == expected


class TestPresence:
    def test_table_follows_the_order_of_the_data_set(self):
        cases = [{"case": "a", "t1": "x", "label": "y"}, {"case": "b", "t2": "x", "flair": "x"}]
        assert presence_table(cases, MODALITIES).tolist() == [[False, False, True, False], [True, False, False, True]]
        assert presence_table([], MODALITIES).shape == (0, 4) and presence_table([], MODALITIES).dtype == bool

    def test_missing_rates_are_those_of_the_training_cases(self, write):
        training = [
            {"case": "a", "t1": "x", "t2": "x"},
            {"case": "b", "t1": "x"},
            *({"case": c, "t1": "x"} for c in "cd"),
        ]
        path = write({"training": training, "test": [{"case": "e", "t2": "x"}]})
        assert Datalist(path).missing_rates(("t2", "t1")) == {"t2": 0.75, "t1": 0.0}

    def test_a_sequence_without_any_case_is_refused_by_name(self, write):
        with pytest.raises(ValueError, match="no case of part 'training' has t2"):
            Datalist(write({"training": [{"case": "a", "t1": "x"}]})).missing_rates(("t1", "t2"))

    def test_no_training_cases_have_no_rates(self, write):
        with pytest.raises(ValueError, match="part 'training' is empty"):
            Datalist(write({"training": []})).missing_rates(MODALITIES)


class TestHash:
    CONTENT = {"training": [{"case": "a", "t1": "a/t1.nii", "t2": "a/t2.nii"}, {"case": "b", "t1": "b/t1.nii"}]}

    def test_stays_when_the_folder_moves_or_paths_are_written_otherwise(self, write, tmp_path):
        path = write(self.CONTENT)
        moved = tmp_path / "elsewhere" / "other.json"
        moved.parent.mkdir()
        shutil.copy(path, moved)
        absolute = write_datalist(tmp_path / "new" / "d.json", Datalist(path).parts(MODALITIES))
        assert Datalist(path).hash() == Datalist(moved).hash() == Datalist(absolute).hash()

    @pytest.mark.parametrize(
        "training",
        [
            CONTENT["training"][::-1],
            [CONTENT["training"][0]],
            [{"case": "a", "t1": "a/t1.nii"}, CONTENT["training"][1]],
            [CONTENT["training"][0], {"case": "b", "t1": "b/other.nii"}],
            [CONTENT["training"][0], {"case": "c", "t1": "b/t1.nii"}],
        ],
    )
    def test_changes_with_cases_order_sequences_and_files(self, write, training):
        assert Datalist(write(self.CONTENT)).hash() != Datalist(write({"training": training}, "other.json")).hash()


def test_a_listed_file_that_is_not_there_is_named_with_its_case(tmp_path):
    here, gone = tmp_path / "t1.nii", tmp_path / "t2.nii"
    here.touch()
    check_files_exist([{"case": "P1", "t1": str(here)}])
    with pytest.raises(FileNotFoundError, match=f"case 'P1': t2 is listed as {gone}, which does not exist"):
        check_files_exist([{"case": "P1", "t1": str(here), "t2": str(gone)}])


class TestFileHashes:
    def test_files_are_known_by_what_they_hold_and_volumes_by_their_index(self, tmp_path):
        for name in ("a.nii", "b.nii"):
            (tmp_path / name).write_bytes(b"1")
        one = hashlib.sha256(b"1").hexdigest()
        cases = [
            {"case": "P1", "t1": str(tmp_path / "a.nii"), "label": str(tmp_path / "b.nii")},
            {"case": "P2", "t1": str(tmp_path / "a.nii#2"), "t2": str(tmp_path / "missing.nii")},
        ]
        assert file_hashes(cases) == {"P1": {"t1": one, "label": one}, "P2": {"t1": f"{one}#2", "t2": None}}
