"""Progress of long work on the console."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn


@contextmanager
def progress(
    what: str, total: int | None = None, *, count: ProgressColumn | None = None
) -> Iterator[Callable[..., None]]:
    """A bar on stderr, where that is a terminal; gives what moves it, as ``update(advance=1)``.

    ``count`` is the column that says how much is done.
    """
    columns = (TextColumn(what), BarColumn(), count or MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield partial(bar.update, bar.add_task(what, total=total))
