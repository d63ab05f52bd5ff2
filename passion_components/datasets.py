"""What differs between data sets, as data: no code elsewhere asks which data set it serves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class DatasetSpec:
    """One data set.

    Attributes:
        modalities: names of its M sequences; their order is the order of image channels.
        classes: names of its K classes, background first; a class index is a position in this tuple.
        label_codes: value in a label file -> class index; the scheme of label files that bears the data set's name.
            Where several codes share a class, the first one is written for it.
        regions: region that is scored -> class indices that it consists of.
        spatial_dims: 3, or 2 where slices of volumes are the samples.
        spacing: millimetres per voxel that images are brought to, one number per spatial dimension; slices stay
            where they are.
        crop: voxels of a training crop and of an inference window, one number per spatial dimension.
        orientation: axis codes of the arrays that networks see (nibabel's: the direction an axis points to), or None
            where they stay as they are in the file: slices of the heart are oblique, so no code names their axes.
        foreground: name of the rule that tells a sequence's foreground (``transforms.foreground``).
        central: whether images are cropped to the central ``crop``, because what is segmented lies there.
        class_weights: fixed weights of the cross-entropy, or None for 1 - V_k / V of each sample.
        other_label_schemes: name -> codes as in ``label_codes``, of files of the same classes coded otherwise.
        class_names: what descriptions call classes, or several of them together -> class indices, besides ``classes``
            and ``regions``; in the form that :func:`plain` gives them.
        scheme_file_names: regular expression of a file's name without ending -> the schemes of data that is so named.
    """

    name: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    label_codes: Mapping[int, int]
    regions: Mapping[str, tuple[int, ...]]
    spatial_dims: int
    spacing: tuple[float, ...]
    crop: tuple[int, ...]
    orientation: str | None = "LPS"
    foreground: str = "nonzero"
    central: bool = False
    class_weights: tuple[float, ...] | None = None
    other_label_schemes: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    class_names: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    scheme_file_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    @property
    def label_schemes(self) -> Mapping[str, Mapping[int, int]]:
        """Every scheme of label files by name, the one of the data set's own name first."""
        return {self.name: self.label_codes, **self.other_label_schemes}

    def codes(self, scheme: str | None = None) -> Mapping[int, int]:
        """Value in a label file -> class index, by a scheme; None: the one of the data set's own name.

        Raises:
            ValueError: no such scheme.
        """
        schemes = self.label_schemes
        if scheme is not None and scheme not in schemes:
            raise ValueError(f"unknown label scheme {scheme!r} of {self.name}; accepted: {', '.join(schemes)}")
        return schemes[scheme or self.name]

    def with_scheme(self, scheme: str | None) -> DatasetSpec:
        """The data set with the label codes of a scheme.

        Raises:
            ValueError: as :meth:`codes`.
        """
        return replace(self, label_codes=self.codes(scheme))

    def named_classes(self, name: str) -> tuple[int, ...] | None:
        """Indices of the classes that a name of a class or a region stands for, in whatever spelling; None: unknown."""
        names: dict[str, tuple[int, ...]] = {plain(word): (index,) for index, word in enumerate(self.classes)}
        names |= {plain(word): indices for word, indices in self.regions.items()}
        return (names | dict(self.class_names)).get(plain(name))

    def schemes_of_file(self, path: Path | str) -> tuple[str, ...]:
        """The label schemes of data whose files are named like this one; none where the name does not tell."""
        name = re.sub(r"(\.[A-Za-z]+)+(#\d+)?$", "", Path(path).name)
        found = (of for pattern, of in self.scheme_file_names.items() if re.fullmatch(pattern, name, re.IGNORECASE))
        return next(found, ())

    def file_code(self, class_index: int, scheme: str | None = None) -> int:
        """The value that stands for a class in label files of a scheme."""
        return next(code for code, index in self.codes(scheme).items() if index == class_index)


BRATS2020 = DatasetSpec(
    name="brats2020",
    modalities=("flair", "t1ce", "t1", "t2"),
    classes=("background", "necrotic and non-enhancing tumour core", "edema", "enhancing tumour"),
    label_codes={0: 0, 1: 1, 2: 2, 4: 3},
    regions={"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)},
    spatial_dims=3,
    spacing=(1.0, 1.0, 1.0),
    crop=(80, 80, 80),
    other_label_schemes={
        "brats2023": {0: 0, 1: 1, 2: 2, 3: 3},
        "brats2024": {0: 0, 1: 1, 2: 2, 3: 3, 4: 0},  # 4 is the resection cavity, no part of the tumour
        "msd": {0: 0, 1: 2, 2: 1, 3: 3},
    },
    class_names={
        "necrosis": (1,),
        "ncr": (1,),
        "net": (1,),
        "ncr/net": (1,),
        "necrotic tumour core": (1,),
        "non enhancing tumour": (1,),
        "non enhancing tumour core": (1,),
        "ed": (2,),
        "peritumoral edema": (2,),
        "peritumoural edema": (2,),
        "snfh": (2,),
        "gd enhancing tumour": (3,),
        "resection cavity": (0,),
        "rc": (0,),
        "whole tumour": (1, 2, 3),
        "tumour core": (1, 3),
    },
    scheme_file_names={r".*-t(1n|1c|2w|2f)": ("brats2023", "brats2024"), r"BRATS_\d{3}(_\d{4})?": ("msd",)},
)

MYOPS2020 = DatasetSpec(
    name="myops2020",
    modalities=("bssfp", "lge", "t2"),
    classes=("background", "left ventricular blood pool", "right ventricular blood pool", "myocardium"),
    label_codes={0: 0, 500: 1, 600: 2, 200: 3, 1220: 3, 2221: 3},
    regions={"LVB": (1,), "RVB": (2,), "MYO": (3,)},
    spatial_dims=2,
    spacing=(0.75, 0.75),
    crop=(256, 256),
    orientation=None,
    central=True,
)

TCGA_LGG = DatasetSpec(
    name="tcga_lgg",
    modalities=("t1", "flair", "t1ce"),
    classes=("background", "lesion"),
    label_codes={0: 0, 1: 1},
    regions={"lesion": (1,)},
    spatial_dims=2,
    spacing=(2.4, 2.4),
    crop=(96, 96),
    foreground="above_background",
    class_weights=(0.5, 1.5),  # those of Eq. 1 vanish on the two thirds of the slices that hold no lesion
)

DATASETS: Mapping[str, DatasetSpec] = {spec.name: spec for spec in (BRATS2020, MYOPS2020, TCGA_LGG)}


def plain(name: str) -> str:
    """A name of a class in one spelling: lower case, British, words apart."""
    words = name.lower().replace("tumour", "tumor").replace("tumor", "tumour").replace("oedema", "edema")
    return " ".join(re.split(r"[\s_-]+", words.strip()))


def dataset_spec(name: str) -> DatasetSpec:
    """The data set of that name.

    Raises:
        ValueError: no such data set.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; accepted: {', '.join(DATASETS)}")
    return DATASETS[name]
