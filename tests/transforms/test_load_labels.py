import json

import numpy as np
import pytest
import torch

from passion_components.data.errors import CaseError
from passion_components.datasets import BRATS2020, MYOPS2020
from passion_components.transforms.labels import LoadLabeld, to_file_codes


def labels(*values: float, dtype=np.int16) -> np.ndarray:
    """(3, 2, 2) of zeros that starts with ``values``."""
    array = np.zeros(12, dtype=dtype)
    array[: len(values)] = values
    return array.reshape(3, 2, 2)


@pytest.fixture
def load() -> LoadLabeld:
    return LoadLabeld(to="target", label_codes=BRATS2020.label_codes)


class TestLoadLabel:
    def test_codes_become_class_indices(self, load, save):
        item = load({"case": "P1", "label": save("seg.nii.gz", labels(4, 0, 2, 1))})
        assert set(item) == {"case", "target"}
        assert item["target"].dtype == torch.uint8 and item["target"].shape == (1, 3, 2, 2)
        assert item["target"].flatten()[:5].tolist() == [3, 0, 2, 1, 0]

    def test_several_codes_may_share_a_class(self, save):
        load = LoadLabeld(to="reference", label_codes=MYOPS2020.label_codes)
        item = load({"case": "P1", "label": save("gd.nii.gz", labels(500, 600, 200, 1220, 2221))})
        assert item["reference"].flatten()[:6].tolist() == [1, 2, 3, 3, 3, 0]

    def test_whole_numbers_in_a_float_file_are_labels(self, load, save):
        item = load({"case": "P1", "label": save("seg.nii.gz", labels(4.0, 2.0, dtype=np.float32))})
        assert item["target"].flatten()[:2].tolist() == [3, 2]

    def test_whole_numbers_but_for_rounding_are_labels_and_interpolated_ones_are_not(self, load, save):
        scaled = save("seg.nii.gz", labels(4.00000024, 1.99215698, 1.00392163, dtype=np.float64))
        assert load({"case": "P1", "label": scaled})["target"].flatten()[:4].tolist() == [3, 2, 1, 0]
        with pytest.raises(CaseError, match="holds the labels 1.98, 3.999; accepted"):
            load({"case": "P1", "label": save("seg.nii.gz", labels(3.999, 1.98, dtype=np.float64))})

    def test_codes_may_come_from_json(self, save):
        codes = json.loads(json.dumps(dict(BRATS2020.label_codes)))
        item = LoadLabeld("seg", to="target", label_codes=codes)({"case": "P1", "seg": save("seg.nii.gz", labels(4))})
        assert item["target"].max() == 3

    def test_the_affine_is_kept(self, load, save):
        affine = np.diag([2.0, 3.0, 4.0, 1.0])
        assert np.array_equal(
            load({"case": "P1", "label": save("s.nii.gz", labels(1), affine)})["target"].affine, affine
        )

    @pytest.mark.parametrize(
        ("values", "listed"),
        [((3, 7), "3, 7;"), ((-1,), "-1;"), ((0.5,), "0.5;"), ((np.nan,), "nan;"), (range(20, 30), "27 and 2 more")],
    )
    def test_other_values_are_refused_with_what_is_accepted(self, load, save, values, listed):
        path = save("seg.nii.gz", labels(*values, dtype=np.float32))
        with pytest.raises(CaseError) as caught:
            load({"case": "P1", "label": path})
        message = str(caught.value)
        assert message.startswith(f"P1: {path} holds the labels ") and listed in message
        assert "accepted: 0, 1, 2, 4; recode the file" in message and "\n" not in message

    def test_a_case_without_label_map_is_refused(self, load):
        with pytest.raises(CaseError, match="P1: has no 'label' entry; expected the path of its label map"):
            load({"case": "P1"})

    def test_no_codes_are_refused(self):
        with pytest.raises(ValueError, match="at least one value"):
            LoadLabeld(to="target", label_codes={})


class TestToFileCodes:
    def test_classes_become_the_codes_of_the_data_set(self):
        codes = to_file_codes(np.array([0, 1, 2, 3], dtype=np.uint8), BRATS2020)
        assert codes.tolist() == [0, 1, 2, 4] and codes.dtype == np.uint8

    def test_large_codes_get_a_wider_type_and_the_first_of_a_class(self):
        codes = to_file_codes(np.array([0, 1, 2, 3], dtype=np.uint8), MYOPS2020)
        assert codes.tolist() == [0, 500, 600, 200] and codes.dtype == np.int16

    @pytest.mark.parametrize("index", [-1, 4])
    def test_an_index_that_is_no_class_is_refused(self, index):
        with pytest.raises(ValueError, match="class indices of brats2020 are 0 to 3"):
            to_file_codes(np.array([0, index]), BRATS2020)
