"""Charts as SVG."""

from __future__ import annotations

import re

import numpy as np
import pytest

from passion_components.reports.charts import bars_svg, common_limits, lines_svg
from passion_components.reports.figures import COLOURS

AXES = {"title": "t", "xlabel": "epoch", "ylabel": "y"}


def drawn_heights(svg: str, colour: str) -> np.ndarray:
    """Heights of the line of a colour in points downwards; the other path of that colour is flat, in the legend."""
    paths = re.findall(rf'<path d="([^"]*)"[^>]*stroke: {colour.lower()}', svg)
    heights = [np.array([float(y) for y in re.findall(r"[ML] [-\d.]+ ([-\d.]+)", path)]) for path in paths]
    return max(heights, key=np.ptp)


class TestLines:
    def test_a_greater_value_stands_higher(self):
        heights = drawn_heights(lines_svg({"a": {1: 0.0, 2: 1.0, 3: 0.5}}, **AXES), COLOURS[0])
        np.testing.assert_allclose((heights[0] - heights) / (heights[0] - heights[1]), [0, 1, 0.5], atol=1e-3)

    def test_on_a_logarithmic_axis_equal_factors_are_equal_steps(self):
        heights = drawn_heights(lines_svg({"a": {1: 4.0, 2: 0.4, 3: 0.04}}, log=True, **AXES), COLOURS[0])
        steps = np.diff(heights)
        assert steps[0] == pytest.approx(steps[1], rel=1e-3) and steps[0] > 30

    def test_with_a_zero_the_axis_stays_linear(self):
        heights = drawn_heights(lines_svg({"a": {1: 2.0, 2: 1.0, 3: 0.0}}, log=True, **AXES), COLOURS[0])
        assert np.diff(heights)[0] == pytest.approx(np.diff(heights)[1], rel=1e-3) and np.ptp(heights) > 60

    def test_limits_are_kept(self):
        narrow, wide = (
            drawn_heights(lines_svg({"a": {1: 0.0, 2: 1.0}}, limits=(0, top), **AXES), COLOURS[0]) for top in (1, 4)
        )
        assert np.ptp(narrow) == pytest.approx(4 * np.ptp(wide), rel=1e-3)

    def test_the_same_values_give_the_same_bytes(self):
        assert lines_svg({"a": {1: 1.0}}, **AXES) == lines_svg({"a": {1: 1.0}}, **AXES)

    def test_names_are_no_mathematics(self):
        assert lines_svg({"$\\frac{1}$": {1: 1.0}}, **AXES).startswith("<?xml")


class TestBars:
    def test_a_bar_without_value_does_not_hide_the_others(self):
        svg = bars_svg({"a": {"WT": (50.0, 1.0)}, "b": {"WT": (float("nan"), float("nan"))}}, title="t", xlabel="x")
        assert svg.count(f"fill: {COLOURS[0].lower()}") >= 1

    def test_lines_of_one_colour_have_other_dashes(self):
        series = {f"s{number}": {1: float(number), 2: 0.0} for number in range(2 * len(COLOURS))}
        svg = lines_svg(series, title="t", xlabel="x", ylabel="y")
        colours = "|".join(COLOURS).lower()
        looks = re.findall(rf'<path d="M[^"]*"[^>]*style="(fill: none;[^"]*stroke: (?:{colours})[^"]*)"', svg)
        assert len(set(looks)) == len(series)

    @pytest.mark.parametrize(("more", "hatched"), [(0, False), (1, True)])
    def test_more_bars_than_colours_are_told_apart_by_hatches(self, more, hatched):
        bars = {f"setting {number}": (float(number), float("nan")) for number in range(len(COLOURS) + more)}
        assert ("<pattern" in bars_svg({"a": bars}, title="t", xlabel="x")) is hatched


class TestLimits:
    def test_hold_all_charts_with_a_margin(self):
        low, high = common_limits([{"a": {1: -1.0}}, {"b": {1: 1.0, 2: float("nan")}}])
        assert (low, high) == (pytest.approx(-1.1), pytest.approx(1.1))
        assert common_limits([]) is None
