"""Empty files under the names of data sets."""

import pytest


@pytest.fixture
def make(tmp_path):
    """Make empty files below ``tmp_path``, which is returned."""

    def make_files(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return make_files


def brats_case(case, keys=("flair", "t1", "t1ce", "t2", "seg"), suffix=".nii.gz"):
    """Names of a case's files as in BraTS2020."""
    return [f"{case}/{case.split('/')[-1]}_{key}{suffix}" for key in keys]
