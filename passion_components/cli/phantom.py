"""``passion phantom``: draw patients on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from passion_components.cli.prepare import SplitOption, print_parts
from passion_components.data.datalists import load_parts, parse_split
from passion_components.data.phantoms.brain import write_brain_phantoms
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
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("drawing", total=cases)
        datalist = write_brain_phantoms(
            out,
            cases=cases,
            size=parse_size(size),
            seed=seed,
            split=parse_split(split),
            progress=lambda _: bar.advance(task),
        )
    print_parts(datalist, load_parts(datalist, BRATS2020.modalities), BRATS2020.modalities)


def parse_size(text: str) -> tuple[int, ...]:
    """Numbers of voxels from ``48,48,48``.

    Raises:
        ValueError: anything but three whole numbers.
    """
    words = [word.strip() for word in text.split(",")]
    if len(words) != 3 or not all(word.isdecimal() for word in words):
        raise ValueError(f"size {text!r}: expected three whole numbers of voxels, like 48,48,48")
    return tuple(int(word) for word in words)
