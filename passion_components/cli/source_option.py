"""Where bundles are fetched from."""

from __future__ import annotations

from typing import Annotated

import typer

from passion_components.data.errors import UserError
from passion_components.hub.sources import Source, source_at

VARIABLE = "PASSION_SOURCE"

SourceOption = Annotated[
    str | None,
    typer.Option(
        "--from",
        metavar="SOURCE",
        envvar=VARIABLE,
        show_default=False,
        help="A folder or address with bundles.json, the page of a GitHub release or of a Hugging Face repository.",
    ),
]


def source_for(named: str | None) -> Source:
    """The source that is named.

    Raises:
        UserError: none is, or not one that can be read.
    """
    if not named:
        raise UserError(
            f"no source named: give one with --from or in the environment variable {VARIABLE}; this collection has not "
            f"been published at an address of its own"
        )
    return source_at(named)
