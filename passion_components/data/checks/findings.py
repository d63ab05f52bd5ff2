"""What can be found in a data set, and the case that it is found in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from passion_components.data.checks.facts import FileFacts, VolumeFacts
from passion_components.data.checks.label_place import LabelPlace


class Kind(Enum):
    """Severity and title of what can be found; an error would break a training or make its scores wrong."""

    UNREADABLE = ("error", "file cannot be used")
    GRIDS = ("error", "different grids in one case")
    NON_FINITE = ("error", "NaN or infinite voxels")
    LABEL_VALUES = ("error", "unknown label values")
    ALL_CONSTANT = ("error", "no sequence with contrast")
    COPIED_SEQUENCE = ("error", "copy of another sequence")
    LABEL_AS_SEQUENCE = ("error", "label map listed as a sequence")
    NO_LABEL = ("error", "no label map")
    NEVER_PRESENT = ("error", "sequence in no training case")
    NAME_IN_PARTS = ("error", "case name in several parts")
    LEAK = ("error", "same data in several parts")
    PATIENT_IN_PARTS = ("warning", "patient in several parts")
    COPIED_CASE = ("warning", "same data in several cases")
    CONSTANT = ("warning", "sequence without contrast")
    FEW_VALUES = ("warning", "label map or mask listed as a sequence")
    SPACING = ("warning", "other spacing")
    DOUBTFUL_PLACE = ("warning", "place or orientation in doubt")
    MIXED_CODES = ("warning", "label codes that never meet")
    EMPTY_REGION = ("warning", "region in no label map")
    LACKING_REGION = ("warning", "region not in every label map")
    OUTSIDE = ("warning", "label outside of the images")
    MIRRORED = ("warning", "label map that fits better mirrored")
    REPEATED_SLICES = ("warning", "repeated slices")
    BACKGROUND = ("warning", "background not 0, or skull")
    NORMALISED = ("warning", "normalised or shifted already")
    EMPTY_LABEL = ("warning", "label map without foreground")
    NOT_SCORED = ("warning", "test case without label map")

    def __init__(self, severity: str, title: str) -> None:
        self.severity = severity
        self.title = title


@dataclass(frozen=True, eq=False)
class CheckedCase:
    """A case and what its files hold, under the keys of the datalist, and how its label map lies in the others."""

    part: str
    name: str
    files: Mapping[str, FileFacts]
    label_place: LabelPlace | None

    def __str__(self) -> str:
        return f"{self.part} {self.name}"

    @property
    def volumes(self) -> dict[str, VolumeFacts]:
        """The files that could be read, the label map among them."""
        return {key: facts.volume for key, facts in self.files.items() if facts.volume is not None}

    @property
    def sequences(self) -> dict[str, VolumeFacts]:
        """The sequences that could be read."""
        return {key: volume for key, volume in self.volumes.items() if key != "label"}

    def file_names(self, keys: Sequence[str]) -> str:
        """The files under these keys, as messages tell them."""
        return ", ".join(self.files[key].path for key in keys)


@dataclass(frozen=True)
class Finding:
    """One thing that was found; ``cases`` are those that it concerns, none where it is the whole list.

    The message is one line: where, what was found, what is accepted or follows, how to fix it.
    """

    kind: Kind
    cases: tuple[CheckedCase, ...]
    message: str
