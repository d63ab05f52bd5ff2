"""Sizes are judged before anything is decompressed."""

import gzip
import time
import zlib

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.errors import CaseError
from passion_components.data.reading import limits
from passion_components.data.reading.volumes import read_volume

NRRD = (
    "NRRD0004\ntype: uchar\ndimension: 3\nsizes: {0} {0} {0}\nspace: left-posterior-superior\n"
    "space directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nencoding: gzip\n\n"
)
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\nCompressedData = True\nCompressedDataSize = {1}\n"
    "DimSize = {0} {0} {0}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
)
ZEROS = bytes(2**20)


def nifti_header(size):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((size,) * 3)
    header.set_sform(np.eye(4), code=1)
    header["magic"], header["vox_offset"] = b"n+1", 352
    return header.binaryblock + bytes(4)


def written(path, size):
    """A file of 1 MiB of zeros whose header says ``size`` ** 3."""
    if path.name.endswith(".nii.gz"):
        path.write_bytes(gzip.compress(nifti_header(size) + ZEROS))
    elif path.suffix == ".nrrd":
        path.write_bytes(NRRD.format(size).encode() + gzip.compress(ZEROS))
    else:
        packed = zlib.compress(ZEROS)
        path.write_bytes(META.format(size, len(packed)).encode() + packed)
    return path


def refusal(path):
    with pytest.raises(CaseError) as caught:
        read_volume(path, case="P1")
    message = str(caught.value)
    assert message.startswith(f"P1: {path}") and "\n" not in message
    return message


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_more_voxels_than_the_limit_are_refused_by_the_header_alone(tmp_path, name):
    message = refusal(written(tmp_path / name, 800))
    assert "800 x 800 x 800 voxels, 512 million; accepted: up to 268 million" in message


def test_that_takes_no_time(tmp_path):
    path = written(tmp_path / "a.nii.gz", 800)
    started = time.perf_counter()
    refusal(path)
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_more_than_memory_has_room_for_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(limits, "available_memory", lambda: 10**9)
    message = refusal(written(tmp_path / name, 500))
    assert "which need 2.0 GB of memory while they are read; 1.0 GB are free" in message


def test_memory_is_that_of_the_system(tmp_path, monkeypatch):
    (tmp_path / "meminfo").write_text("MemTotal:   9 kB\nMemAvailable:      2048 kB\n")
    monkeypatch.setattr(limits, "_MEMORY", tmp_path / "meminfo")
    assert limits.available_memory() == 2**21
    monkeypatch.setattr(limits, "_MEMORY", tmp_path / "none")
    assert limits.available_memory() is None


def test_a_stream_longer_than_its_header_says_is_not_decompressed_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr("passion_components.data.reading.nifti.MAX_HEADER", 1000)
    path = written(tmp_path / "a.nii.gz", 10)
    assert "it goes on after the 1352 bytes that its header announces" in refusal(path)


@pytest.mark.parametrize("offset", [1e12, -5.0])
def test_voxels_far_behind_the_header_are_refused(tmp_path, offset):
    header = nib.Nifti1Header(nifti_header(10)[:348], check=False)
    header["vox_offset"] = offset
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + ZEROS))
    assert "cannot be read" in refusal(tmp_path / "a.nii.gz")


def test_a_usual_size_is_read(tmp_path):
    assert read_volume(written(tmp_path / "a.nii.gz", 101), case="P1").array.shape == (101, 101, 101)
