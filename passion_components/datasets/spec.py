"""What a data set is: no code elsewhere asks which one it serves."""

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
        further_label_schemes: as ``other_label_schemes``, without a part in what evaluations call the data set: one
            that is added here leaves earlier evaluations valid.
        class_names: what descriptions call classes, or several of them together -> class indices, besides ``classes``
            and ``regions``; in the form that :func:`plain` gives them.
        scheme_file_names: regular expression of a file's name without ending -> the schemes of data that is so named.
        spellings: modality -> words that stand for it in names of files, besides its own; any case of letters, words
            of several parts joined by ``_``.
        label_words: words that stand for a label map in names of files.
        skull: whether scans show the whole head: ``unexpected`` (brains are extracted), ``expected``, or None where
            that is no question.
        axial_slices: whether slices across the last axis must be the ones that were acquired.
        crop_to_foreground: whether images are cropped to the box around their foreground.
        file: the JSON file that it was read from, None for the data sets of the bundles.
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
    further_label_schemes: Mapping[str, Mapping[int, int]] = field(default_factory=dict, repr=False)
    class_names: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    scheme_file_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    label_words: tuple[str, ...] = field(default=("seg", "segm", "label", "mask"), repr=False)
    skull: str | None = field(default=None, repr=False)
    axial_slices: bool = field(default=False, repr=False)
    crop_to_foreground: bool = field(default=False, repr=False)
    file: Path | None = field(default=None, repr=False, compare=False)

    @property
    def label_schemes(self) -> Mapping[str, Mapping[int, int]]:
        """Every scheme of label files by name, the one of the data set's own name first."""
        return {self.name: self.label_codes, **self.other_label_schemes, **self.further_label_schemes}

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


def plain(name: str) -> str:
    """A name of a class in one spelling: lower case, British, words apart."""
    words = name.lower().replace("tumour", "tumor").replace("tumor", "tumour").replace("oedema", "edema")
    return " ".join(re.split(r"[\s_-]+", words.strip()))


def spelling(word: str) -> str:
    """A word of a file's name as spellings are compared: lower case, ``_`` between its parts."""
    return re.sub(r"[_\-. ]+", "_", word.lower())
