import hashlib

import pytest

from passion_components.files import content_hash, content_hashes


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class TestContentHash:
    def test_of_a_file_is_its_sha256(self, tmp_path):
        (tmp_path / "a.nii").write_bytes(b"1")
        (tmp_path / "a.nii.gz").write_bytes(b"2")
        assert content_hash(tmp_path / "a.nii") == sha256(b"1")

    def test_of_a_folder_is_that_of_its_files_in_order(self, tmp_path):
        for name, content in (("b", b"2"), ("a", b"1"), ("c/a", b"3")):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(content)
        assert content_hash(tmp_path) == sha256(b"123")

    @pytest.mark.parametrize("suffix", ["mhd", "nhdr", "hdr"])
    def test_of_a_header_counts_the_values_beside_it(self, tmp_path, suffix):
        for name, content in ((f"a.{suffix}", b"1"), ("a.raw", b"2"), ("ab.raw", b"3")):
            (tmp_path / name).write_bytes(content)
        assert content_hash(tmp_path / f"a.{suffix}") == sha256(b"12")

    def test_of_many_paths_each_once_and_none_for_what_is_not_there(self, tmp_path):
        (tmp_path / "a").write_bytes(b"1")
        here, missing = tmp_path / "a", tmp_path / "b"
        assert content_hashes([here, missing, here]) == {here: sha256(b"1"), missing: None}
