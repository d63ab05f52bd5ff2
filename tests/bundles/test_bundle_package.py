"""A packaged bundle runs where this repository is not."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import monai.bundle
import nibabel as nib
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from passion_components import __version__
from passion_components.data.errors import UserError
from passion_components.files import sha256_of
from passion_components.hub.archive import unpack
from passion_components.hub.download import download
from passion_components.hub.facts import mean_dice
from passion_components.hub.index import read_index
from passion_components.hub.sources import source_at

ROOT = Path(__file__).resolve().parents[2]
NAME = "tcga_lgg_rfnet"
SETTINGS = {"roi_size": [16, 16], "spacing": [11.52, 11.52], "network_width": 4}


@pytest.fixture(scope="module")
def scripts() -> ModuleType:
    """``scripts/package_bundles.py``, which finds what lies beside it."""
    spec = importlib.util.spec_from_file_location("package_bundles", ROOT / "scripts" / "package_bundles.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def archive(scripts, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    scripts.package([ROOT / "bundles" / NAME], out, allow_dirty=True)
    return out / f"{NAME}_v{__version__}.zip"


@pytest.fixture
def bundle(tmp_path) -> Path:
    """A copy of the bundle that a test may damage."""
    return shutil.copytree(ROOT / "bundles" / NAME, tmp_path / NAME, ignore=shutil.ignore_patterns("output"))


@pytest.fixture
def weights(random_weights_of) -> Path:
    return random_weights_of(NAME)


def test_is_the_same_bytes_twice_and_its_hash_is_told(scripts, archive, tmp_path):
    scripts.write_zip(tmp_path / "again.zip", scripts.bundle_content(ROOT / "bundles" / NAME))
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (archive.parent / "SHA256SUMS").read_text() == f"{digest}  {archive.name}\n"
    names = zipfile.ZipFile(archive).namelist()
    assert {name.split("/")[0] for name in names} == {NAME}
    assert f"{NAME}/LICENSE" in names and f"{NAME}/passion_components/__init__.py" in names
    assert not [name for name in names if "__pycache__" in name or "/output/" in name]


def test_its_index_tells_licence_and_scores_of_the_weights(archive):
    entry = read_index((archive.parent / "bundles.json").read_bytes(), "index")[NAME]
    evaluation = json.loads((ROOT / "bundles" / NAME / "models" / "evaluation.json").read_text())
    assert entry.weights and "CC BY-NC-SA 4.0" in entry.data_licence
    assert (
        entry.scores["cases"] == evaluation["cases"] and entry.scores["subsets"].keys() == evaluation["subsets"].keys()
    )
    # every region is the lesion, so the mean over subsets weighs them as the evaluation's own
    assert mean_dice(entry.scores) == pytest.approx(evaluation["mean_over_subsets"]["dice"]["lesion"], abs=1e-12)


def test_downloaded_by_passion_monai_loads_its_network_and_weights(archive, tmp_path):
    source = source_at(str(archive.parent))
    assert download(source.index()[NAME], source, tmp_path, moved=lambda have: None)
    network = monai.bundle.load(NAME, bundle_dir=str(tmp_path), workflow_type="inference", device="cpu")
    saved = torch.load(ROOT / "bundles" / NAME / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "bundles").iterdir()))
def test_every_packaged_bundle_is_as_the_model_zoo_asks(scripts, name, tmp_path):
    scripts.write_zip(tmp_path / f"{name}.zip", scripts.bundle_content(ROOT / "bundles" / name))
    bundle = unpack(tmp_path / f"{name}.zip", tmp_path / "unpacked")
    asked = ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf", "configs/metadata.json")
    asked += ("configs/train.json", "configs/evaluate.json", "configs/inference.json", "configs/multi_gpu_train.json")
    assert bundle.name == name and all((bundle / file).stat().st_size for file in asked)
    assert max(file.stat().st_size for file in bundle.rglob("*")) <= 25e6
    schema = ROOT / "tests" / "data" / "metadata_schema.json"  # where it lies, nothing is downloaded
    monai.bundle.verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["version"] == __version__ == list(metadata["changelog"])[-1] and "_v" not in name


class TestRefused:
    """Before anything is written."""

    def test_what_is_not_committed(self, scripts, tmp_path):
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        (tmp_path / "new.py").write_text("")
        (tmp_path / "scan.nii.gz").write_bytes(b"")  # beside the files of the zip, so it need not be committed
        scripts.check_committed(tmp_path)
        with pytest.raises(UserError, match="not committed: new.py; commit or remove it"):
            scripts.check_committed(tmp_path, [tmp_path / "new.py"])
        subprocess.run(["git", "-C", tmp_path, "add", "new.py"], check=True)
        with pytest.raises(UserError, match="not committed: new.py; commit or remove it"):
            scripts.check_committed(tmp_path)

    def test_weights_that_git_ignores(self, scripts, tmp_path):
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        (tmp_path / ".git" / "info" / "exclude").write_text("model.pt\n")
        (tmp_path / "model.pt").write_bytes(b"")
        scripts.check_committed(tmp_path)
        with pytest.raises(UserError, match="not committed: model.pt"):
            scripts.check_committed(tmp_path, [tmp_path / "model.pt"])

    def test_what_is_no_repository(self, scripts, tmp_path):
        with pytest.raises(UserError, match="is no git repository"):
            scripts.check_committed(tmp_path)

    def test_configs_that_the_templates_do_not_give(self, scripts, bundle):
        config = bundle / "configs" / "train.json"
        config.write_text(config.read_text().replace("false", "true", 1))
        with pytest.raises(UserError, match="train.json: is stale; run scripts/generate_bundles.py"):
            scripts.check_bundle(bundle)

    @pytest.mark.parametrize("name", ["model.pt", "model.safetensors"])
    def test_weights_of_another_network(self, scripts, bundle, name):
        models = bundle / "models"
        state = torch.load(models / "model.pt", weights_only=True)
        del state["head.bias"]
        (torch.save if name == "model.pt" else save_file)(state, models / name)
        about = json.loads((models / "model.json").read_text())
        about["sha256" if name == "model.pt" else "sha256_safetensors"] = sha256_of(models / name)
        (models / "model.json").write_text(json.dumps(about))
        with pytest.raises(UserError, match=f"{name} does not fit RFNet as configured here: head.bias is missing"):
            scripts.check_bundle(bundle)

    def test_scores_of_other_weights(self, scripts, bundle):
        scripts.check_bundle(bundle)
        evaluation = bundle / "models" / "evaluation.json"
        summary = json.loads(evaluation.read_text())
        summary["run"]["weights"]["sha256"] = "0" * 64
        evaluation.write_text(json.dumps(summary))
        with pytest.raises(UserError, match="is of weights with SHA-256 0000.*, which are not beside it"):
            scripts.check_bundle(bundle)

    def test_an_output_that_is_a_file(self, scripts, monkeypatch, capsys, tmp_path):
        (tmp_path / "dist").touch()
        monkeypatch.setattr(scripts, "check_bundle", lambda bundle: None)
        monkeypatch.setattr(sys, "argv", ["package_bundles.py", NAME, "--allow-dirty", "--out", str(tmp_path / "dist")])
        assert scripts.main() == 1
        assert capsys.readouterr().err == f"error: {tmp_path / 'dist'}: is a file; name a folder for the output\n"


def test_downloaded_into_an_empty_folder_it_segments_as_in_the_repository(
    archive, run, slice_phantoms, weights, tmp_path
):
    empty = tmp_path / "elsewhere"
    empty.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}

    def python(*words, cwd):
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    download = ("--name", NAME, "--version", __version__, "--url", archive.as_uri(), "--bundle_dir", ".")
    python("-m", "monai.bundle", "download", *download, cwd=empty)
    where = python("-c", "import passion_components; print(passion_components.__file__)", cwd=empty / NAME)
    assert Path(where.strip()).is_relative_to(empty)

    options = [word for key, value in SETTINGS.items() for word in (f"--{key}", value)]
    options += ["--dataset_dir", slice_phantoms, "--ckpt", weights, "--output_dir", tmp_path / "there"]
    command = ("-m", "monai.bundle", "run", "inference", "--config_file", "configs/inference.json")
    python(*command, *options, cwd=empty / NAME)

    run("inference", "inference", of=NAME, ckpt=weights, output_dir=tmp_path / "here")
    segmented = sorted((tmp_path / "here").glob("*/*_seg.nii.gz"))
    assert len(segmented) == 8
    for file in segmented:
        there = tmp_path / "there" / file.relative_to(tmp_path / "here")
        np.testing.assert_array_equal(np.asarray(nib.load(there).dataobj), np.asarray(nib.load(file).dataobj))
    assert len({np.asarray(nib.load(file).dataobj).sum() for file in segmented}) > 1
