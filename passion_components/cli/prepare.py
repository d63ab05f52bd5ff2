"""``passion prepare``: datalists for data in the published layouts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from passion_components.cli.progress import progress
from passion_components.data.datalists import PARTS, presence_table
from passion_components.data.label_codes import numbers
from passion_components.data.lgg import prepare_lgg
from passion_components.data.prepare import prepare_cases
from passion_components.data.split_files import find_split, read_split
from passion_components.data.splits import parse_split
from passion_components.datasets import BRATS2020, MYOPS2020, TCGA_LGG, DatasetSpec

app = typer.Typer(no_args_is_help=True, help="Find cases in a published layout and list them for the bundles.")

DEFAULT = "training=0.7,validation=0.1,test=0.2"

SplitOption = Annotated[
    str,
    typer.Option(
        show_default=False,
        help="Shares of the cases, which add up to 1, or whole numbers of them; a part that is not named is empty. "
        f"Default: {DEFAULT}",
    ),
]

SeedOption = Annotated[int, typer.Option(min=0, help="Another seed splits the cases otherwise.")]
ForcedOption = Annotated[
    list[str] | None, typer.Option(show_default=False, help="Patient that must be in this part; may be repeated.")
]

SplitOfOption = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        metavar="BUNDLE",
        help="Put patients into the parts that a bundle's weights were made with; also a split.json.",
    ),
]


@app.callback()
def prepare() -> None:
    """Find cases in a published layout and list them for the bundles."""


PatternOption = Annotated[
    list[str] | None,
    typer.Option(
        show_default=False, metavar="NAME=PATTERN", help="Files of a sequence or label; * is the case's name."
    ),
]
ListOption = Annotated[
    list[str] | None,
    typer.Option("--list", show_default=False, metavar="PART=FILE", help="Cases of a part, one a line, as published."),
]
SchemeOption = Annotated[
    str | None, typer.Option(show_default=False, help="Of the label files; by default found from their values.")
]
SourceArgument = Annotated[
    Path, typer.Argument(metavar="SRC", help="Folder with the cases, at any depth, or a CSV file; only read.")
]
OutOption = Annotated[Path, typer.Option(help="Folder for datalist.json.")]


@app.command()
def brats(
    source: SourceArgument,
    out: OutOption,
    split: SplitOption = DEFAULT,
    seed: SeedOption = 0,
    pattern: PatternOption = None,
    list_: ListOption = None,
    label_scheme: SchemeOption = None,
) -> None:
    """BraTS 2018 to 2024, MSD Task01, nnU-Net folders, or files of any names.

    Images stay where they are. Cases that lack sequences are listed as they are,
    scans of one patient get into one part.

        passion prepare brats MICCAI_BraTS2020_TrainingData --out data \\
            --split training=219,validation=50,test=100

    Files with other names, or a table with the columns case, flair, ... label:

        passion prepare brats scans --out data --pattern t1="*_T1.nii.gz" \\
            --pattern flair="*_FLAIR.nii.gz" --pattern label="*_tumor.nii.gz"
        passion prepare brats cases.csv --out data
    """
    _list_cases(source, out, BRATS2020, split, seed, pattern, list_, label_scheme)


@app.command()
def myops(
    source: SourceArgument,
    out: OutOption,
    split: SplitOption = DEFAULT,
    seed: SeedOption = 0,
    pattern: PatternOption = None,
    list_: ListOption = None,
) -> None:
    """MyoPS2020: <case>_{C0,DE,T2}.nii.gz with <case>_gd.nii.gz, in whatever folders.

    SRC holds train25 and train25_myops_gd. Images stay where they are. Cases
    that lack sequences are listed as they are. Other names as with brats.

        passion prepare myops MyoPS2020 --out data --split training=20,test=5
    """
    _list_cases(source, out, MYOPS2020, split, seed, pattern, list_, None)


@app.command()
def lgg(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder with the TCGA_... folders; only read.")],
    out: Annotated[Path, typer.Option(help="Folder for the volumes, datalist.json and summary.json.")],
    split: SplitOption = DEFAULT,
    seed: SeedOption = 0,
    training: ForcedOption = None,
    validation: ForcedOption = None,
    test: ForcedOption = None,
    split_of: SplitOfOption = None,
    pattern: PatternOption = None,
) -> None:
    """TCGA-LGG as the LGG Segmentation Dataset (kaggle_3m): RGB slices in TIFF, made into volumes.

    Sequences that are only a copy of another are left out. Patients are split within each institution. Spacing is
    nominal (1.8 mm at 128 columns, 5 mm between slices), since the published files carry none.

        passion prepare lgg kaggle_3m --out data

    With a patient that must not train, and all of a folder never seen for testing:

        passion prepare lgg kaggle_3m --out data --test TCGA_DU_7294_19890104
        passion prepare lgg new_patients --out new --split test=1

    The parts of the released weights; patients that these do not know are split as usual:

        passion prepare lgg kaggle_3m --out data --split-of tcga_lgg_rfnet

    Volumes instead of those slices, by patterns or a table as with brats:

        passion prepare lgg scans --out new --pattern flair="*_FLAIR.nii.gz"
    """
    by_part = {"training": training, "validation": validation, "test": test}
    if pattern or source.suffix.lower() == ".csv":
        if split_of or any(by_part.values()):
            raise ValueError("--split-of, --training, --validation and --test are for the published folders of slices")
        return _list_cases(source, out, TCGA_LGG, split, seed, pattern, None, None)
    with progress("reading") as update:
        datalist, parts, summary, problems = prepare_lgg(
            source,
            out,
            split=parse_split(split),
            seed=seed,
            forced=_forced(split_of, by_part, source),
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
    return print_parts(datalist, parts, TCGA_LGG.modalities)


def _forced(split_of: str | None, by_part: Mapping[str, Sequence[str] | None], source: Path) -> dict[str, str]:
    """Patient -> part for those that are named, and for those of the source that the split of some weights names."""
    forced: dict[str, str] = {}
    if split_of:
        path = find_split(split_of)
        split = read_split(path)
        forced = {name: part for name, part in split.items() if (source / name).is_dir()}
        typer.echo(f"{len(forced)} of {len(split)} patients of {path} are in {source}", err=True)
    for part, name in [(part, name) for part, names in by_part.items() for name in names or ()]:
        if forced.setdefault(name, part) != part:
            raise ValueError(f"{name} is forced into {forced[name]} and into {part}; name it once")
    return forced


def _list_cases(
    source: Path,
    out: Path,
    spec: DatasetSpec,
    split: str,
    seed: int,
    patterns: Sequence[str] | None,
    lists: Sequence[str] | None,
    label_scheme: str | None,
) -> None:
    """Write a datalist of what a source holds, and tell what it holds."""
    with progress("reading labels") as update:
        done = prepare_cases(
            source,
            out,
            spec,
            split=parse_split(split),
            seed=seed,
            patterns=patterns or (),
            lists=_parse_lists(lists or ()),
            label_scheme=label_scheme,
            progress=lambda number, total: update(completed=number, total=total),
        )
    for note in done.notes:
        typer.echo(f"note: {note}", err=True)
    print_parts(done.datalist, done.parts, spec.modalities)
    typer.echo(f"label scheme {done.label_scheme}; values in the label files: {numbers(done.label_values)}")


def _parse_lists(texts: Sequence[str]) -> dict[str, Path]:
    lists = {}
    for text in texts:
        part, _, path = text.partition("=")
        if part not in PARTS or not path:
            raise ValueError(f"list {text!r}: expected part=file with a part among {', '.join(PARTS)}")
        lists[part] = Path(path)
    return lists


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
