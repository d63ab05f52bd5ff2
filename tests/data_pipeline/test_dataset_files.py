"""Data sets as JSON files: the three of the package, own ones, and files that describe none."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from passion_components import datasets
from passion_components.data.layouts.file_names import read_name
from passion_components.datasets import BRATS2020, DATASETS, MYOPS2020, TCGA_LGG, DatasetSpec, dataset_spec
from passion_components.datasets.reading import FOREGROUNDS, OPTIONAL, REQUIRED, read_dataset
from passion_components.transforms.foreground import FOREGROUND_RULES

STROKE = {
    "name": "stroke",
    "modalities": {"dwi": ["trace", "b1000"], "adc": [], "t2_star": ["swi"], "t1gd": [], "t1": []},
    "label_words": ["msk"],
    "classes": ["background", "infarct", "bleeding"],
    "label_codes": {"0": "background", "7": "infarct", "3": "bleeding", "8": "infarct"},
    "spatial_dims": 3,
    "spacing": [2, 2, 2.5],
    "crop": [32, 32, 16],
}


@pytest.fixture
def written(tmp_path):
    def write(change=None, text=None) -> Path:
        path = tmp_path / "own.json"
        path.write_text(text if text is not None else json.dumps(STROKE | (change or {})), encoding="utf-8")
        return path

    return write


class TestReading:
    def test_one_in_utf_16_is_read(self, written):
        path = written()
        plain = dataset_spec(path)
        path.write_text(path.read_text(encoding="utf-8"), encoding="utf-16")
        assert dataset_spec(path) == plain

    def test_own_data_sets_have_what_their_file_says(self, written):
        spec = dataset_spec(written())
        assert spec == DatasetSpec(
            name="stroke",
            modalities=("dwi", "adc", "t2_star", "t1gd", "t1"),
            classes=("background", "infarct", "bleeding"),
            label_codes={0: 0, 7: 1, 3: 2, 8: 1},
            regions={"infarct": (1,), "bleeding": (2,)},
            spatial_dims=3,
            spacing=(2.0, 2.0, 2.5),
            crop=(32, 32, 16),
            spellings={"dwi": ("trace", "b1000"), "adc": (), "t2_star": ("swi",), "t1gd": (), "t1": ()},
            label_words=("msk",),
        )
        assert spec.file_code(1) == 7 and all(isinstance(size, int) for size in spec.crop)

    def test_words_for_labels_that_go_without_saying_are_no_sequences(self, written):
        content = {key: value for key, value in STROKE.items() if key != "label_words"}
        path = written(text=json.dumps(content | {"modalities": {"dwi": ["seg"]}}))
        with pytest.raises(ValueError, match="'seg' stands for dwi and for a label map; expected one meaning"):
            dataset_spec(path)

    def test_whole_numbers_may_be_written_as_3_0(self, written):
        assert isinstance(dataset_spec(written({"spatial_dims": 3.0})).spatial_dims, int)

    def test_modalities_may_be_a_list_and_nothing_follows_from_the_dimension(self, written):
        spec = dataset_spec(str(written({"modalities": ["dwi", "adc"]})))
        assert (spec.modalities, spec.skull, spec.axial_slices, spec.crop_to_foreground) == (
            ("dwi", "adc"),
            None,
            False,
            False,
        )

    @pytest.mark.parametrize("spec", DATASETS.values(), ids=lambda spec: spec.name)
    def test_built_in_ones_are_such_files(self, spec, tmp_path):
        file = Path(datasets.__file__).parent / f"{spec.name}.json"
        assert read_dataset(file) == spec == dataset_spec(spec.name)
        (tmp_path / "copy.json").write_bytes(file.read_bytes())
        assert dataset_spec(tmp_path / "copy.json") == spec

    def test_built_in_ones_are_what_earlier_evaluations_name(self):
        digests = {spec.name: hashlib.sha256(repr(spec).encode()).hexdigest()[:16] for spec in DATASETS.values()}
        assert digests == {
            "brats2020": "c6e2b333154e15f9",
            "brats2021": "6480e1c5d38a8477",
            "myops2020": "bcffd9ef8e9b45cd",
            "tcga_lgg": "5097afaac9acf4ab",
        }

    def test_the_foregrounds_are_those_that_there_are(self):
        assert set(FOREGROUNDS) == set(FOREGROUND_RULES)


class TestWrongFiles:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"spacings": [1]}, f"unknown key 'spacings'; accepted: {', '.join((*REQUIRED, *OPTIONAL))}"),
            ({"name": "a b"}, 'name must be letters and digits, with - or _ between them, got "a b"'),
            ({"modalities": []}, "modalities must have at least 1 names, got []"),
            ({"modalities": {}}, "modalities: expected at least one sequence, got none"),
            ({"modalities": [f"s{n}" for n in range(11)]}, "modalities: got 11; accepted: up to 10"),
            ({"modalities": {"dwi": "trace"}}, 'modalities: dwi must be a list of names, got "trace"'),
            ({"modalities": ["dwi", "dwi"]}, "modalities: 'dwi' stands twice; expected every name once"),
            (
                {"modalities": ["dwi+adc"]},
                "modalities: 'dwi+adc' cannot name a sequence; expected letters and digits, with - or _ between them, "
                "and none of case, label, part, patient, visit",
            ),
            (
                {"modalities": {"dwi": ["ADC"], "adc": []}},
                "'adc' stands for dwi and for adc; expected one meaning for a word",
            ),
            ({"label_words": ["dwi"]}, "'dwi' stands for dwi and for a label map; expected one meaning for a word"),
            ({"classes": [f"class {number}" for number in range(257)]}, "classes: got 257; accepted: up to 256"),
            ({"regions": {}}, "regions: expected at least one region to score, got none"),
            ({"classes": ["background"]}, 'classes must have at least 2 names, got ["background"]'),
            ({"label_codes": {"0": "background", "1": "clot"}}, 'label_codes: "clot" is no class; accepted: '),
            ({"label_codes": {"0": "background", "1": "infarct"}}, "label_codes: 'bleeding' has no code; expected at"),
            ({"label_codes": {"1": "infarct", "01": "bleeding"}}, "label_codes: the code 1 stands twice"),
            ({"label_codes": {"-1": "infarct"}}, "label_codes: the code '-1' must be a whole number from 0 to "),
            ({"other_label_schemes": {"stroke": {}}}, "other_label_schemes: stroke is the scheme of label_codes"),
            ({"further_label_schemes": {"stroke": {}}}, "further_label_schemes: stroke is the scheme of label_codes"),
            ({"other_label_schemes": {"x": {"0": 1}}}, "other_label_schemes: x: 1 is no class; accepted: background, "),
            ({"regions": {"all": ["infarct", "clot"]}}, 'regions: all: "clot" is no class; accepted: background, inf'),
            ({"spatial_dims": 4}, "spatial_dims must be 3, or 2 where slices are the samples, got 4"),
            ({"spacing": [1, 1]}, "spacing must be 3 numbers above 0, got [1, 1]"),
            ({"spacing": [1, 1, float("nan")]}, "spacing must be 3 numbers above 0, got [1, 1, NaN]"),
            ({"crop": [8, 8, 8.5]}, "crop must be whole numbers of voxels, got [8, 8, 8.5]"),
            ({"orientation": "LRS"}, "orientation must be three letters, one of L R, one of A P and one of S I, or nu"),
            ({"foreground": "brain"}, 'foreground must be one of "nonzero", "above_background", got "brain"'),
            ({"skull": True}, 'skull must be one of "expected", "unexpected", null, got true'),
            ({"central": 1}, "central must be one of true, false, got 1"),
            ({"class_weights": [1, 2]}, "class_weights must be 3 numbers above 0, got [1, 2]"),
            ({"scheme_file_names": {"(": ["stroke"]}}, "scheme_file_names: '(' is no regular expression: "),
            ({"scheme_file_names": {"x": ["msd"]}}, 'scheme_file_names: x must be one of "stroke", got "msd"'),
            ({"name": "brats2020"}, "name 'brats2020' is that of another data set, of the bundles; choose a name of "),
        ],
    )
    def test_are_refused_in_one_line_that_names_file_and_key(self, written, change, message):
        path = written(change)
        with pytest.raises(ValueError) as error:
            dataset_spec(path)
        assert str(error.value).startswith(f"{path}: {message}") and "\n" not in str(error.value)

    @pytest.mark.parametrize("key", REQUIRED)
    def test_so_is_one_that_lacks_a_key(self, written, key):
        path = written(text=json.dumps({name: value for name, value in STROKE.items() if name != key}))
        with pytest.raises(ValueError, match=rf"own\.json: {key} is missing; a data set has at least name, "):
            dataset_spec(path)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "is not valid JSON: "),
            ("[]", r"expected an object that describes a data set, got \[\]"),
            ('{"name": "a", "name": "b"}', "the key 'name' stands twice in one object"),
            ("[" * 100_000, "is nested too deeply"),
        ],
    )
    def test_so_is_what_is_no_object(self, written, text, message):
        with pytest.raises(ValueError, match=f"own.json: {message}"):
            dataset_spec(written(text=text))

    def test_so_is_what_is_not_there_and_no_known_name(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="none.json: no such file; expected the JSON file of a data set"):
            dataset_spec(tmp_path / "none.json")
        with pytest.raises(
            ValueError, match="unknown data set 'brats'; accepted: brats2020, brats2021, myops2020, tcga_lgg, or"
        ):
            dataset_spec("brats")
        (tmp_path / "folder.json").mkdir()
        with pytest.raises(ValueError, match="folder.json: cannot be read"):
            dataset_spec(tmp_path / "folder.json")


class TestNamesOfFiles:
    @pytest.mark.parametrize(
        ("name", "key", "beginning"),
        [
            ("P1_dwi", "dwi", "P1"),
            ("P1-TRACE", "dwi", "P1"),
            ("P1_T2-star", "t2_star", "P1"),
            ("P1_swi", "t2_star", "P1"),
            ("P1_msk", "label", "P1"),
            ("P1_seg", None, "P1_seg"),
            ("P1_t1_post", "t1gd", "P1"),  # the contrast words of T1, whatever the data set calls it
            ("P1_t1c", "t1gd", "P1"),
            ("P1_flair", None, "P1"),
            ("sub-01_ses-2_acq-x_adc", "adc", "sub-01_ses-2"),
        ],
    )
    def test_are_read_by_the_words_of_the_data_set(self, written, name, key, beginning):
        read = read_name(name, dataset_spec(written()))
        assert (read.key, read.beginning) == (key, beginning)

    def test_other_sequences_are_called_what_they_are(self, written):
        assert read_name("P1_flair", dataset_spec(written())).problem == "flair is none of dwi, adc, t2_star, t1gd, t1"
        assert read_name("P1_gd", MYOPS2020).key == "label" and read_name("P1_gd", TCGA_LGG).key is None
        assert read_name("P1_t1_gd", BRATS2020).key == "t1ce"


def test_the_example_of_the_documentation_is_read(tmp_path):
    document = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
    (text, *_) = re.findall(r"```json\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "stroke.json").write_text(text)
    spec = dataset_spec(tmp_path / "stroke.json")
    assert spec.regions == {"lesion": (1, 2), "core": (1,)} and spec.skull == "expected"
    keys = set(
        re.findall(
            r"`(\w+)`",
            " ".join(line.split("|")[1] for line in document.read_text().splitlines() if line.startswith("| `")),
        )
    )
    assert keys == {*REQUIRED, *OPTIONAL}
