"""No source of cases lets a name through that would leave the output folder."""

import json

import pytest

from passion_components.data.case_names import MAX_BYTES, checked_case_name
from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.prepare import find_cases
from passion_components.data.lists.scan_cases import find_scan_cases
from passion_components.datasets import BRATS2020
from passion_components.engines.checks import check_cases, checked_scans

BAD = ["/gt/P1/P1", "../../x", "a/b", "a\\b", "..", ".", "a\0b", "a\nb", "a\x1bb", "-rf", " a", "a "]
BAD += ["é" * 91]


def refusal(call, *args, **kwargs):
    with pytest.raises((ValueError, SystemExit), match="cannot name a case") as caught:
        call(*args, **kwargs)
    message = str(caught.value)
    assert "\n" not in message and message.isprintable() and len(message) < 600
    return message


class TestNames:
    @pytest.mark.parametrize("name", ["P1", "été 3 (post) [2]", "患者-7", "a.b", "..a", "P,1", "é" * 90])
    def test_what_a_folder_can_bear_stays_as_it_is(self, name):
        assert checked_case_name(name, "x") == name and len(name.encode()) <= MAX_BYTES

    @pytest.mark.parametrize("name", BAD)
    def test_what_it_cannot_is_refused_in_one_line_from_a_datalist(self, name, tmp_path):
        path = tmp_path / "datalist.json"
        (tmp_path / "a.nii").touch()
        path.write_text(json.dumps({"test": [{"case": name, "t1": "a.nii", "label": "a.nii"}]}))
        for call in (
            lambda: Datalist(path).cases("test", BRATS2020.modalities),
            lambda: Datalist(path).parts(BRATS2020.modalities),
            lambda: checked_scans(path, BRATS2020),
            lambda: check_cases(datalist=Datalist(path), part="test", modalities=BRATS2020.modalities),
        ):
            assert "datalist.json: entry 1 of part 'test'" in refusal(call)

    def test_half_of_a_character_is_none(self):
        refusal(checked_case_name, "\ud800", "x")

    @pytest.mark.parametrize("name", ["/gt/P1/P1", "../../x"])
    def test_and_from_a_table(self, name, make):
        root = make("a.nii")
        (root / "cases.csv").write_text(f"case,t1\n{name},a.nii\n")
        assert "cases.csv: line 2" in refusal(find_cases, root / "cases.csv", BRATS2020)


class TestNamesOfFolders:
    def test_a_bad_one_costs_its_case_only(self, make):
        root = make("-x/-x_t1.nii", "-x/-x_seg.nii", "P1/P1_t1.nii", "P1/P1_seg.nii")
        scans = find_scan_cases(root, BRATS2020)
        assert [case["case"] for case in scans.cases] == ["P1"]
        assert ["begins with a dash" in message for _, message in scans.failures] == [True]
        found = find_cases(root, BRATS2020)
        assert [case["case"] for case in found.cases] == ["P1"] and "begins with a dash" in found.notes[0]
