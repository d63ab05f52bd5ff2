"""``passion new-dataset``: the file that describes a data set of one's own, as far as its files tell."""

from __future__ import annotations

import json
import re
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from passion_components.data.layouts.new_dataset import draft_dataset
from passion_components.datasets import DATASETS, dataset_spec
from passion_components.files import write_text_atomically

app = typer.Typer()


@app.command()
def new_dataset(
    source: Annotated[Path, typer.Option("--from", metavar="FOLDER", help="Folder with its images; only read.")],
    out: Annotated[Path, typer.Option(metavar="FILE.json", help="The file to write; its name becomes the data set's.")],
) -> None:
    """Describe your own data set: write a first version of the file that --dataset takes.

    Sequences come from the ends of file names; label codes, spacing and foreground from
    the images. What they do not tell is printed as questions; answer them in the file, then:

        passion new-dataset --from scans --out my.json
        passion prepare scans --dataset my.json --out data
    """
    if out.suffix.lower() != ".json":
        raise ValueError(f"{out}: expected a name that ends in .json")
    if out.exists():
        raise ValueError(f"{out}: exists already; remove it first, or name another file")
    name = re.sub(r"[^A-Za-z0-9]+", "_", out.stem).strip("_")
    draft = draft_dataset(source, f"my_{name}" if name in DATASETS or not name else name)
    text = re.sub(r"\[[^][{}]*\]", lambda found: _on_one_line(found[0]), json.dumps(draft.content, indent=4))
    write_text_atomically(out, text + "\n")
    typer.echo(f"written: {out}")
    for question in draft.questions:
        typer.echo(f"# {question}")
    dataset_spec(out)
    typer.echo(f"next: passion prepare {quote(str(source))} --dataset {quote(str(out))} --out DIR")


def _on_one_line(text: str) -> str:
    """A list of JSON, without the line breaks between its items."""
    return re.sub(r"\s*\n\s*", " ", text).replace("[ ", "[").replace(" ]", "]")
