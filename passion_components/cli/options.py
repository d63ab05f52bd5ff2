"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from passion_components.data.lists.datalist import dataset_of
from passion_components.datasets import BRATS2020, DATASETS, DatasetSpec, dataset_spec

DatasetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.json",
        show_default=False,
        help=f"The data set: {', '.join(DATASETS)}, or the JSON file of another; by default what the datalist names.",
    ),
]


def dataset_for(named: str | None, datalist: Path) -> DatasetSpec:
    """The data set that is named, else that of a datalist; one that names none is of BraTS2020.

    Raises:
        FileNotFoundError, ValueError: as :func:`dataset_spec` and :func:`dataset_of`.
    """
    return dataset_spec(named) if named is not None else dataset_of(datalist) or BRATS2020
