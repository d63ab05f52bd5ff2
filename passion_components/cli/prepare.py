"""``passion prepare``: datalists for data in the published layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from passion_components.cli.progress import progress
from passion_components.data.datalists import parse_split, presence_table
from passion_components.data.discovery import BRATS2020_LAYOUT, MYOPS2020_LAYOUT, Layout, prepare_cases
from passion_components.data.lgg import prepare_lgg
from passion_components.datasets import BRATS2020, MYOPS2020, TCGA_LGG

app = typer.Typer(no_args_is_help=True, help="Find cases in a published layout and list them for the bundles.")

SplitOption = Annotated[
    str,
    typer.Option(
        show_default=False,
        help="Shares of the cases, which add up to 1; a part that is not named is empty. "
        "Default: training=0.7,validation=0.1,test=0.2",
    ),
]

SeedOption = Annotated[int, typer.Option(min=0, help="Another seed splits the cases otherwise.")]
ForcedOption = Annotated[
    list[str] | None, typer.Option(show_default=False, help="Patient that must be in this part; may be repeated.")
]


@app.callback()
def prepare() -> None:
    """Find cases in a published layout and list them for the bundles."""


@app.command()
def brats(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with the cases, at any depth; only read.")],
    out: Annotated[Path, typer.Option(help="Folder for datalist.json.")],
    split: SplitOption = "training=0.7,validation=0.1,test=0.2",
    seed: SeedOption = 0,
) -> None:
    """BraTS2020: <case>/<case>_{flair,t1,t1ce,t2,seg}.nii.gz (or .nii).

    Cases that lack sequences are listed as they are; images stay where they are.

        passion prepare brats MICCAI_BraTS2020_TrainingData --out data

    Everything for training:

        passion prepare brats MICCAI_BraTS2020_TrainingData --out data \\
            --split training=1
    """
    _list_cases(source, out, BRATS2020_LAYOUT, split, seed, BRATS2020.modalities)


@app.command()
def myops(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder that holds train25 and train25_myops_gd; read.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for datalist.json.")],
    split: SplitOption = "training=0.7,validation=0.1,test=0.2",
    seed: SeedOption = 0,
) -> None:
    """MyoPS2020: <case>_{C0,DE,T2}.nii.gz with <case>_gd.nii.gz, in whatever folders.

    Cases that lack sequences are listed as they are; images stay where they are.

        passion prepare myops MyoPS2020 --out data --split training=0.8,test=0.2
    """
    _list_cases(source, out, MYOPS2020_LAYOUT, split, seed, MYOPS2020.modalities)


@app.command()
def lgg(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with the TCGA_... folders; only read.")],
    out: Annotated[Path, typer.Option(help="Folder for the volumes, datalist.json and summary.json.")],
    split: SplitOption = "training=0.7,validation=0.1,test=0.2",
    seed: SeedOption = 0,
    training: ForcedOption = None,
    validation: ForcedOption = None,
    test: ForcedOption = None,
) -> None:
    """TCGA-LGG as the LGG Segmentation Dataset (kaggle_3m): RGB slices in TIFF, made into volumes.

    Sequences that are only a copy of another are left out. Patients are split within each institution. Spacing is
    nominal (1.8 mm at 128 columns, 5 mm between slices), since the published files carry none.

        passion prepare lgg kaggle_3m --out data

    With a patient that must not train, and all of a folder never seen for testing:

        passion prepare lgg kaggle_3m --out data --test TCGA_DU_7294_19890104
        passion prepare lgg new_patients --out new --split test=1
    """
    by_part = {"training": training, "validation": validation, "test": test}
    forced: dict[str, str] = {}
    for part, name in [(part, name) for part, names in by_part.items() for name in names or ()]:
        if forced.setdefault(name, part) != part:
            raise ValueError(f"{name} is forced into {forced[name]} and into {part}; name it once")
    with progress("reading") as update:
        datalist, parts, summary, problems = prepare_lgg(
            source,
            out,
            split=parse_split(split),
            seed=seed,
            forced=forced,
            progress=lambda done, total: update(completed=done, total=total),
        )
    for problem in problems:
        typer.echo(f"note: {problem}", err=True)
    typer.echo(
        f"{summary['patients']} patients, {summary['slices']} slices, {summary['lesion_slices']} with lesion; "
        f"{summary['source']}\nspacing is {summary['geometry']}"
    )
    for name, patients in summary["absent"].items():
        typer.echo(f"{name} absent in {len(patients)}: {', '.join(patients) or 'none'}")
    print_parts(datalist, parts, TCGA_LGG.modalities)


def _list_cases(source: Path, out: Path, layout: Layout, split: str, seed: int, modalities: Sequence[str]) -> None:
    """Write a datalist of what a folder holds, and tell what it holds."""
    datalist, parts, problems = prepare_cases(source, out, layout, split=parse_split(split), seed=seed)
    for problem in problems:
        typer.echo(f"note: {problem}", err=True)
    print_parts(datalist, parts, modalities)


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
