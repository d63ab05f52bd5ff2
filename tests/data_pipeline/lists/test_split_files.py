import json

import pytest
from typer.testing import CliRunner

from passion_components.cli import app
from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.split_files import find_split, read_split, training_cases, write_split
from passion_components.data.phantoms.lgg import write_lgg_phantoms
from passion_components.datasets import TCGA_LGG

DATALIST = {"training": [{"case": "a", "t1": "a.nii"}], "validation": [], "test": [{"case": "b", "t1": "b.nii"}]}


@pytest.fixture
def split(tmp_path):
    (tmp_path / "datalist.json").write_text(json.dumps(DATALIST))
    return write_split(Datalist(tmp_path / "datalist.json"), tmp_path / "weights", ["t1"])


def test_it_holds_names_alone(split):
    assert json.loads(split.read_text()) == {"training": ["a"], "validation": [], "test": ["b"]}
    assert read_split(split) == {"a": "training", "b": "test"}
    assert training_cases(split.parent / "model.pt") == {"a"}
    assert training_cases(split.parents[1] / "model.pt") == frozenset()


def test_it_is_found_by_file_folder_and_name_of_a_bundle(split, tmp_path, monkeypatch):
    assert find_split(str(split)) == find_split(str(split.parent)) == split
    assert find_split("tcga_lgg_rfnet").parts[-3:] == ("tcga_lgg_rfnet", "models", "split.json")
    with pytest.raises(FileNotFoundError, match="nothing: no split.json there; expected such a file, a folder of"):
        find_split("nothing")


@pytest.mark.parametrize(
    "content", ["", "[]", '{"training": 3}', '{"training": [3]}', '{"training": ["a"], "test": ["a"]}']
)
def test_what_is_no_split_is_refused(tmp_path, content):
    (tmp_path / "split.json").write_text(content)
    with pytest.raises(ValueError, match="split.json: "):
        read_split(tmp_path / "split.json")


def test_the_split_of_the_shipped_weights_is_that_of_their_training():
    path = find_split("tcga_lgg_rfnet")
    parts = list(read_split(path).values())
    assert [parts.count(part) for part in ("training", "validation", "test")] == [70, 11, 0]
    about = json.loads(path.with_name("model.json").read_text())["trained_on"]
    assert about["training_cases"] == 70
    assert read_split(path)["TCGA_DU_7294_19890104"] == "validation"


def test_patients_are_put_into_the_parts_of_a_split(tmp_path):
    write_lgg_phantoms(tmp_path / "published", cases=5, size=(16, 16, 16))
    names = sorted(path.name for path in (tmp_path / "published").iterdir())
    split = {"training": names[3:], "validation": names[:1], "test": ["TCGA_XX_0000_20000101"]}
    (tmp_path / "split.json").write_text(json.dumps(split))
    words = ["prepare", "lgg", str(tmp_path / "published"), "--split-of", str(tmp_path / "split.json")]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--split", "test=1"])
    assert result.exit_code == 0 and "3 of 4 patients of" in result.output
    cases = {
        part: [case["case"] for case in Datalist(tmp_path / "out/datalist.json").cases(part, TCGA_LGG.modalities)]
        for part in ("training", "validation", "test")
    }
    assert cases == {"training": names[3:], "validation": names[:1], "test": names[1:3]}


def test_a_patient_in_two_parts_is_refused(tmp_path):
    (tmp_path / "source" / "p").mkdir(parents=True)
    (tmp_path / "split.json").write_text('{"training": ["p"]}')
    words = ["prepare", "lgg", str(tmp_path / "source"), "--split-of", str(tmp_path / "split.json"), "--test", "p"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out")])
    assert "p is forced into training and into test" in str(result.exception)
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "out"), "--pattern", "t1=*_t1.nii"])
    assert "--split-of, --training, --validation and --test are for the published folders" in str(result.exception)
