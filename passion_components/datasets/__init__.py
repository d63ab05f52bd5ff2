"""Data sets, as data: each is one JSON file, those that the bundles are made for lie in this folder."""

from passion_components.datasets.built_in import BRATS2020, DATASETS, MYOPS2020, TCGA_LGG, dataset_spec
from passion_components.datasets.sequences import known_sequence, roles, vocabulary
from passion_components.datasets.spec import DatasetSpec, plain, spelling

__all__ = [
    "BRATS2020",
    "DATASETS",
    "MYOPS2020",
    "TCGA_LGG",
    "DatasetSpec",
    "dataset_spec",
    "known_sequence",
    "plain",
    "roles",
    "spelling",
    "vocabulary",
]
