"""Visits of one patient, by their names."""

from __future__ import annotations

import re

_NUMBERED = r"(?:ses|session|visit|timepoint|tp|study|exam|week|month|year|followup|follow-up|fu)[_-]?\d+(?:-\d+)?"
_VISIT = rf"(?:{_NUMBERED}|baseline|followup|follow-up|(?:pre|post|intra)[_-]?op(?:erative)?)"
_DATE = r"(?:(?:19|20)\d\d(?:[01]\d[0-3]\d|-[01]\d(?:-[0-3]\d)?))"


def patient_of(case: str) -> str:
    """The patient of a case, by its name.

    ``BraTS-GLI-00005-100``, ``UPENN-GBM-00001_11``, ``RHUH-0001_2``, ``sub-01_ses-2``, ``P1_visit2``, ``P1_week-044``,
    ``P1_baseline``, ``P1_preop`` and ``P1_20240131`` may be one scan of several; a date counts after a name with a
    number.
    """
    match = re.fullmatch(r"(.+-\d{5})(?:-\d{3}|_\d\d)|(.+-(?!19|20)\d{4})_\d\d?|(sub-[^_]+)_ses-.*", case)
    if match:
        return match[1] or match[2] or match[3]
    match = re.fullmatch(rf"(.+?)[_-]{_VISIT}|(.*\d.*?)[_-]{_DATE}", case, re.IGNORECASE)
    return (match[1] or match[2]) if match else case


def is_visit(folder: str) -> bool:
    """Whether a folder is named as that of a visit: ``ses-1``, ``week_2``, ``baseline``, ``preop``, ``2024-01-31``."""
    return re.fullmatch(rf"{_VISIT}|{_DATE}", folder, re.IGNORECASE) is not None
