"""The HTML report, by its text and in a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.image import imread

from passion_components.metrics import EMPTY_POLICIES
from passion_components.reports.report import comparison_section, in_one_sentence, report_html
from passion_components.reports.runs import read_run, read_runs

from .conftest import write_pictured, write_scores, write_training

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "img", "wbr"}


class Page(HTMLParser):
    """Elements of a page; complains where they are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("run")
    write_training(folder)
    write_scores(folder, {"P1": 0.5, "P2": 0.7})
    return report_html([read_run(folder, "a")])


@pytest.fixture(scope="module")
def with_pictures(tmp_path_factory) -> str:
    return report_html([read_run(write_pictured(tmp_path_factory.mktemp("pictured")), "r")])


class TestPage:
    def test_needs_no_other_file_and_no_script(self, report):
        page = Page(report)
        targets = [a[key] for _, a in page.elements for key in ("src", "href") if key in a]
        assert targets and all(target.startswith(("data:image/", "#section-")) for target in targets)
        assert not page.all("script") and not page.all("link") and "url(" not in report

    def test_links_lead_to_headings(self, report):
        page = Page(report)
        anchors = {a["id"] for name, a in page.elements if name == "h2"}
        assert {a["href"].removeprefix("#") for a in page.all("a")} == anchors

    def test_every_image_is_told_in_words(self, report):
        images = Page(report).all("img")
        assert len(images) == 4 and all(len(image["alt"]) > 20 for image in images)

    def test_headings_go_down_one_level_at_a_time(self, with_pictures):
        page = Page(with_pictures)
        levels = [int(name[1]) for name, _ in page.elements if re.fullmatch("h[1-6]", name)]
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(below - above <= 1 for above, below in zip(levels, levels[1:], strict=False))

    def test_tables_hold_the_numbers_of_the_summary(self, make_run):
        folder = make_run("a", {"P1": 0.5, "P2": 0.7})
        cells = Page(report_html([read_run(folder, "a")])).cells
        summary = json.loads((folder / "summary.json").read_text())
        for entry in (*summary["subsets"].values(), summary["mean_over_subsets"]):
            assert f"{100 * entry['dice']['lesion']:.2f}" in cells and f"{entry['hd95']['lesion']:.2f}" in cells

    def test_says_what_was_trained_on_what(self, report):
        cells = Page(report).cells
        for said in ("RFNet (parameters 657706)", "missing.json", "ab" * 32, "11" * 32, "brats"):
            assert said in cells

    def test_opens_with_what_came_out_and_folds_the_settings_away(self, with_pictures):
        said = [with_pictures.index(f">{heading}</h2>") for heading in ("Scores of r", "Cases", "Training of r")]
        first, folded = with_pictures.index("<p>r: RFNet trained with "), with_pictures.index("<details><summary>")
        assert first < said[0] < said[1] < said[2] < folded < with_pictures.index("SHA-256 of the weights")

    def test_the_sentence_has_the_mean_over_subsets(self, make_run):
        run = read_run(make_run("a", {"P1": 0.5, "P2": 0.7}), "a")
        mean = sum(entry["dice"]["lesion"] for entry in run.summary["subsets"].values()) / 7
        assert in_one_sentence(run).endswith(
            f"on 2 cases of tcga_lgg, the mean over 7 subsets of the sequences is lesion {100 * mean:.1f} (Dice, %)."
        )

    def test_text_is_escaped(self, make_run):
        folder = make_run("a", {"P1": 0.5}, datalist="<script>alert(1)</script>", network='"><img src=x>')
        html = report_html([read_run(folder, "<b>&name</b>")])
        page = Page(html)
        assert not page.all("script") and not page.all("b") and not any(a.get("src") == "x" for a in page.all("img"))
        assert "<script>alert(1)</script>" in page.cells and "<b>&name</b>" in page.cells

    def test_the_same_runs_give_the_same_bytes(self, with_pictures, pictured):
        shutil.rmtree(pictured / "predictions" / "a")
        again = report_html([read_run(pictured, "r")])
        images = [[a["src"] for a in Page(html).all("img")] for html in (with_pictures, again)]
        assert len(images[0]) == 6 and len(images[1]) == 5
        assert [image for image in images[0] if image in images[1]] == images[1]

    def test_heat_map_has_readable_numbers(self, report):
        styles = [a["style"] for a in Page(report).all("td") if "background" in (a.get("style") or "")]
        assert len(styles) == 8
        for style in styles:
            back, front = (np.array([int(c[i : i + 2], 16) for i in (0, 2, 4)]) / 255 for c in colours_of(style))
            light, dark = sorted((luminance(back), luminance(front)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2, level AA


def colours_of(style: str) -> list[str]:
    found = re.findall(r"#([0-9a-f]{6}|[0-9a-f]{3})\b", style)
    return [c if len(c) == 6 else "".join(2 * letter for letter in c) for c in found]


def luminance(colour: np.ndarray) -> float:
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


class TestWhatIsMissing:
    def test_scores_alone_say_that_there_are_no_curves(self, tmp_path):
        write_scores(tmp_path, {"P1": 0.5})
        html = report_html([read_run(tmp_path, "a")])
        assert "No curves" in html and "Training writes both to its --output_dir" in html

    def test_training_alone_says_that_nothing_was_scored(self, tmp_path):
        write_training(tmp_path)
        html = report_html([read_run(tmp_path, "a")])
        assert "Not scored" in html and "Relative preference" in html

    def test_without_predictions_it_is_said_how_to_keep_them(self, report):
        assert "--save_predictions True" in report

    def test_a_subset_that_no_case_has_is_a_dash(self, tmp_path):
        write_scores(tmp_path, {"P1": 0.5}, subsets=[("t1",)])
        page = Page(report_html([read_run(tmp_path, "a")]))
        assert page.cells.count("–") >= 6 * 2

    def test_why_runs_cannot_be_compared_is_said(self, make_run):
        folders = [make_run("a", {"P1": 0.5}), make_run("b", {"P1": 0.5})]
        other = next(name for name in EMPTY_POLICIES if name != "brats")
        write_scores(folders[1], {"P1": 0.5}, policy=other)
        (html,) = comparison_section(read_runs(list(map(str, folders))))
        assert "These runs cannot be compared" in html and f"policy is {other}, but brats" in html

    def test_one_scored_run_of_two_is_said(self, make_run, tmp_path):
        write_training(tmp_path / "b")
        (html,) = comparison_section(read_runs([str(make_run("a", {"P1": 0.5})), str(tmp_path / "b")]))
        assert "Fewer than two runs were scored" in html

    def test_complete_cases_and_what_the_policy_decided_are_shown_where_they_are_told(self, make_run):
        folder = make_run("a", {"P1": 0.5})
        summary = json.loads((folder / "summary.json").read_text())
        decided = {"decided_by_policy": {"lesion": {"both_empty": 37, "one_empty": 2}}}
        for entry in (*summary["subsets"].values(), summary["mean_over_subsets"]):
            entry |= decided
        mean = decided | {"n": 9, "dice": {"lesion": 0.1234}, "hd95": {"lesion": None}}
        summary["complete_cases"] = {"n": 3, "subsets": dict.fromkeys(summary["subsets"], mean)}
        summary["complete_cases"]["mean_over_subsets"] = mean
        (folder / "summary.json").write_text(json.dumps(summary))
        html = report_html([read_run(folder, "a")])
        cells = Page(html).cells
        assert cells.count("37 / 2") == 16 and cells.count("12.34") == 8
        assert "the 3 cases that have every modality" in html


class TestSeveralRuns:
    def test_are_compared_with_the_first(self, make_run):
        folders = [make_run("a", {"P1": 0.5, "P2": 0.6}), make_run("b", {"P1": 0.6, "P2": 0.7})]
        page = Page("".join(comparison_section(read_runs(list(map(str, folders))))))
        assert "+10.00 [+10.00, +10.00]" in page.cells

    def test_regions_and_modalities_of_another_data_set(self, tmp_path):
        modalities, regions = ("flair", "t1ce", "t1", "t2"), ("WT", "TC", "ET")
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            write_scores(tmp_path / name, {"P1": 0.9}, dataset="brats2020", modalities=modalities, regions=regions)
        page = Page("".join(comparison_section(read_runs([str(tmp_path / "a"), str(tmp_path / "b")]))))
        assert "flair+t1ce+t1+t2" in page.cells and "Dice Avg., %" in page.cells


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH")
class TestInABrowser:
    @pytest.fixture
    def browse(self, with_pictures, tmp_path):
        """Open the report of a run with pictures; gives stdout and stderr of the browser."""
        path = tmp_path / "report.html"
        path.write_text(with_pictures, encoding="utf-8")

        def run(*options: str) -> subprocess.CompletedProcess:
            words = ("--headless", "--disable-gpu", "--no-sandbox", "--hide-scrollbars", "--enable-logging=stderr")
            profile = f"--user-data-dir={tmp_path / 'profile'}"
            command = [BROWSER, *words, profile, *options, path.as_uri()]
            return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

        return run

    def test_loads_without_errors_and_shows_the_scores(self, browse):
        result = browse("--dump-dom")
        assert "CONSOLE" not in result.stderr
        assert {"70.00", "50.00", "t1+flair+t1ce"} <= set(re.findall(r">([^<>]+)</t[dh]>", result.stdout))

    @pytest.mark.parametrize("width", [500, 1200])
    def test_is_not_blank_and_not_wider_than_the_window(self, browse, tmp_path, width):
        browse(f"--screenshot={tmp_path / 'page.png'}", f"--window-size={width},2500")
        pixels = imread(tmp_path / "page.png")[..., :3]
        assert pixels.shape[1] == width and pixels.var() > 0.01
        assert (pixels[:, -8:] == 1).all()  # the margin on the right is free
