"""What a search for cases has found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from passion_components.data.case_names import checked_case_name


@dataclass
class FoundCases:
    """Cases, and what else a source says.

    Attributes:
        cases: sorted by name, with absolute paths under the modalities' names and ``label``.
        notes: one line for everything that was not understood, left out or guessed.
        parts: case -> part of the datalist, where the source says so.
        patients: case -> patient, where the source says so.
        classes: name of a class or region -> its codes in the label files, where the source says so.
    """

    cases: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    parts: dict[str, str] = field(default_factory=dict)
    patients: dict[str, str] = field(default_factory=dict)
    classes: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add(self, case: str, files: Mapping[str, Sequence[Path | str]], *, label: str = "") -> None:
        """Add a case with its files by modality and ``label``, or a note why it is left out.

        ``label`` says how label maps are named where a case must have one.
        """
        try:
            checked_case_name(case, next((str(file) for of_key in files.values() for file in of_key), "no file"))
        except ValueError as error:
            self.notes.append(f"{error}; left out")
            return
        problem = _problem_of(files, label)
        if problem is None:
            self.cases.append({"case": case, **{key: str(files[key][0]) for key in sorted(files)}})
        else:
            self.notes.append(f"{case}: {problem}; left out")

    def need_cases(self, source: Path | str, examples: Iterable[str]) -> FoundCases:
        """Itself, with sorted cases.

        Raises:
            FileNotFoundError: there are none; ``examples`` are complete cases of the accepted kinds.
        """
        if not self.cases:
            reason = f"; first of {len(self.notes)} problems: {self.notes[0]}" if self.notes else ""
            raise FileNotFoundError(f"{source}: no complete case like {' or '.join(examples)} found{reason}")
        self.cases.sort(key=lambda case: case["case"])
        return self


def _problem_of(files: Mapping[str, Sequence[Path | str]], label: str) -> str | None:
    for key, candidates in files.items():
        if len(candidates) > 1:
            return f"{key} is there {len(candidates)} times ({' and '.join(map(str, candidates))}), expected one file"
    if label and "label" not in files:
        return f"no label map, expected {label}"
    if not files.keys() - {"label"}:
        return "a label map without any sequence" if files else "no sequence"
    return None
