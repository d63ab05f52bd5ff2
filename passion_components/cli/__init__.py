"""The ``passion`` command."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from passion_components import __version__
from passion_components.files import file_in_the_way

COMMANDS = {
    "phantom": "Draw phantoms: images and label maps made on the spot.",
    "new-dataset": "Describe your own data set: write a first version of the file that --dataset takes.",
    "prepare": "List the cases of a data set for the bundles: any folders, MSD and nnU-Net folders, a table.",
    "simulate-missing": "Draw, once and before training, which training case lacks which sequence.",
    "check": "Read every file of every case and report what is wrong, before training fails on it.",
    "predict": "Segment new scans with a bundle, from whatever sequences they have.",
    "evaluate": "Score the label maps of any tool as the bundles' evaluation scores its own.",
    "tables": "Tabulate the scores of several runs, like Tables 1 to 3 of the paper.",
    "report": "Write curves, scores and pictures of runs into one HTML file.",
    "download": "Fetch a bundle, check its hash, unpack it safely and put it in place.",
    "bundles": "List the bundles that were downloaded and, with a source, those that can be had.",
    "convert-weights": "Convert weights of the published networks or of PASSION's released code for the bundles.",
}
"""Every command and the first line of its help; it is ``app`` in the module of its name."""

_MAY_BE_EMPTY = ("--ckpt", "--series", "--shard")


class _Commands(TyperGroup):
    """Imports a command when it is run: a list of them must not wait for torch."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return TyperCommand(cmd_name, help=COMMANDS[cmd_name]) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        _refuse_empty_words(args)
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and command_named(str(name)), rest


def _refuse_empty_words(words: list[str]) -> None:
    """Refuse what a script gives whose variable is not set: as a path it would stand for the folder at hand."""
    for before, word in pairwise(words):
        option, equals, value = word.partition("=")
        name, given = (option, value) if equals and word.startswith("--") else (before, word)
        if not given and name not in _MAY_BE_EMPTY:
            typer.echo(
                f"error: an empty word stands after {name}; name a file or folder, . for the current one", err=True
            )
            raise typer.Exit(2)


def command_named(name: str) -> Any:
    """The command itself, imported now."""
    module = import_module(f"passion_components.cli.{name.replace('-', '_')}")
    command = typer.main.get_command(module.app)
    command.name = name
    return command


app = typer.Typer(
    cls=_Commands,
    name="passion",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"passion {__version__}")
        raise typer.Exit()


@app.callback()
def passion(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Segmentation from any subset of MRI sequences: data for the bundles.

    From nothing to a training set with missing sequences:

        passion phantom brain --cases 40 --out data
        passion simulate-missing data/datalist.json --out data/missing.json \\
            --rates t1=.2,t1ce=.4,flair=.6,t2=.8

    The same with real data:

        passion prepare brats MICCAI_BraTS2020_TrainingData --out data

    And with a data set of your own:

        passion new-dataset --from scans --out my.json
        passion prepare scans --dataset my.json --out data
    """


def main() -> None:
    """Run ``passion``; what is wrong with its input is told in one line, with exit code 1."""
    try:
        app()
    except (FileExistsError, NotADirectoryError) as error:
        file = file_in_the_way(str(error.filename))
        typer.echo(f"error: {file}: is a file; expected a folder: give another name", err=True)
        raise SystemExit(1) from None
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from None
