import os
import re

import numpy as np
import pytest

from passion_components.data.checks.findings import Kind


class TestCopies:
    def test_a_sequence_filled_with_another_one_whatever_its_header(self, drawn):
        other_type = drawn.array(drawn.first, "flair").astype(np.float64)
        drawn.first["t1ce"] = drawn.write("filled.nii", other_type)
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.COPIED_SEQUENCE and kind.severity == "error" and cases == ["P1"]
        assert re.search(r"flair \(.*P1_flair.nii.gz\) and t1ce \(.*filled.nii\) hold the same voxels", message)

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

    def test_equal_values_in_another_shape_are_other_data(self, drawn):
        values = np.arange(1, 5)
        drawn.parts = {"test": drawn.parts["test"]}
        for name, size in (("A", (4, 6, 4)), ("B", (6, 4, 4))):
            array = np.zeros(size, np.int16)
            array.reshape(-1)[41:45] = values
            drawn.parts["test"].append({"case": name, "t1": drawn.write(f"{name}.nii", array)})
        assert not drawn.report().by_kind().keys() & {Kind.LEAK, Kind.COPIED_CASE}

    def test_a_name_in_two_parts_is_an_error(self, drawn):
        drawn.parts["test"][0]["case"] = "P1"
        kind, cases, message = drawn.only_finding()
        assert kind is Kind.NAME_IN_PARTS and cases == ["P1", "P1"] and "P1: is in training and in test" in message
