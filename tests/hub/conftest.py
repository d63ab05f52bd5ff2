"""Small zips that look like bundles."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

METADATA = {"version": "0.1.0", "name": "PASSION on RFNet, phantoms", "data_license": "none"}


@pytest.fixture(autouse=True)
def passion_home(monkeypatch, tmp_path) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("PASSION_HOME", str(home))
    return home


@pytest.fixture
def make_zip(tmp_path) -> Callable[..., Path]:
    """A zip of a bundle, with more members or other ones."""

    def make(
        name: str = "small",
        *,
        version: str = "0.1.0",
        more: Mapping[str | zipfile.ZipInfo, bytes] | None = None,
        folder: Path = tmp_path,
    ) -> Path:
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}_v{version}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name}/configs/metadata.json", json.dumps(METADATA | {"version": version}))
            archive.writestr(f"{name}/docs/README.md", "A bundle.\n")
            for member, content in (more or {}).items():
                archive.writestr(member, content)
        return path

    return make
