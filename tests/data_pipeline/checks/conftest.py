"""Drawn patients that tests spoil."""

import json
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from passion_components.data.checks.report import check_datalist
from passion_components.data.lists.datalist import Datalist
from passion_components.data.phantoms.brain import draw_brain
from passion_components.datasets import BRATS2020
from passion_components.transforms.foreground import has_contrast, nonzero

SIZE = (16, 16, 16)
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
CONTRAST = partial(has_contrast, foreground=nonzero)


class Collection:
    """Drawn patients in a folder, sound until a test does something to them."""

    def __init__(self, folder):
        self.folder = folder
        self.scheme = None
        self.parts = {"training": [], "validation": [], "test": []}
        for number, part in enumerate(("training", "training", "validation", "test"), 1):
            images, label = draw_brain(number, SIZE)
            entry = {"case": f"P{number}"}
            self.parts[part].append(entry)
            for key, array in {**images, "label": label}.items():
                entry[key] = self.write(f"P{number}_{key}.nii.gz", array)
        self.first, self.second = self.parts["training"]

    def write(self, name, array, affine=AFFINE):
        nib.save(nib.Nifti1Image(array, affine), self.folder / name)
        return name

    def path(self, entry, key):
        return self.folder / entry[key]

    def array(self, entry, key):
        return np.asanyarray(nib.load(self.path(entry, key), mmap=False).dataobj)

    def change(self, entry, key, change, affine=AFFINE):
        self.write(entry[key], change(self.array(entry, key)), affine)

    def report(self, spec=BRATS2020, jobs=1, contrast=CONTRAST, **options):
        path = self.folder / "datalist.json"
        scheme = {} if self.scheme is None else {"label_scheme": self.scheme}
        path.write_text(json.dumps({**scheme, **self.parts}))
        return check_datalist(Datalist(path), spec, has_contrast=contrast, jobs=jobs, **options)

    def only_finding(self, spec=BRATS2020):
        """Kind, names of the cases and message of the one thing that is wrong."""
        report = self.report(spec)
        assert len(report.findings) == 1, [finding.message for finding in report.findings]
        finding = report.findings[0]
        assert "\n" not in finding.message
        return finding.kind, [case.name for case in finding.cases], finding.message


@pytest.fixture
def drawn(tmp_path):
    return Collection(tmp_path)
