"""A first description of a data set that nobody has described yet, from what lies in a folder."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from passion_components.data.errors import CaseError
from passion_components.data.layouts.name_words import plain_entities
from passion_components.data.layouts.numbered_channels import DESCRIPTION, FOLDERS, classes_of, read_description
from passion_components.data.reading.background import MIN_ZERO_SHARE, has_zero_corners
from passion_components.data.reading.image_files import ACCEPTED_IMAGES, images_below, images_in, stem
from passion_components.data.reading.volumes import Volume, read_volume, whole_numbers
from passion_components.datasets import DATASETS, known_sequence, spelling

LABEL_WORDS = ("seg", "segm", "segmentation", "label", "labels", "mask", "msk", "gt", "truth", "lesion", "roi")
MAX_CODES = 64
"""Of more values an image is no label map."""

_LOOKED_AT = 3
_SAMPLES = 20
_EDGE = 16
_MAX_EDGE = {2: 256, 3: 96}
_BIDS = re.compile(r"sub-[^_]+_(?:ses-[^_]+_)?(.+)")
_SAGITTAL_CORONAL_AXIAL = ("PSL", "LSP", "LPS")
"""Axis codes whose last axis runs from left to right, from front to back, from bottom to top (LPS: the first)."""


@dataclass
class Draft:
    """What a folder tells of a data set.

    Attributes:
        content: of the JSON file.
        questions: what only its owner knows, or was guessed, one line each.
    """

    content: dict[str, Any]
    questions: list[str] = field(default_factory=list)


def draft_dataset(source: Path | str, name: str) -> Draft:
    """Describe the data set in a folder: ``imagesTr`` with ``dataset.json``, or files whose names end alike.

    Args:
        source: only read.
        name: of the data set.

    Raises:
        FileNotFoundError: no such folder, or no images in it.
        ValueError: no names that repeat, no sequence that can be read, a ``dataset.json`` that cannot be understood.
    """
    source = Path(source)
    if not source.is_dir():
        raise FileNotFoundError(f"{source}: no such folder; expected one with the images of the data set")
    if (source / DESCRIPTION).is_file() and (source / FOLDERS[0][0]).is_dir():
        files, named = _numbered(source)
    else:
        files, named = _by_last_word(source), {}
    facts = {word: _look_at(of_word[:_LOOKED_AT]) for word, of_word in files.items()}
    labels = _label_words(facts)
    scans = {word: of_word for word, of_word in files.items() if word not in labels}
    if not scans:
        raise ValueError(f"{source}: every image looks like a label map ({', '.join(labels)}); expected sequences too")
    draft = Draft({"name": name})
    _describe_names(draft, scans, labels[:1])
    _describe_classes(draft, [] if not labels else files[labels[0]], named)
    seen = [volume for word in scans for volume in facts[word]]
    if not seen:
        unreadable = next(iter(scans.values()))[0]
        read_volume(unreadable, case=unreadable.name)  # raises, with the reason
    _describe_grid(draft, seen)
    for word in labels[1:]:
        draft.questions.append(f"{word} holds few whole numbers too ({len(files[word])} files); is it the label map?")
    draft.questions.append('skull is null, no question; "expected" or "unexpected" lets passion check tell of heads')
    return draft


def _by_last_word(source: Path) -> dict[str, list[Path]]:
    """Files by the last word of their names, without numbers; those of words that do not repeat are left out."""
    found: dict[str, list[Path]] = {}
    images = list(images_below(source))
    for image in images:
        bids = _BIDS.fullmatch(stem(image))
        words = re.findall(r"[^_\-. ]+", plain_entities(bids[1]) if bids else stem(image))
        last = next((word for word in reversed(words) if re.search(r"[A-Za-z]", word)), None)
        if last is not None:
            found.setdefault(known_sequence(last) or spelling(last), []).append(image)
    if images and not found:
        raise ValueError(
            f"{source}: the names of {len(images)} images, like {images[0].name}, hold no word; expected "
            f"<case>_<sequence>, like P1_dwi.nii.gz: rename them, or write the file by hand and use passion prepare "
            f"--pattern"
        )
    if not found:
        raise FileNotFoundError(f"{source}: no images found; expected {ACCEPTED_IMAGES}")
    most = max(map(len, found.values()))
    repeated = {word: files for word, files in found.items() if len(files) > 1 or most == 1}
    if most == 1 and len(found) > 12:
        raise ValueError(
            f"{source}: no word repeats at the end of {len(found)} names; expected <case>_<sequence>, like "
            f"P1_dwi.nii.gz: rename them, or write the file by hand and use passion prepare --pattern"
        )
    return dict(sorted(repeated.items(), key=lambda entry: (-len(entry[1]), entry[0])))


def _numbered(source: Path) -> tuple[dict[str, list[Path]], dict[int, str]]:
    """Files by channel and of the labels, and names of classes by code, of a folder with ``dataset.json``."""
    description = read_description(source / DESCRIPTION)
    channels = description.get("channel_names", description.get("modality"))
    if not isinstance(channels, dict):
        raise ValueError(f"{source / DESCRIPTION}: expected channel_names (or modality) like {{'0': 'T2'}}")
    images, labels = (images_in(source / folder) for folder in FOLDERS[0])
    files: dict[str, list[Path]] = {}
    for number, channel in channels.items():
        word = known_sequence(str(channel)) or re.sub(r"[^a-z0-9]+", "_", str(channel).lower()).strip("_")
        own = [image for image in images if stem(image).endswith(f"_{int(number):04d}")]
        files[word] = own or [image.with_name(f"{image.name}#{number}") for image in images]
    files[LABEL_WORDS[0]] = labels
    named = {codes[0]: name for name, codes in classes_of(description.get("labels")).items() if len(codes) == 1}
    return files, named


@dataclass(frozen=True)
class Seen:
    """What one file holds.

    Attributes:
        lengths: millimetres per voxel from right to left, front to back, bottom to top.
        sizes: voxels along the same axes.
        is_zero_outside: whether the corners and a fifth of all voxels are exactly 0.
        codes: its values where these are few whole numbers with 0 among them, as in a label map; else empty.
    """

    lengths: tuple[float, ...]
    sizes: tuple[int, ...]
    is_zero_outside: bool
    codes: tuple[int, ...]


def _look_at(files: Iterable[Path]) -> list[Seen]:
    """What the files hold that can be read."""
    found = []
    for file in files:
        with suppress(CaseError):
            found.append(_seen(read_volume(file, case=file.name, warn=False)))
    return found


def _seen(volume: Volume) -> Seen:
    order = nib.io_orientation(volume.grid.affine)[:, 0].argsort()
    spacing = np.linalg.norm(volume.grid.affine[:3, :3], axis=0)
    values = np.unique(whole_numbers(volume.array))
    coded = len(values) <= MAX_CODES and values.min() == 0 and bool((values == np.round(values)).all())
    return Seen(
        lengths=tuple(spacing[order].tolist()),
        sizes=tuple(volume.grid.shape[axis] for axis in order),
        is_zero_outside=has_zero_corners(volume.array) and np.mean(volume.array == 0) >= MIN_ZERO_SHARE,
        codes=tuple(int(value) for value in values) if coded else (),
    )


def _label_words(facts: Mapping[str, Sequence[Seen]]) -> list[str]:
    """The words of label maps, those that usually mean one first."""
    found = [word for word, volumes in facts.items() if volumes and all(volume.codes for volume in volumes)]
    return sorted(found, key=lambda word: LABEL_WORDS.index(word) if word in LABEL_WORDS else len(LABEL_WORDS))


def _describe_names(draft: Draft, scans: Mapping[str, Sequence[Path]], labels: Sequence[str]) -> None:
    known = {name: own for spec in DATASETS.values() for name, own in spec.spellings.items()}
    draft.content["modalities"] = {word: list(known.get(word, ())) for word in scans}
    counts = ", ".join(f"{word} ({len(files)})" for word, files in scans.items())
    draft.questions.append(f"sequences by the ends of names: {counts}; take out what is none, add other spellings")
    if labels:
        draft.content["label_words"] = list(labels)
    else:
        draft.questions.append("no label map was found; training needs one for every case, named by label_words")


def _describe_classes(draft: Draft, labels: Sequence[Path], named: Mapping[int, str]) -> None:
    step = max(1, len(labels) // _SAMPLES)
    volumes = _look_at(labels[::step])
    held = {code for volume in volumes for code in volume.codes} | named.keys()
    codes = sorted({0, *(held - {0} or {1})})
    names = {code: named.get(code, "background" if code == 0 else f"class {code}") for code in codes}
    draft.content["classes"] = list(names.values())
    draft.content["label_codes"] = {str(code): name for code, name in names.items()}
    if set(codes) - named.keys() - {0}:
        draft.questions.append(
            f"codes in {len(volumes)} label maps: {', '.join(map(str, codes))}; name the classes in classes and "
            f"label_codes, and what is scored in regions: each class, unless said otherwise"
        )


def _describe_grid(draft: Draft, seen: Sequence[Seen]) -> None:
    """Dimension, spacing, window and orientation by the medians of what was read; foreground by what is 0."""
    lengths, sizes = (np.median(each, axis=0) for each in zip(*((one.lengths, one.sizes) for one in seen), strict=True))
    thick = int(np.argmax(lengths))
    slices = lengths[thick] >= 2.5 * np.median(lengths)
    axes = [axis for axis in range(3) if axis != thick] if slices else [0, 1, 2]
    spacing = [float(f"{lengths[axis]:.3g}") for axis in axes]
    extent = [sizes[axis] * lengths[axis] / length for axis, length in zip(axes, spacing, strict=True)]
    largest = _MAX_EDGE[len(axes)]
    crop = [int(min(largest, max(2 * _EDGE, size // _EDGE * _EDGE))) for size in extent]
    zeros = sum(volume.is_zero_outside for volume in seen)
    outside = 2 * zeros > len(seen)
    draft.content |= {
        "spatial_dims": len(axes),
        "spacing": spacing,
        "crop": crop,
        "orientation": _SAGITTAL_CORONAL_AXIAL[thick] if slices else "LPS",
        "foreground": "nonzero" if outside else "above_background",
        "crop_to_foreground": bool(outside and len(axes) == 3),
        "axial_slices": False,
        "skull": None,
    }
    shown = " x ".join(f"{length:.3g}" for length in lengths)
    draft.questions += [
        f"voxels have {shown} mm (left, back, up), images {' x '.join(f'{size:g}' for size in sizes)} of them: is "
        f"spatial_dims {len(axes)} right ({'slices' if slices else 'volumes'} are the samples), and spacing and crop?",
        f"{zeros} of {len(seen)} images are 0 outside: foreground is {draft.content['foreground']}",
    ]
    grids = Counter(tuple(np.round(volume.lengths, 2)) for volume in seen)
    if len(grids) > 1:
        draft.questions.append("images lie on several grids: where those of one case differ, add --resample-to to runs")
