"""The data sets of the bundles, and how any data set is named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from passion_components.datasets.reading import read_dataset
from passion_components.datasets.spec import DatasetSpec

DATASETS: Mapping[str, DatasetSpec] = {
    spec.name: spec for spec in map(read_dataset, sorted(Path(__file__).parent.glob("*.json")))
}

BRATS2020 = DATASETS["brats2020"]
MYOPS2020 = DATASETS["myops2020"]
TCGA_LGG = DATASETS["tcga_lgg"]


def dataset_spec(name: str | Path) -> DatasetSpec:
    """The data set of a name, or of a JSON file as :func:`~passion_components.datasets.reading.read_dataset` reads it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no such data set, a file that describes none, or one that bears the name of another data set.
    """
    if str(name) in DATASETS:
        return DATASETS[str(name)]
    if not str(name).lower().endswith(".json"):
        raise ValueError(
            f"unknown data set {str(name)!r}; accepted: {', '.join(DATASETS)}, or the JSON file of another"
        )
    spec = read_dataset(Path(name))
    if spec != DATASETS.get(spec.name, spec):
        raise ValueError(
            f"{name}: name {spec.name!r} is that of another data set, of the bundles; choose a name of its own"
        )
    return replace(spec, file=Path(name).absolute())
