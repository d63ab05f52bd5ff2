import json

import nibabel as nib
import numpy as np
import pytest

from passion_components import Segmenter
from passion_components.data.errors import UserError
from passion_components.modalities import all_subsets


@pytest.fixture
def segmenter(bundle):
    return Segmenter.load(bundle)


def test_images_and_files_give_the_same(segmenter, scans):
    files = {name: scans / f"P0/P0_{name}.nii.gz" for name in ("flair", "t1")}
    by_file = segmenter.segment(files)
    by_image = segmenter.segment({name: nib.load(file) for name, file in files.items()})
    np.testing.assert_array_equal(by_image.image.dataobj, by_file.image.dataobj)
    np.testing.assert_array_equal(by_image.image.affine, nib.load(files["t1"]).affine)
    assert by_file.facts["used"] == ["t1", "flair"]
    assert by_file.facts["scans"]["t1"]["file"] == str(files["t1"])
    assert by_image.facts["scans"]["t1"]["file"] is None
    assert by_image.facts["regions"] == by_file.facts["regions"]


def test_every_subset_gives_what_it_gives_alone(segmenter, scans):
    files = {name: scans / f"P0/P0_{name}.nii.gz" for name in segmenter.spec.modalities}
    maps = {subset: segmenter.segment({name: files[name] for name in subset}) for subset in all_subsets(tuple(files))}
    assert all(found.facts["used"] == list(subset) for subset, found in maps.items())
    assert len({np.asarray(found.image.dataobj).tobytes() for found in maps.values()}) > 1


@pytest.mark.parametrize("said", [{}, {"mirror_axes": [1, 0]}])
def test_windows_are_mirrored_as_the_json_beside_the_weights_says(bundle, said):
    about = bundle / "models/model.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | said))
    segmenter = Segmenter.load(bundle)
    assert segmenter.settings["mirror_axes"] == said.get("mirror_axes", [])
    assert segmenter.inferer.mirror_axes == ((0, 1) if said else ())


def test_mirror_axes_that_no_window_has_are_refused(bundle):
    about = bundle / "models/model.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"mirror_axes": [2]}))
    with pytest.raises(
        UserError, match=r"^small: mirror_axes must be a list of different axes from 0 to 1, .* got \[2\]"
    ):
        Segmenter.load(bundle)


@pytest.mark.parametrize(
    ("dataset", "asked", "share"),
    [
        ("tcga_lgg", None, 0.25),
        ("tcga_lgg", 0.0, 0.0),
        ("tcga_lgg", 1.0, 1.0),
        ("myops2020", None, 0.0),
    ],
)
def test_the_share_of_components_is_the_bundles_for_its_own_data_set_or_what_is_asked(bundle, dataset, asked, share):
    (bundle / "configs/train.json").write_text(json.dumps({"dataset_file": dataset, "min_component_share": 0.25}))
    assert Segmenter.load(bundle, min_component_share=asked).settings["min_component_share"] == share


def test_the_weights_in_safetensors_go_before_those_that_torch_wrote(segmenter, bundle):
    assert segmenter.model.weights == bundle / "models/model.safetensors"
    (bundle / "models/model.safetensors").unlink()
    assert Segmenter.load(bundle).model.weights == bundle / "models/model.pt"


def test_unknown_sequences_and_none_are_refused(segmenter, scans):
    with pytest.raises(UserError, match="unknown sequence 't2'; accepted: t1, flair, t1ce"):
        segmenter.segment({"t2": scans / "P0/P0_t1.nii.gz"})
    with pytest.raises(UserError, match="no sequence was given; accepted: t1, flair, t1ce"):
        segmenter.segment({})


def test_warnings_of_a_case_are_among_its_facts(segmenter, scans):
    scan = nib.load(scans / "P0/P0_t1.nii.gz")
    constant = nib.Nifti1Image(np.ones(scan.shape, np.int16), scan.affine)
    facts = segmenter.segment({"t1": scan, "flair": constant}).facts
    assert facts["left_out"] == ["flair"]
    assert any("flair counts as absent" in warning for warning in facts["warnings"])


def test_regions_count_components_that_touch_by_corners_as_one():
    from passion_components.datasets import TCGA_LGG
    from passion_components.predict.facts import regions_of

    class_map = np.zeros((4, 4, 4), np.uint8)
    class_map[0, 0, 0] = class_map[1, 1, 1] = class_map[3, 3, 3] = 1
    assert regions_of(class_map, {"lesion": 0.0031}, TCGA_LGG) == {"lesion": {"millilitres": 0.003, "components": 2}}


def test_scans_that_cannot_be_segmented_are_told_of_in_one_line(segmenter, scans):
    image = nib.load(scans / "P0/P0_t1.nii.gz")
    values = np.asarray(image.dataobj)
    refused = {
        "no such file|cannot be read": {"t1": scans / "gone.nii.gz"},
        "is a int; accepted: a file, or an image": {"t1": 3},
        "expected one 3D volume": {"t1": nib.Nifti1Image(np.stack([values] * 3, -1), image.affine)},
        "lie on different grids": {"t1": image, "flair": nib.Nifti1Image(values[:-2], image.affine)},
    }
    for line, given in refused.items():
        with pytest.raises(UserError, match=line) as caught:
            segmenter.segment(given)
        assert "\n" not in str(caught.value)
