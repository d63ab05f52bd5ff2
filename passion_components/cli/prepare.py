"""``passion prepare``: the datalist of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from passion_components.cli.options import DatasetOption
from passion_components.cli.progress import progress
from passion_components.data.case_names import PARTS
from passion_components.data.layouts.lgg import holds_patients
from passion_components.data.lists.datalist import presence_table
from passion_components.data.lists.label_codes import numbers
from passion_components.data.lists.prepare import prepare_cases
from passion_components.data.lists.prepare_lgg import prepare_lgg
from passion_components.data.lists.split_files import find_split, read_split
from passion_components.data.lists.splits import parse_split
from passion_components.datasets import BRATS2020, DATASETS, MYOPS2020, TCGA_LGG, DatasetSpec, dataset_spec

LAYOUTS = {"brats": BRATS2020, "myops": MYOPS2020, "lgg": TCGA_LGG}
"""Names of published layouts, and the data set that is meant without ``--dataset``."""

DEFAULT = "training=0.7,validation=0.1,test=0.2"

SplitOption = Annotated[
    str,
    typer.Option(
        show_default=False,
        help="Shares of the cases, which add up to 1, or whole numbers of them; a part that is not named is empty. "
        f"Default: {DEFAULT}",
    ),
]
ForcedOption = Annotated[
    list[str] | None,
    typer.Option(show_default=False, help="Slices (lgg): a patient that must be in this part; may be repeated."),
]
WordsArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="[LAYOUT] SRC",
        show_default=False,
        help="Folder with the cases, at any depth, or a CSV file; only read. brats, myops or lgg before it means "
        "--dataset brats2020, myops2020 or tcga_lgg.",
    ),
]
PatternOption = Annotated[
    list[str] | None,
    typer.Option(
        show_default=False, metavar="NAME=PATTERN", help="Files of a sequence or of label; * is the case's name."
    ),
]
ListOption = Annotated[
    list[str] | None,
    typer.Option(
        "--list", show_default=False, metavar="PART=FILE", help="File with the cases of a part, one per line."
    ),
]
SplitOfOption = Annotated[
    str | None,
    typer.Option(
        show_default=False,
        metavar="BUNDLE",
        help="Slices (lgg): put patients into the parts that a bundle's weights were made with; or a split.json file.",
    ),
]
SchemeOption = Annotated[
    str | None,
    typer.Option(show_default=False, help="How the label files are coded; by default found from their values."),
]

app = typer.Typer()


@app.command()
def prepare(
    words: WordsArgument,
    out: Annotated[Path, typer.Option(help="Folder for datalist.json, and for volumes made of slices.")],
    dataset: DatasetOption = None,
    split: SplitOption = DEFAULT,
    seed: Annotated[int, typer.Option(min=0, help="Another seed splits the cases differently.")] = 0,
    pattern: PatternOption = None,
    list_: ListOption = None,
    label_scheme: SchemeOption = None,
    training: ForcedOption = None,
    validation: ForcedOption = None,
    test: ForcedOption = None,
    split_of: SplitOfOption = None,
) -> None:
    """List the cases of a data set for the bundles: any folders, MSD and nnU-Net folders, a table.

    Images stay where they are. Cases that lack sequences are listed as they are;
    all scans of one patient get into one part.

        passion prepare scans --dataset my.json --out data

    BraTS 2018 to 2024 (for the bundle of BraTS 2021 add --dataset brats2021), and MyoPS2020 (SRC holds train25 and
    train25_myops_gd):

        passion prepare brats MICCAI_BraTS2020_TrainingData --out data \\
            --split training=219,validation=50,test=100
        passion prepare myops MyoPS2020 --out data --split training=20,test=5

    Files with other names, or a table with the columns case, flair, ..., label:

        passion prepare brats scans --out data --pattern t1="*_T1.nii.gz" \\
            --pattern flair="*_FLAIR.nii.gz" --pattern label="*_tumor.nii.gz"
        passion prepare brats cases.csv --out data

    TCGA-LGG as the LGG Segmentation Dataset (kaggle_3m): RGB slices in TIFF, made into volumes. Copies of a sequence
    are left out; patients are split within each institution; spacing is nominal (1.8 mm at 128 columns, 5 mm between
    slices), since the files carry none. To keep a patient out of training; to restore the parts of a bundle's weights:

        passion prepare lgg kaggle_3m --out data --test TCGA_DU_7294_19890104
        passion prepare lgg kaggle_3m --out data --split-of tcga_lgg_rfnet
    """
    layout, source = _layout(words)
    slices = holds_patients(source)
    spec = _spec(dataset, layout, slices, source)
    forced = {"training": training, "validation": validation, "test": test}
    if spec == TCGA_LGG and (slices or layout == "lgg") and not pattern and not source.is_file():
        if list_ or label_scheme:
            raise ValueError("--list and --label-scheme are for volumes, not for the published folders of slices")
        return _prepare_slices(source, out, split, seed, split_of, forced)
    if split_of or any(forced.values()):
        raise ValueError("--split-of, --training, --validation and --test are for the published folders of slices")
    return _list_cases(source, out, spec, split, seed, pattern, list_, label_scheme)


def _layout(words: Sequence[str]) -> tuple[str | None, Path]:
    """Name of a published layout, if one is given, and the source."""
    if len(words) > 2 or (len(words) == 2 and words[0] not in LAYOUTS):
        raise ValueError(
            f"{' '.join(words)}: expected SRC, a folder or CSV file, after one of {', '.join(LAYOUTS)} or alone"
        )
    if len(words) == 1 and words[0] in LAYOUTS and not Path(words[0]).exists():
        raise ValueError(f"{words[0]}: the folder or CSV file of the cases is missing; expected {words[0]} SRC")
    return (None if len(words) == 1 else words[0]), Path(words[-1])


def _spec(dataset: str | None, layout: str | None, slices: bool, source: Path) -> DatasetSpec:
    """The data set that is meant."""
    if dataset is not None:
        return dataset_spec(dataset)
    if layout is not None or slices:
        return LAYOUTS[layout or "lgg"]
    raise ValueError(
        f"{source}: which data set is it? add --dataset, one of {', '.join(DATASETS)} or a JSON file, which "
        f"`passion new-dataset --from {source} --out my.json` writes"
    )


def _prepare_slices(
    source: Path,
    out: Path,
    split: str,
    seed: int,
    split_of: str | None,
    by_part: Mapping[str, Sequence[str] | None],
) -> None:
    """Make volumes and a datalist of the LGG Segmentation Dataset, and tell what it holds."""
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
