"""``passion phantom``: draw patients on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from passion_components.cli.prepare import SplitOption, print_parts
from passion_components.data.datalists import load_parts, parse_split
from passion_components.data.phantoms.brain import write_brain_phantoms
from passion_components.data.phantoms.lgg import write_lgg_phantoms
from passion_components.datasets import BRATS2020

app = typer.Typer(no_args_is_help=True, help="Draw phantoms: images and label maps made on the spot.")


@app.callback()
def phantom() -> None:
    """Draw phantoms: images and label maps made on the spot."""


@app.command()
def brain(
    cases: Annotated[int, typer.Option(min=1, help="How many patients; patient 17 is the same whatever their number.")],
    out: Annotated[Path, typer.Option(help="Folder to write to: new or empty.")],
    size: Annotated[str, typer.Option(help="Voxels of 1 mm along x,y,z: 16,16,16 to 240,240,155.")] = "48,48,48",
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patients.")] = 0,
    split: SplitOption = "training=0.7,validation=0.1,test=0.2",
) -> None:
    """Brains with a tumour: FLAIR, T1, T1ce, T2 and labels, laid out and named as in BraTS2020.

    Forty small ones, enough to watch a network learn:

        passion phantom brain --cases 40 --out data

    Two as large as real scans:

        passion phantom brain --cases 2 --size 240,240,155 --out big
    """
    with drawing(cases) as advance:
        datalist = write_brain_phantoms(
            out, cases=cases, size=parse_size(size), seed=seed, split=parse_split(split), progress=advance
        )
    print_parts(datalist, load_parts(datalist, BRATS2020.modalities), BRATS2020.modalities)


@app.command()
def lgg(
    cases: Annotated[int, typer.Option(min=1, help="How many patients; patient 17 is the same whatever their number.")],
    out: Annotated[Path, typer.Option(help="Folder to write to: new or empty.")],
    size: Annotated[
        str, typer.Option(help="Columns, rows and twice the slices: 16,16,16 to 240,240,155.")
    ] = "64,64,24",
    seed: Annotated[int, typer.Option(min=0, help="Another seed draws other patients.")] = 0,
) -> None:
    """Gliomas in slices: RGB and mask TIFF files, laid out and named as the LGG Segmentation Dataset.

    Every fourth patient lacks T1ce, every eighth T1 too; as published, a copy of FLAIR stands in their place.

        passion phantom lgg --cases 12 --out lgg
        passion prepare lgg lgg --out data
    """
    with drawing(cases) as advance:
        write_lgg_phantoms(out, cases=cases, size=parse_size(size), seed=seed, progress=advance)
    typer.echo(f"{out}: {cases} patients; next: passion prepare lgg {out} --out DIR")


@contextmanager
def drawing(cases: int) -> Iterator[Callable[[str], None]]:
    """A progress bar over patients; what it gives is called once for each that is done."""
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=cases)
        yield lambda _: bar.advance(task)


def parse_size(text: str) -> tuple[int, ...]:
    """Numbers of voxels from ``48,48,48``.

    Raises:
        ValueError: anything but three whole numbers.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != 3 or not all(word.isdecimal() for word in words):
        raise ValueError(f"size {text!r}: expected three whole numbers of voxels, like 48,48,48")
    return tuple(int(word) for word in words)
