"""Scans to label maps, from Python."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import torch
from monai.data import list_data_collate
from monai.transforms import Compose
from torch.utils.data import DataLoader

from passion_components.data.case_names import checked_case_name
from passion_components.data.errors import UserError
from passion_components.data.reading.image_files import split_index
from passion_components.data.training.dataset import CaseDataset
from passion_components.datasets import DatasetSpec
from passion_components.engines.checks import check_inference
from passion_components.engines.evaluator import SubsetEvaluator
from passion_components.engines.failures import error_line
from passion_components.engines.weights import load_weights
from passion_components.engines.weights_input import read_about
from passion_components.handlers.predictions import prediction_files, region_volumes
from passion_components.inferers.modality_aware import ModalityAwareInferer
from passion_components.predict.bundle import BundleModel, read_bundle
from passion_components.predict.expected import Expected, ShippedScores
from passion_components.predict.facts import (
    collected_warnings,
    dataset_hash,
    regions_of,
    scan_hashes,
    written_by,
)
from passion_components.presence import present_names
from passion_components.transforms.components import RemoveSmallComponentsd
from passion_components.transforms.preprocessing import preprocessing
from passion_components.transforms.restore import RestoreLabelMapsd, label_image


@dataclass(frozen=True)
class Segmentation:
    """A case, segmented.

    Attributes:
        image: label map in the scan's own grid, with the codes of ``facts["settings"]["label_scheme"]``.
        facts: what ``predictions.json`` of ``passion predict`` holds.
    """

    image: nib.Nifti1Image
    facts: Mapping[str, Any]


class Segmenter:
    """A network with its weights and all that must be done to scans before and after it.

    Args:
        model: what a bundle says of them.
        device: where to compute; None: a GPU if there is one.
        amp: bfloat16 autocast.
        overlap: share of a window that its neighbour covers again; None: as the bundle has it.
        min_component_share: of the largest component, the voxels that another one must have, 0 to 1; None: as the
            bundle has it.
        probabilities: keep the probability of every class as well.
        label_scheme: how label maps are coded; None: as the training's were.
        resample_to: sequence to whose grid the others of a case are brought; None refuses different grids.
        register_to: sequence that the others of a case are aligned to rigidly; None takes their headers' word.
        allow_copies: take a file that holds the voxels of another one for a sequence of its own, which is refused.

    Raises:
        UserError: weights that are damaged or of another network, or settings that make no sense, in one line.
    """

    def __init__(
        self,
        model: BundleModel,
        *,
        device: str | torch.device | None = None,
        amp: bool = False,
        overlap: float | None = None,
        min_component_share: float | None = None,
        probabilities: bool = False,
        label_scheme: str | None = None,
        resample_to: str | None = None,
        register_to: str | None = None,
        allow_copies: bool = False,
    ) -> None:
        self.model = model
        self.device = _device(device)
        self.label_scheme = label_scheme or model.trained.label_scheme
        self.settings: dict[str, Any] = {
            **model.windows,
            **({} if overlap is None else {"overlap": overlap}),
            "min_component_share": model.min_component_share if min_component_share is None else min_component_share,
            "amp": amp,
            "probabilities": probabilities,
            "resample_to": resample_to,
            "register_to": register_to,
            "allow_copies": allow_copies,
            "label_scheme": self.label_scheme or model.spec.name,
        }
        self.inferer = _inferer(model, self.settings, self.device)
        self.network = model.build()
        check_inference(
            trained=model.trained,
            spec=model.spec,
            modalities=model.trained.modalities,
            spacing=model.trained.spacing,
            network=self.network,
            inferer=self.inferer,
            label_scheme=self.label_scheme,
            resample_to=resample_to,
            register_to=register_to,
            min_component_share=self.settings["min_component_share"],
        )
        self.weights = load_weights(self.network, ckpt=str(model.weights), output_dir="", bundle_root="")
        self.network.to(self.device)
        known = [self.weights.sha256, str(read_about(model.weights).get("sha256"))]
        self.scores = ShippedScores(model.weights, known, model.trained.modalities)

    @classmethod
    def load(
        cls, bundle: str | Path, *, ckpt: str | Path = "", dataset: str | Path | None = None, **settings: Any
    ) -> Segmenter:
        """The network of a bundle, none of whose configs is evaluated.

        Args:
            bundle: folder, zip, or the name under which it was downloaded.
            ckpt: weights to use; "": the bundle's own.
            dataset: name or JSON file of the data set that the weights belong to; None: the one that they name.
            settings: of this class.

        Raises:
            UserError: in one line: no such bundle or weights, values that only an expression in a config tells, or as
                the class.
        """
        return cls(read_bundle(bundle, ckpt=ckpt, dataset=dataset), **settings)

    @property
    def spec(self) -> DatasetSpec:
        """The data set: its sequences, classes and codes."""
        return self.model.spec

    def segment(self, scans: Mapping[str, str | Path | nib.Nifti1Image], *, case: str = "case") -> Segmentation:
        """The label map of one case, from whatever sequences it has.

        Args:
            scans: sequence -> its file or image; on one grid unless one is named to resample or to register to.
            case: name for messages.

        Raises:
            UserError: no such sequence, a file that cannot be read, different grids, in one line.
        """
        check_sequences(scans, self.spec)
        checked_case_name(case, "case")
        try:
            return self._segment(scans, case)
        except Exception as error:
            line = error_line(error)
            if line is None:
                raise
            raise UserError(line) from error

    def _segment(self, scans: Mapping[str, str | Path | nib.Nifti1Image], case: str) -> Segmentation:
        with tempfile.TemporaryDirectory() as folder, collected_warnings([case]) as warnings:
            files = {name: str(_file_of(scans[name], Path(folder) / f"{case}_{name}.nii")) for name in scans}
            evaluator = self.evaluator()
            evaluator.run_case(list_data_collate([self.dataset([{"case": case, **files}])[0]]))
            (item,), (output,) = evaluator.state.batch, evaluator.state.output
            facts = self.facts(item, output, files, warnings[case])
            for name, scan in scans.items():
                if not isinstance(scan, str | Path):
                    facts["scans"][name]["file"] = None
            reference = item["image"].meta["filename_or_obj"]
            image = label_image(output["pred"][0], reference, self.spec, self.label_scheme)
        return Segmentation(image, facts)

    def dataset(self, cases: Sequence[Mapping[str, str]]) -> CaseDataset:
        """Cases, ``case`` and sequences with their files, as the network takes them."""
        trained = self.model.trained
        chain = preprocessing(
            self.spec,
            modalities=trained.modalities,
            spacing=trained.spacing,
            roi_size=trained.crop,
            resample_to=self.settings["resample_to"],
            register_to=self.settings["register_to"],
            allow_copies=self.settings["allow_copies"],
        )
        return CaseDataset(cases, chain)

    def evaluator(self, handlers: Sequence[Any] = ()) -> SubsetEvaluator:
        """What predicts batches of one case, and lets handlers do something with the predictions."""
        evaluator = SubsetEvaluator(
            device=self.device,
            val_data_loader=DataLoader(self.dataset([])),
            network=self.network,
            inferer=self.inferer,
            modalities=self.model.trained.modalities,
            all_subsets=False,
            amp=self.settings["amp"],
            postprocessing=Compose(
                [
                    RestoreLabelMapsd("pred", probabilities=self.settings["probabilities"]),
                    RemoveSmallComponentsd("pred", min_share=self.settings["min_component_share"]),
                ]
            ),
            val_handlers=handlers,
        )
        evaluator.state.weights = self.weights
        return evaluator

    def expected(self, item: Mapping[str, Any]) -> Expected | None:
        """What is to be expected of a case, from the sequences that it has; None where no scores tell."""
        return self.scores.of(present_names(item["presence"], self.model.trained.modalities))

    def fingerprint(self, files: Mapping[str, str]) -> dict[str, Any]:
        """All that decides on the predictions of a case: equal ones need not be made again."""
        return {
            "written_by": written_by(),
            "scans": scan_hashes(files),
            "weights": {"sha256": self.weights.sha256, "trained_on": self.weights.trained_on},
            "dataset": {"name": self.spec.name, "sha256": dataset_hash(self.spec)},
            "settings": self.settings,
        }

    def facts(
        self, item: Mapping[str, Any], output: Mapping[str, Any], files: Mapping[str, str], warnings: Sequence[str]
    ) -> dict[str, Any]:
        """What is known of a case's predictions, in plain values.

        Args:
            item: the case, preprocessed.
            output: its predictions, ``pred`` (1, *S_scan).
            files: sequence -> its file.
            warnings: what was warned of.
        """
        used = present_names(item["presence"], self.model.trained.modalities)
        expected, class_map = self.expected(item), output["pred"][0]
        volumes = region_volumes(class_map, item["image"].meta["original_affine"], self.spec)
        return {
            "case": item["case"],
            **self.fingerprint(files),
            "bundle": {"name": self.model.name, "version": self.model.version},
            "used": list(used),
            "left_out": [name for name in files if name not in used],
            "label_map": prediction_files("", item["case"])[0].name,
            "codes": {
                str(code): self.spec.classes[index] for code, index in self.spec.codes(self.label_scheme).items()
            },
            "aligned": {
                name: {**found, "matrix": found["matrix"].tolist()} for name, found in item.get("aligned", {}).items()
            },
            "regions": regions_of(class_map, volumes, self.spec),
            "expected": None if expected is None else _plain(expected),
            "warnings": list(warnings),
        }


def check_sequences(scans: Mapping[str, Any], spec: DatasetSpec) -> None:
    """Refuse names that are no sequences of a data set, or none at all.

    Raises:
        UserError: in one line.
    """
    strange = [name for name in scans if name not in spec.modalities]
    if strange or not scans:
        found = f"unknown sequence {', '.join(map(repr, strange))}" if strange else "no sequence was given"
        raise UserError(f"{found}; accepted: {', '.join(spec.modalities)} (of {spec.name})")


def _plain(expected: Expected) -> dict[str, Any]:
    return {
        "subset": expected.subset,
        "n": expected.n,
        "data": expected.data,
        "dice": dict(expected.dice),
        "poor": expected.is_poor,
        "give": expected.give,
        "mean_dice_with_it": expected.then,
    }


def _inferer(model: BundleModel, settings: Mapping[str, Any], device: torch.device) -> ModalityAwareInferer:
    try:
        return ModalityAwareInferer(
            roi_size=list(model.trained.crop),
            sw_batch_size=settings["sw_batch_size"],
            overlap=settings["overlap"],
            mode=settings["blending"],
            windows=settings["windows"],
            mirror_axes=settings["mirror_axes"],
            sw_device=device,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{model.name}: {' '.join(str(error).split())}") from error


def _device(named: str | torch.device | None) -> torch.device:
    if named is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(named)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {named}: accepted are cpu, cuda, and cuda:1 and so on")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(
            f"--device {named}: {torch.cuda.device_count()} GPUs can be used here; take another, or --device cpu"
        )
    return device


def _file_of(scan: str | Path | nib.Nifti1Image, path: Path) -> Path | str:
    """A file of a scan: its own, or ``path``, where an image is written for a moment."""
    if isinstance(scan, str | Path):
        file, index = split_index(scan)
        return f"{file.absolute()}#{index}" if index is not None else file.absolute()
    if not isinstance(scan, nib.Nifti1Image):
        raise UserError(f"{path.stem}: is a {type(scan).__name__}; accepted: a file, or an image of nibabel (NIfTI)")
    nib.save(scan, path)
    return path
