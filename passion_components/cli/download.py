"""``passion download``: a bundle from where it is published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import DownloadColumn

from passion_components.cli.progress import progress
from passion_components.cli.source_option import SourceOption, source_for
from passion_components.data.errors import UserError
from passion_components.hub.download import download as download_entry
from passion_components.hub.install import bundles_folder

app = typer.Typer()


@app.command()
def download(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The bundle's name, as `passion bundles` lists it.")],
    source: SourceOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="Folder to put the bundle's folder into; default: where --bundle finds it by its name.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace another version, or fetch the same again.")] = False,
) -> None:
    """Fetch a bundle, check its hash, unpack it safely and put it in place.

    Interrupted, the same command goes on where it stopped. The source is a folder or an
    http(s) address with bundles.json, a GitHub release or a Hugging Face repository:

        passion download tcga_lgg_rfnet --from dist
        passion download tcga_lgg_rfnet --from https://github.com/OWNER/REPO/releases/tag/v0.1.0
        passion download tcga_lgg_rfnet --from https://huggingface.co/OWNER/REPO
    """
    there = source_for(source)
    index = there.index()
    if name not in index:
        raise UserError(f"{there.where} has no bundle {name!r}; it has: {', '.join(index) or 'none'}")
    entry, folder = index[name], out or bundles_folder()
    with progress(name, entry.size, count=DownloadColumn()) as update:
        fetched = download_entry(entry, there, folder, force=force, moved=lambda have: update(completed=have))
    typer.echo(f"{'written' if fetched else 'there already'}: {folder / name} (version {entry.version})")
    typer.echo(f"data licence: {entry.data_licence}")
    if not entry.weights:
        typer.echo("without weights: train it before it can predict")
