"""A data set that no bundle knows, of five sequences, in the bundles of other data sets."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ConfigParser

from passion_components import Segmenter
from passion_components.data.lists.datalist import write_datalist
from passion_components.datasets import dataset_spec

BUNDLES = Path(__file__).resolve().parents[2] / "bundles"
SEQUENCES = ("dwi", "adc", "flair", "swi", "t2_star")
SIZE = (16, 16, 6)


@pytest.fixture(scope="session")
def own_data(tmp_path_factory):
    """Folder with four patients, two sequences missing from the first, a datalist, and a file a dimension."""
    folder = tmp_path_factory.mktemp("own")
    rng = np.random.default_rng(0)
    cases = []
    for number in range(4):
        label = np.zeros(SIZE, np.uint8)
        label[4:12, 4:12, number % 3 : 5] = 3
        label[6:9, 6:9, 2:4] = 7
        entry = {"case": f"P{number}"}
        for index, name in enumerate((*SEQUENCES, "label")):
            if number == 0 and name in ("adc", "swi"):
                continue
            image = label if name == "label" else (label * (index + 1) + rng.uniform(5, 6, SIZE)).astype(np.float32)
            path = folder / f"scans/P{number}/P{number}_{'msk' if name == 'label' else name}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(image, np.diag([-1.0, -1.0, 1.0, 1.0])), path)
            entry[name] = str(path)
        cases.append(entry)
    content = {
        "name": "own",
        "modalities": SEQUENCES,
        "label_words": ["msk"],
        "classes": ["background", "core", "rim"],
        "label_codes": {"0": "background", "7": "core", "3": "rim"},
        "regions": {"all": ["core", "rim"], "core": ["core"]},
    }
    for dims in (2, 3):
        own = content | {"spatial_dims": dims, "spacing": [1] * dims, "crop": [16] * dims}
        (folder / f"own{dims}d.json").write_text(json.dumps(own))
        parts = {"training": cases[:2], "validation": cases[2:3], "test": cases[3:]}
        write_datalist(folder / f"list{dims}d.json", parts, dataset=dataset_spec(folder / f"own{dims}d.json"))
    return folder


@pytest.mark.parametrize(
    ("bundle", "dims", "overlays"),
    [
        ("brats2020_rfnet", 2, ("evaluate", "own_data")),
        pytest.param("tcga_lgg_rfnet", 3, ("own_data", "evaluate"), marks=pytest.mark.full),
        pytest.param("brats2020_rfnet", 3, ("own_data", "evaluate"), marks=pytest.mark.full),
        pytest.param("myops2020_mmformer", 2, ("evaluate", "own_data"), marks=pytest.mark.full),
        pytest.param("myops2020_m2ftrans", 3, ("evaluate", "own_data"), marks=pytest.mark.full),
    ],
)
def test_any_bundle_trains_scores_and_segments_it(run, own_data, tmp_path, bundle, dims, overlays):
    edge = 16 if bundle.endswith("rfnet") else 32
    settings = {"dataset_file": own_data / f"own{dims}d.json", "roi_size": [edge] * dims, "spacing": [1.0] * dims}
    out = tmp_path / "run"
    common = {"of": bundle, "output_dir": out, "datalist": own_data / f"list{dims}d.json"}
    run("training", "train", "own_data", **common, **settings, epochs=1, validation_subsets=["dwi"])
    said = json.loads((out / "model.json").read_text())["trained_on"]["input"]
    assert (said["dataset"], said["modalities"]) == ("own", list(SEQUENCES))
    assert said["label_codes"] == {"0": 0, "7": 1, "3": 2} and len(said["crop"]) == dims

    run("evaluating", "train", *overlays, **common, **settings, metrics=["dice"])
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["dataset"], summary["regions"], summary["cases"]) == ("own", ["all", "core"], 1)
    assert len(summary["subsets"]) == 31

    segmented = tmp_path / "segmented"
    run(
        *("inference", "inference", "own_data"),
        **settings,
        of=bundle,
        output_dir=segmented,
        ckpt=out / "model.pt",
        dataset_dir=own_data / "scans",
    )
    written = {path.parent.name: np.asarray(nib.load(path).dataobj) for path in segmented.glob("*/*_seg.nii.gz")}
    assert set(written) == {f"P{number}" for number in range(4)}
    assert {array.shape for array in written.values()} == {SIZE}
    assert set(np.unique(np.stack(list(written.values())))) <= {0, 3, 7}

    scans = {name: own_data / f"scans/P1/P1_{name}.nii.gz" for name in SEQUENCES}
    found = Segmenter.load(BUNDLES / bundle, ckpt=out / "model.pt").segment(scans)  # data set: dataset.json beside it
    np.testing.assert_array_equal(found.image.dataobj, written["P1"])


def test_a_datalist_of_it_says_how_it_is_trained(run, refused, own_data):
    wanted = f"add configs/own_data.json to the config files, and dataset_file {own_data}/own3d.json"
    with refused(f"expected at least one of bssfp, .*; the datalist is of own: {wanted}"):
        run("training", "train", datalist=own_data / "list3d.json", of="myops2020_rfnet")


@pytest.mark.parametrize(
    ("run_id", "configs"),
    [("training", ("train",)), ("evaluating", ("train", "evaluate")), ("inference", ("inference",))],
)
def test_a_file_alone_is_refused_because_numbers_stand_in_the_configs(run, refused, own_data, run_id, configs):
    with refused("own3d.json: these configs hold numbers of brats2020; add configs/own_data.json to the config files"):
        run(run_id, *configs, dataset_file=own_data / "own3d.json")


@pytest.mark.parametrize("bundle", sorted(path.name for path in BUNDLES.iterdir()))
def test_every_program_of_every_bundle_takes_data_of_another_dimension(own_data, bundle):
    dims = 2 if bundle.startswith("brats2020") else 3
    for names in (
        ("train", "own_data", "evaluate"),
        ("train", "evaluate", "own_data"),
        ("inference", "own_data"),
        ("train", "own_data", "released_code", "moddrop", "multi_gpu_train"),
        ("train", "pmr", "pdt", "own_data"),
    ):
        parser = ConfigParser()
        parser.read_config([str(BUNDLES / bundle / "configs" / f"{name}.json") for name in names])
        parser.update({"dataset_file": str(own_data / f"own{dims}d.json"), "bundle_root": str(own_data)})
        parser.update({key: 8 for key in ("network_width", "token_dim", "mlp_dim") if key in parser})
        assert parser.get_parsed_content("modalities") == list(SEQUENCES)
        assert parser.get_parsed_content("spacing") == [1.0] * dims
        assert parser.get_parsed_content("roi_size") == [16] * dims
        network = parser.get_parsed_content("network_def")
        sizes = {"n_modalities": 5, "n_classes": 3, "spatial_dims": dims}
        assert {name: network.settings[name] for name in sizes} == sizes
        assert network.settings.get("img_size", [16] * dims) == [16] * dims
        steps = parser.get_parsed_content("preprocessing").transforms
        assert [type(step).__name__ for step in steps if not getattr(step, "only_warns", False)] == [
            *("LoadModalitiesd", "Orientationd", "Spacingd", "PadModalitiesd", "NormalizeModalitiesd")
        ]
        if "evaluate" not in names and "inference" not in names:
            assert len(parser.get_parsed_content("spatial_augmentation").transforms) == dims + 2
            assert callable(parser.get_parsed_content("samples"))


def test_a_wrong_file_is_refused_in_one_line(run, refused, own_data, tmp_path):
    (tmp_path / "wrong.json").write_text("{}")
    with refused("wrong.json: name is missing; a data set has at least name, modalities, classes"):
        run("training", "train", datalist=own_data / "list3d.json", dataset_file=tmp_path / "wrong.json")
