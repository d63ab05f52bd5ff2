"""Names of folders that say nothing of a case, as archives and converters write them."""

from __future__ import annotations

import re

_WITHIN_A_CASE = ("anat", "dicom", "dcm", "nifti", "nii", "mri", "images", "scans", "resources", "files")
_NUMBERED = re.compile(r"\d+(-.*)?")


def tells_nothing(name: str) -> bool:
    """Whether a folder of this name belongs to what it lies in."""
    return name.lower() in _WITHIN_A_CASE


def depth_of_xnat_scan(parts: tuple[str, ...]) -> int | None:
    """Where the folder of a series stands in ``S1/SCANS/5/DICOM`` or ``S1/scans/5-t2_flair/resources/NIFTI/files``.

    Args:
        parts: names of the folders down to the one with the files.

    Returns:
        Index of ``5`` or ``5-t2_flair``; None: XNAT does not write such folders.
    """
    for depth in range(1, len(parts) - 1):
        below = parts[depth + 1 :]
        if parts[depth - 1].lower() == "scans" and _NUMBERED.fullmatch(parts[depth]) and all(map(tells_nothing, below)):
            return depth
    return None
