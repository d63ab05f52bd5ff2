"""Visits of one patient, by their names."""

from __future__ import annotations

import re

_VISIT = r"(?:(?:ses|session|visit|timepoint|tp|study|exam|followup|follow-up|fu)[_-]?\d+|baseline|followup|follow-up)"
_DATE = r"(?:(?:19|20)\d\d(?:[01]\d[0-3]\d|-[01]\d(?:-[0-3]\d)?))"


def patient_of(case: str) -> str:
    """The patient of a case, by its name.

    ``BraTS-GLI-00005-100``, ``sub-01_ses-2``, ``P1_visit2``, ``P1_baseline`` and ``P1_20240131`` may be one scan of
    several; a date counts after a name with a number.
    """
    match = re.fullmatch(r"(.+-\d{5})-\d{3}|(sub-[^_]+)_ses-.*", case)
    if match:
        return match[1] or match[2]
    match = re.fullmatch(rf"(.+?)[_-]{_VISIT}|(.*\d.*?)[_-]{_DATE}", case, re.IGNORECASE)
    return (match[1] or match[2]) if match else case


def is_visit(folder: str) -> bool:
    """Whether a folder is named as that of a visit: ``ses-1``, ``visit_2``, ``baseline``, ``2024-01-31``."""
    return re.fullmatch(rf"{_VISIT}|{_DATE}", folder, re.IGNORECASE) is not None
