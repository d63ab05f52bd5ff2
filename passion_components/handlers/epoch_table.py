"""A CSV with some rows for every epoch, which survives kills and resumed runs."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from passion_components.files import write_atomically


class EpochTable:
    """Rows of numbers and strings, rewritten as a whole at the end of every epoch.

    Args:
        path: of the CSV.
        columns: its header; the first one is the epoch.
    """

    def __init__(self, path: Path | str, columns: Sequence[str]) -> None:
        self.path = Path(path)
        self.columns = list(columns)
        self.rows: list[list[Any]] = []

    def add(self, *values: Any) -> None:
        """Append a row."""
        self.rows.append(list(values))

    def write(self) -> None:
        """Write all rows."""

        def fill(path: Path) -> None:
            with open(path, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([self.columns, *self.rows])

        write_atomically(self.path, fill)

    def state_dict(self) -> dict[str, Any]:
        """The rows, as lists."""
        return {"rows": [list(row) for row in self.rows]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue after the rows of ``state``."""
        self.rows = [list(row) for row in state["rows"]]
