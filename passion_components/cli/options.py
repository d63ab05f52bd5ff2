"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

from passion_components.data.lists.datalist import Datalist
from passion_components.datasets import BRATS2020, DATASETS, DatasetSpec, dataset_spec

DatasetOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE.json",
        show_default=False,
        help=f"The data set: {', '.join(DATASETS)}, or the JSON file of another; by default what the datalist names.",
    ),
]


def dataset_for(named: str | None, datalist: Datalist) -> DatasetSpec:
    """The data set that is named, else that of a datalist; one that names none is of BraTS2020.

    Raises:
        FileNotFoundError, ValueError: as :func:`dataset_spec` and :meth:`Datalist.dataset`.
    """
    return dataset_spec(named) if named is not None else datalist.dataset() or BRATS2020
