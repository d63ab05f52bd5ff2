"""The example of docs/extending.md, as it stands there."""

import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "extending.md"


@pytest.fixture
def example(monkeypatch, tmp_path):
    """A folder with the module and the configs of the document, on Python's path; paths without ``.json``."""
    text = DOCUMENT.read_text(encoding="utf-8")
    (module,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    _, own, own_method, _ = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    folder = tmp_path / "example"
    folder.mkdir()
    for name, content in (("my_parts.py", module), ("own.json", own), ("own_method.json", own_method)):
        (folder / name).write_text(content, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    return folder


def test_own_parts_train_are_scored_and_segment(run, example, phantoms, edit_datalist, tmp_path):
    own, own_method, out = str(example / "own"), str(example / "own_method"), tmp_path / "run"
    datalist = phantoms / "datalist.json"
    run("training", "train", "own_data", own, own_method, output_dir=out, epochs=1, datalist=datalist)
    logged = {line.split(",")[1] for line in (out / "history.csv").read_text().splitlines()[1:]}
    assert {"entropy", "segmentation", "unimodal"} <= logged
    preference = (out / "preference.csv").read_text()
    assert "t1" in preference and "t2" in preference and "flair" not in preference

    run("evaluating", "train", "evaluate", "own_data", own, output_dir=out, datalist=datalist)
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["subsets"]) == ["t1", "t2", "t1+t2"] and summary["regions"] == ["tumour"]

    run("inference", "inference", "own_data", own, output_dir=tmp_path / "segmented", ckpt=out / "model.pt")
    written = list((tmp_path / "segmented").glob("*/*_seg.nii.gz"))
    assert len(written) == 7 and set(np.unique(nib.load(written[0]).dataobj)) <= {0, 1}


def test_an_own_method_and_one_of_ours_are_not_mixed(run, example, refused):
    with refused("the overlays own_method and baseline each choose the objective"):
        run("training", "train", str(example / "own_method"), "baseline")
