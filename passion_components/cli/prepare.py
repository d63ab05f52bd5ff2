"""``passion prepare``: datalists for data in the published layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from passion_components.data.datalists import parse_split, presence_table
from passion_components.data.discovery import prepare_brats
from passion_components.datasets import BRATS2020

app = typer.Typer(no_args_is_help=True, help="Find cases in a published layout and list them for the bundles.")

SplitOption = Annotated[
    str,
    typer.Option(
        show_default=False,
        help="Shares of the cases, which add up to 1; a part that is not named is empty. "
        "Default: training=0.7,validation=0.1,test=0.2",
    ),
]


@app.callback()
def prepare() -> None:
    """Find cases in a published layout and list them for the bundles."""


@app.command()
def brats(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with the cases, at any depth; only read.")],
    out: Annotated[Path, typer.Option(help="Folder for datalist.json.")],
    split: SplitOption = "training=0.7,validation=0.1,test=0.2",
    seed: Annotated[int, typer.Option(min=0, help="Another seed splits the cases otherwise.")] = 0,
) -> None:
    """BraTS2020: <case>/<case>_{flair,t1,t1ce,t2,seg}.nii.gz (or .nii).

    Cases that lack sequences are listed as they are; images stay where they are.

        passion prepare brats MICCAI_BraTS2020_TrainingData --out data

    Everything for training:

        passion prepare brats MICCAI_BraTS2020_TrainingData --out data \\
            --split training=1
    """
    datalist, parts, problems = prepare_brats(source, out, split=parse_split(split), seed=seed)
    for problem in problems:
        typer.echo(f"note: {problem}", err=True)
    print_parts(datalist, parts, BRATS2020.modalities)


def print_parts(datalist: Path, parts: Mapping[str, Sequence[Mapping[str, str]]], modalities: Sequence[str]) -> None:
    """Print how many cases each part of a datalist has, in all and with each sequence."""
    typer.echo(str(datalist))
    table = Table()
    table.add_column("part")
    for name in ("cases", *modalities):
        table.add_column(name, justify="right")
    for part, cases in parts.items():
        with_sequence = presence_table(cases, modalities).sum(0).tolist()
        table.add_row(part, *map(str, (len(cases), *with_sequence)))
    Console().print(table)
