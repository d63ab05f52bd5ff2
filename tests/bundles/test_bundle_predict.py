"""``passion predict`` and ``Segmenter`` against ``run inference``: other doors to one segmentation."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from passion_components import Segmenter
from passion_components.cli import app
from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import dataset_spec
from passion_components.engines.weights_input import describe_input
from passion_components.predict.bundle import read_bundle

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
NAMES = sorted(path.name for path in BUNDLES.iterdir())


@pytest.fixture
def told_weights(workflow, random_weights_of):
    """Random weights of a bundle, with the JSON that a training writes beside them."""

    def make(of: str) -> Path:
        weights = random_weights_of(of)
        made = workflow("inference", "inference", of=of)
        made.initialize()
        values = {key: made.parser.get_parsed_content(key) for key in ("spec", "modalities", "spacing", "roi_size")}
        said = describe_input(network=made.parser.get_parsed_content("network_def"), label_scheme=None, **values)
        weights.with_suffix(".json").write_text(json.dumps({"trained_on": {"input": said}}))
        return weights

    return make


@pytest.fixture
def case(workflow):
    """Some sequences of the first test case of a bundle's phantoms."""

    def first(of: str) -> dict[str, str]:
        listed = Path(workflow("inference", "inference", of=of).parser.get("dataset_dir")) / "datalist.json"
        spec = dataset_spec(of.rsplit("_", 1)[0])
        complete = Datalist(listed).cases("test", spec.modalities)[0]
        return {name: complete[name] for name in spec.modalities[:2]}

    return first


def values(image) -> np.ndarray:
    return np.asarray(image.dataobj)


@pytest.mark.parametrize("of", NAMES)
def test_equal_voxel_by_voxel_to_inference_by_the_configs(of, run, told_weights, case, tmp_path):
    weights, files = told_weights(of), case(of)
    about = weights.with_suffix(".json")
    mirrored = {"mirror_axes": [0] if of.startswith("tcga_lgg") else []}
    about.write_text(json.dumps(json.loads(about.read_text()) | mirrored))
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps({"test": [{"case": "P1", **files}]}))
    run("inference", "inference", of=of, dataset_dir=listed, output_dir=tmp_path / "out", ckpt=weights)
    expected = nib.load(tmp_path / "out" / "P1" / "P1_seg.nii.gz")

    found = Segmenter.load(BUNDLES / of, ckpt=weights).segment(files)
    np.testing.assert_array_equal(values(found.image), values(expected))
    np.testing.assert_array_equal(found.image.affine, expected.affine)
    assert found.image.get_data_dtype() == expected.get_data_dtype()
    assert len(np.unique(values(expected))) > 1
    assert found.facts["used"] == list(files)


def test_small_components_go_as_the_bundle_says_unless_told_otherwise(told_weights, case):
    weights, files = told_weights("tcga_lgg_rfnet"), case("tcga_lgg_rfnet")
    found = {}
    for share in (None, 0.3, 0.0):
        segmenter = Segmenter.load(BUNDLES / "tcga_lgg_rfnet", ckpt=weights, min_component_share=share)
        found[share] = segmenter.segment(files)
    np.testing.assert_array_equal(values(found[None].image), values(found[0.3].image))
    counts = [found[share].facts["regions"]["lesion"]["components"] for share in (0.3, 0.0)]
    assert 1 <= counts[0] < counts[1]


def test_label_maps_of_a_datalist_are_coded_as_it_says_unless_told_otherwise(told_weights, case, tmp_path):
    (tmp_path / "list.json").write_text(
        json.dumps({"label_scheme": "brats2023", "test": [{"case": "P1", **case("brats2020_rfnet")}]})
    )
    command = ["predict", tmp_path / "list.json", "--bundle", BUNDLES / "brats2020_rfnet", "--out", tmp_path / "out"]
    codes = []
    for words in ([], ["--label-scheme", "brats2020"]):
        result = CliRunner().invoke(app, list(map(str, [*command, "--ckpt", told_weights("brats2020_rfnet"), *words])))
        assert result.exit_code == 0, result.output
        codes.append(values(nib.load(tmp_path / "out/P1/P1_seg.nii.gz")))
    assert 4 in codes[1]
    np.testing.assert_array_equal(np.where(codes[1] == 4, 3, codes[1]), codes[0])


@pytest.mark.parametrize("of", NAMES)
def test_what_predict_needs_of_a_config_stands_there_in_plain_values(of, told_weights):
    """Also without a word beside the weights."""
    weights = told_weights(of)
    told = read_bundle(BUNDLES / of, ckpt=weights)
    weights.with_suffix(".json").unlink()
    untold = read_bundle(BUNDLES / of, ckpt=weights)
    assert (untold.spec, untold.network, untold.windows) == (told.spec, told.network, told.windows)
    assert untold.arguments["width"] == 8 and untold.arguments.get("img_size", list(told.spec.crop)) == list(
        told.spec.crop
    )
