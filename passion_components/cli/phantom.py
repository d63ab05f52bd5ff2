"""``passion phantom``: draw patients on the spot."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from passion_components.cli.prepare import SplitOption, print_parts
from passion_components.cli.progress import progress
from passion_components.data.lists.datalist import Datalist
from passion_components.data.lists.splits import parse_split
from passion_components.data.phantoms.brain import write_brain_phantoms
from passion_components.data.phantoms.heart import write_heart_phantoms
from passion_components.data.phantoms.lgg import write_lgg_phantoms
from passion_components.datasets import BRATS2020, MYOPS2020

app = typer.Typer(no_args_is_help=True, help="Draw phantoms: images and label maps made on the spot.")

CasesOption = Annotated[
    int, typer.Option(min=1, help="How many patients; patient 17 is the same whatever this number is.")
]
OutOption = Annotated[Path, typer.Option(help="Folder to write to: new or empty.")]
SeedOption = Annotated[int, typer.Option(min=0, help="Another seed draws other patients.")]


@app.callback()
def phantom() -> None:
    """Draw phantoms: images and label maps made on the spot."""


@app.command()
def brain(
    cases: CasesOption,
    out: OutOption,
    size: Annotated[str, typer.Option(help="Voxels of 1 mm along x,y,z: 16,16,16 to 240,240,155.")] = "48,48,48",
    seed: SeedOption = 0,
    split: SplitOption = "training=0.7,validation=0.1,test=0.2",
) -> None:
    """Brains with a tumour: FLAIR, T1, T1ce, T2 and labels, laid out and named as in BraTS2020.

    Forty small ones, enough to watch a network learn:

        passion phantom brain --cases 40 --out data

    Two as large as real scans:

        passion phantom brain --cases 2 --size 240,240,155 --out big
    """
    with progress("drawing", cases) as update:
        datalist = write_brain_phantoms(
            out,
            cases=cases,
            size=parse_size(size),
            seed=seed,
            split=parse_split(split),
            progress=lambda _: update(advance=1),
        )
    print_parts(datalist, Datalist(datalist).parts(BRATS2020.modalities), BRATS2020.modalities)


@app.command()
def heart(
    cases: CasesOption,
    out: OutOption,
    size: Annotated[
        str, typer.Option(help="Nominal voxels along x,y of a slice: 16,16 to 512,512; a patient has 85 to 115 %.")
    ] = "96,96",
    seed: SeedOption = 0,
    split: SplitOption = "training=0.7,validation=0.1,test=0.2",
) -> None:
    """Hearts with an infarct in 3 to 6 slices: bSSFP, LGE, T2 and labels, laid out and named as in MyoPS2020.

    As many as were published:

        passion phantom heart --cases 25 --out hearts

    Two as large as real scans:

        passion phantom heart --cases 2 --size 256,256 --out big
    """
    with progress("drawing", cases) as update:
        datalist = write_heart_phantoms(
            out,
            cases=cases,
            size=parse_size(size, dims=2),
            seed=seed,
            split=parse_split(split),
            progress=lambda _: update(advance=1),
        )
    print_parts(datalist, Datalist(datalist).parts(MYOPS2020.modalities), MYOPS2020.modalities)


@app.command()
def lgg(
    cases: CasesOption,
    out: OutOption,
    size: Annotated[
        str, typer.Option(help="Columns, rows and twice the number of slices: 16,16,16 to 240,240,155.")
    ] = "64,64,24",
    seed: SeedOption = 0,
) -> None:
    """Gliomas in slices: RGB and mask TIFF files, laid out and named as in the LGG Segmentation Dataset.

    Every fourth patient lacks T1ce, every eighth T1 too; as in that data set, a copy of FLAIR stands in their place.

        passion phantom lgg --cases 12 --out lgg
        passion prepare lgg lgg --out data
    """
    with progress("drawing", cases) as update:
        write_lgg_phantoms(out, cases=cases, size=parse_size(size), seed=seed, progress=lambda _: update(advance=1))
    typer.echo(f"{out}: {cases} patients; next: passion prepare lgg {quote(str(out))} --out DIR")


def parse_size(text: str, dims: int = 3) -> tuple[int, ...]:
    """Numbers of voxels from ``48,48,48``, or from ``48,48`` where ``dims`` is 2.

    Raises:
        ValueError: anything but ``dims`` whole numbers.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != dims or not all(word.isdecimal() for word in words):
        count = {2: "two", 3: "three"}[dims]
        raise ValueError(f"size {text!r}: expected {count} whole numbers of voxels, like {','.join(['48'] * dims)}")
    return tuple(int(word) for word in words)
