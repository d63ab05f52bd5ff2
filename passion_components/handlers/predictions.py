"""Segmentations into files: of new scans, and of the cases of an evaluation from every subset."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from ignite.engine import Engine, Events, State
from torch import Tensor

from passion_components.data.errors import UserError
from passion_components.data.outputs import IMAGE_MARK, remove_own
from passion_components.data.reading.image_files import split_index
from passion_components.datasets import DatasetSpec
from passion_components.modalities import subset_name
from passion_components.presence import present_names
from passion_components.transforms.restore import write_label_map, write_probabilities

logger = logging.getLogger(__name__)

FACTS_FILE = "predictions.json"
"""In the folder of a case: what its predictions are, where more than these was written."""
FACTS_MARK = '"written_by": "passion predict'
"""Stands in every such file."""


class PredictionWriter:
    """Write ``output_dir/<case>/<case>_seg.nii.gz`` for every case, and say in a line what is in it.

    The file has the scan's own geometry and the codes of a scheme of the data set. Where the postprocessing has kept
    probabilities, they go beside it as ``<case>_probabilities.nii.gz``, one volume a class.

    Args:
        spec: data set that the network was made for.
        output_dir: where to write.
        label_scheme: by which scheme of the data set; None: the one of its own name.

    Raises:
        ValueError: an unknown scheme.
    """

    def __init__(self, *, spec: DatasetSpec, output_dir: Path | str, label_scheme: str | None = None) -> None:
        spec.codes(label_scheme)
        self.spec = spec
        self.label_scheme = label_scheme
        self.output_dir = Path(output_dir)
        self._hinted = False

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.evaluator.SubsetEvaluator` of whole cases."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            self.write(item, output, engine.state)

    def write(self, item: dict[str, Any], output: dict[str, Any], state: State) -> None:
        """Write one case: ``output["pred"]`` (1, *S_scan) holds class indices, ``item["image"]`` names the scan.

        Raises:
            UserError: nobody has loaded weights.
        """
        if not hasattr(state, "weights"):
            raise UserError("no weights were loaded: run the workflow, which loads them, not its evaluator alone")
        case, image = item["case"], item["image"]
        scan = image.meta["filename_or_obj"]
        class_map = output["pred"][0]
        path, path_of_probabilities, _ = prediction_files(self.output_dir, case)
        write_label_map(path, class_map, scan, self.spec, self.label_scheme)
        if "pred_probabilities" in output:
            write_probabilities(path_of_probabilities, output["pred_probabilities"][0], scan)
        self._hint(Path(scan))
        present, weights = present_names(item["presence"], state.modalities), state.weights
        volumes = region_volumes(class_map, image.meta["original_affine"], self.spec)
        logger.info(
            "%s: from %s (%s): %s; weights %s, trained on %s; coded as %s: %s",
            case,
            subset_name(present, self.spec.modalities),
            item["files"],
            ", ".join(f"{name} {volume:.1f} ml" for name, volume in volumes.items()),
            weights.sha256[:12],
            weights.trained_on,
            self.label_scheme or self.spec.name,
            path,
        )
        if not class_map.any():
            logger.warning(
                "%s: nothing found, every voxel is background; if that cannot be, look at %s: does each file "
                "show the sequence that its name says, do orientation and spacing fit the patient, is the skull there "
                "or removed as in the training data, is the background 0 and are the intensities as the scanner gave?",
                *(case, item["files"]),
            )

    def _hint(self, scan: Path) -> None:
        """Say once that scans with such names have labels of another scheme, where none was asked for."""
        named = self.spec.schemes_of_file(scan)
        if self.label_scheme is None and named and not self._hinted:
            self._hinted = True
            logger.warning(
                "%s is named like the data of %s, but predictions are coded as %s (%s): add --label_scheme %s for the "
                "other codes (%s)",
                scan.name,
                named[0],
                self.spec.name,
                ", ".join(map(str, self.spec.codes())),
                named[0],
                ", ".join(map(str, self.spec.codes(named[0]))),
            )


def region_volumes(class_map: Tensor, affine: Tensor, spec: DatasetSpec) -> dict[str, float]:
    """Millilitres of every region of a class map (*S), whose voxels the affine (4, 4) tells in mm."""
    voxel = abs(np.linalg.det(np.asarray(affine, dtype=float)[:3, :3])) / 1000
    counts = np.bincount(np.asarray(class_map).ravel(), minlength=len(spec.classes))
    return {name: float(counts[list(classes)].sum() * voxel) for name, classes in spec.regions.items()}


def prediction_files(output_dir: Path | str, case: str) -> tuple[Path, Path, Path]:
    """Where the label map, the probabilities and the DICOM SEG object of a case go."""
    names = (f"{case}_seg.nii.gz", f"{case}_probabilities.nii.gz", f"{case}_seg.dcm")
    label_map, probabilities, dicom_seg = (Path(output_dir) / case / name for name in names)
    return label_map, probabilities, dicom_seg


def remove_predictions(output_dir: Path | str, case: str, **inputs: str) -> None:
    """Remove what an earlier run predicted for a case, so that it cannot be taken for the result of this one.

    Raises:
        UserError: a file that this program did not write lies there, or one of the case's own ``inputs``; the folder of
            a DICOM series, all files of which are input, would get the predictions.
    """
    read = {split_index(file)[0].resolve() for file in inputs.values()}
    for series in read:
        if series.is_dir() and (Path(output_dir) / case).resolve().is_relative_to(series):
            raise UserError(
                f"{case}: its prediction would lie among the DICOM files of {series}, which could not be read as a "
                f"series then; name another output folder"
            )
    for path in prediction_files(output_dir, case):
        if path.resolve() in read:
            raise UserError(f"{case}: its prediction would replace its input {path}; name another output folder")
        remove_own(path, IMAGE_MARK)
    remove_own(Path(output_dir) / case / FACTS_FILE, FACTS_MARK)


class SubsetPredictionWriter:
    """Write ``output_dir/<case>/<case>_<subset>_seg.nii.gz`` for every case and subset that an evaluator predicts.

    The files have the scan's own geometry and the codes of a scheme of the data set.

    Args:
        spec: data set that the network was made for.
        output_dir: where to write.
        label_scheme: by which scheme; None: the one of the data set's own name.
    """

    def __init__(self, *, spec: DatasetSpec, output_dir: Path | str, label_scheme: str | None = None) -> None:
        self.spec = spec
        self.output_dir = Path(output_dir)
        self.label_scheme = label_scheme

    def attach(self, engine: Engine) -> None:
        """Listen to a :class:`~passion_components.engines.evaluator.SubsetEvaluator`."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        for item, output in zip(engine.state.batch, engine.state.output, strict=True):
            case, scan = item["case"], item["image"].meta["filename_or_obj"]
            for presence, class_map in zip(item["subsets"], output["pred"], strict=True):
                subset = subset_name(present_names(presence, engine.state.modalities), self.spec.modalities)
                path = self.output_dir / case / f"{case}_{subset}_seg.nii.gz"
                write_label_map(path, class_map, scan, self.spec, self.label_scheme)
