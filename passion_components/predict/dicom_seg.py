"""Label maps as DICOM SEG objects that refer to the series they were made from; needs the extra ``dicom-seg``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ignite.engine import Engine, Events

from passion_components import __version__
from passion_components.data.errors import CaseError, UserError
from passion_components.data.outputs import IMAGE_MARK, check_replaceable
from passion_components.data.reading.dicom import slice_files
from passion_components.data.reading.image_files import split_index
from passion_components.datasets import DatasetSpec
from passion_components.files import write_atomically
from passion_components.handlers.predictions import prediction_files

_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "FrameOfReferenceUID")
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
    *("StudyID", "StudyDate", "StudyTime"),
)
"""What a SEG object repeats of its source, and what may stand there without a value."""

_LONGEST = 64
"""Characters of a text in DICOM."""


def check_can_write() -> None:
    """Refuse to go on without highdicom.

    Raises:
        UserError: saying what to install.
    """
    if find_spec("highdicom") is None:
        raise UserError("to write DICOM SEG highdicom is needed: pip install 'passion-bundles[dicom-seg]'")


def from_classic_series(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """A preprocessed case as it is, if its label map can refer to a DICOM series.

    Raises:
        CaseError: the file on whose grid the label map will lie is no series, or an enhanced multi-frame one.
    """
    with TemporaryDirectory() as unpacked:
        _files(item["image"].meta["filename_or_obj"], Path(unpacked), item["case"])
    return item


def _files(scan: str, unpacked: Path, case: str) -> list[Path]:
    """The files of the series ``scan``, one a slice, in order."""
    folder, number = split_index(scan)
    if not folder.is_dir():
        raise CaseError(
            f"{case}: {scan}, on whose grid the label map lies, is no DICOM series, which a DICOM SEG refers to; leave "
            f"--dicom-seg out, or name a sequence in DICOM with --register-to"
        )
    return slice_files(folder, unpacked, case=case, number=number)


def write_dicom_seg(
    path: Path, class_map: np.ndarray, series: str, spec: DatasetSpec, *, case: str, bundle: str, weights: str
) -> None:
    """Write class indices as a binary DICOM SEG object with a segment for every class but the background.

    Args:
        path: of the file.
        class_map: (x, y, z), on the grid of ``series`` as it is read.
        series: folder of a classic DICOM series, or one in it by its number (``folder/#4``).
        spec: data set that names the classes.
        case: how the case is called in messages.
        bundle: name of the model.
        weights: what tells the weights from others, as a serial number.

    Raises:
        UserError: a file lies at ``path`` that this program did not write, or highdicom is not installed.
        CaseError: no such series, or one that lacks what every DICOM image has.
    """
    check_can_write()
    check_replaceable(path, IMAGE_MARK)
    import highdicom

    images = _source_images(series, case)
    try:
        found = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=np.ascontiguousarray(class_map.transpose(2, 1, 0), dtype=np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=_segments(spec, bundle),
            series_instance_uid=highdicom.UID(),
            series_number=1000 + int(images[0].get("SeriesNumber") or 0),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer="passion-bundles",
            manufacturer_model_name=bundle[:_LONGEST],
            software_versions=__version__,
            device_serial_number=weights[:_LONGEST],
            series_description=IMAGE_MARK.decode(),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise _no_source(series, f"does not suit a DICOM SEG ({' '.join(str(error).split())})", case) from error
    write_atomically(path, partial(found.save_as, enforce_file_format=True))


def _source_images(series: str, case: str) -> list[Any]:
    """The headers of a series, one a slice, in order, with what a SEG object wants of them."""
    import pydicom

    with TemporaryDirectory() as unpacked:
        files = _files(series, Path(unpacked), case)
        images = [pydicom.dcmread(file, force=True, stop_before_pixels=True) for file in files]
    ends = [np.array(image.ImagePositionPatient, dtype=float) for image in (images[0], images[-1])]
    thickness = float(images[0].get("SliceThickness") or 1)
    distance = float(np.linalg.norm(ends[1] - ends[0])) / (len(images) - 1) if len(images) > 1 else thickness
    for image in images:
        lacking = [name for name in _NEEDED if not image.get(name)]
        if lacking:
            raise _no_source(series, f"lacks {', '.join(lacking)}, which a DICOM SEG repeats", case)
        for name in _MAY_BE_EMPTY:
            if name not in image:
                setattr(image, name, None)
        image.SpacingBetweenSlices = distance
        image.SliceThickness = image.get("SliceThickness") or distance
    return images


def _no_source(series: str, problem: str, case: str) -> CaseError:
    return CaseError(
        f"{case}: {series} {problem}; expected a series as the archive has it: export it again, "
        f"or leave --dicom-seg out"
    )


def _segments(spec: DatasetSpec, bundle: str) -> list[Any]:
    """A segment for every class but the background, which is no segment."""
    import highdicom
    from pydicom.sr.codedict import codes

    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=bundle[:_LONGEST], family=codes.DCM.ArtificialIntelligence, version=__version__
    )
    return [
        highdicom.seg.SegmentDescription(
            segment_number=index,
            segment_label=name[:_LONGEST],
            segmented_property_category=codes.SCT.Tissue,
            segmented_property_type=codes.SCT.Tissue,
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
        )
        for index, name in enumerate(spec.classes[1:], 1)
    ]


class DicomSegWriter:
    """Write ``output_dir/<case>/<case>_seg.dcm`` for every case.

    Args:
        spec: data set that names the classes.
        output_dir: where to write.
        bundle: name of the model.
    """

    def __init__(self, *, spec: DatasetSpec, output_dir: Path, bundle: str) -> None:
        self.spec = spec
        self.output_dir = output_dir
        self.bundle = bundle

    def attach(self, engine: Engine) -> None:
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            *_, path = prediction_files(self.output_dir, item["case"])
            write_dicom_seg(
                path,
                np.asarray(output["pred"][0]),
                item["image"].meta["filename_or_obj"],
                self.spec,
                case=item["case"],
                bundle=self.bundle,
                weights=engine.state.weights.sha256,
            )
