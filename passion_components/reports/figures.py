"""Pictures of segmentations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from passion_components.files import write_atomically

matplotlib.use("Agg")

# Okabe and Ito's colours, which readers with colour vision deficiencies tell apart
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "#0072B2")


@dataclass(frozen=True)
class Panel:
    """One picture of a slice.

    Attributes:
        title: what stands above it.
        image: (X, Y) intensities, x from the patient's right to left, y from anterior to posterior (LPS).
        masks: region -> (X, Y) bool, drawn as contours in the order given, each thinner than those below it, so that
            regions with the same outline are all seen.
        window: intensities shown as black and as white; None: the least and the greatest.
        aspect: length of a pixel along y, as a multiple of that along x.
    """

    title: str
    image: np.ndarray
    masks: Mapping[str, np.ndarray]
    window: tuple[float, float] | None = None
    aspect: float = 1.0


def write_case_rows(path: Path | str, rows: Sequence[tuple[str, Sequence[Panel]]]) -> None:
    """Write the figure of :func:`case_rows` as PNG."""
    write_atomically(path, partial(case_rows(rows).savefig, dpi=110, format="png"))


def case_rows(rows: Sequence[tuple[str, Sequence[Panel]]]) -> Figure:
    """A labelled row of panels for every case, with a legend of the regions.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("expected at least one row of panels")
    columns = max(len(panels) for _, panels in rows)
    figure = Figure(figsize=(2.2 * columns, 2.4 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    names: dict[str, str] = {}
    for line, (label, panels) in zip(axes, rows, strict=True):
        for ax in line:
            ax.set_axis_off()
        for ax, panel in zip(line, panels, strict=False):
            low, high = panel.window or (None, None)
            ax.imshow(panel.image.T, cmap="gray", interpolation="nearest", vmin=low, vmax=high, aspect=panel.aspect)
            ax.set_title(panel.title, fontsize=8)
            widths = [1.0 + 1.3 * above for above in reversed(range(len(panel.masks)))]
            for colour, width, (name, mask) in zip(COLOURS, widths, panel.masks.items(), strict=False):
                names[name] = colour
                if mask.any():
                    ax.contour(mask.T.astype(float), levels=[0.5], colors=[colour], linewidths=width)
        line[0].text(-0.06, 0.5, label, transform=line[0].transAxes, rotation=90, va="center", ha="right", fontsize=8)
    handles = [matplotlib.lines.Line2D([], [], color=colour, label=name) for name, colour in names.items()]
    if handles:
        figure.legend(handles=handles, loc="outside lower left", ncols=len(names), fontsize=8, frameon=False)
    return figure
