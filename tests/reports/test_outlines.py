"""Contours of regions in pictures."""

from __future__ import annotations

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb

from passion_components.reports.figures import COLOURS, Panel, case_rows


def test_regions_with_the_same_outline_are_all_seen():
    mask = np.zeros((24, 24), bool)
    mask[6:18, 6:18] = True
    figure = case_rows([("a", [Panel("", np.zeros((24, 24)), dict.fromkeys(("WT", "TC", "ET"), mask))])])
    figure.set_dpi(130)
    figure.legends.clear()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())[..., :3] / 255
    for colour in COLOURS[:3]:
        seen = np.abs(picture - to_rgb(colour)).max(-1) < 0.25
        assert np.count_nonzero(seen) > 100, colour
