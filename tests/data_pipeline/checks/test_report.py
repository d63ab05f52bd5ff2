import json
import os

import numpy as np
import pytest

from passion_components.data.checks.findings import Kind
from passion_components.data.errors import UserError

SIZE = (16, 16, 16)


def end_process(_):
    os._exit(9)


class TestReport:
    @pytest.fixture
    def spoiled(self, drawn):
        drawn.path(drawn.first, "t1").unlink()
        drawn.change(drawn.second, "t2", np.zeros_like)
        drawn.change(drawn.parts["test"][0], "label", lambda array: array + 5)
        return drawn

    def test_it_does_not_depend_on_the_number_of_jobs(self, spoiled):
        one, two = (json.dumps(spoiled.report(jobs=jobs).as_json()) for jobs in (1, 2))
        assert one == two

    def test_errors_come_before_warnings_and_are_counted(self, spoiled):
        report = spoiled.report()
        assert [finding.kind for finding in report.findings] == [Kind.UNREADABLE, Kind.LABEL_VALUES, Kind.CONSTANT]
        assert (report.count("error"), report.count("warning")) == (2, 1)

    def test_json_says_everything_without_numbers_that_json_has_not(self, spoiled):
        spoiled.change(spoiled.second, "t1", lambda array: np.full(SIZE, np.nan, np.float32))
        content = json.loads(json.dumps(spoiled.report().as_json(), allow_nan=False))
        assert (content["dataset"], content["errors"], content["warnings"]) == ("brats2020", 3, 1)
        first, second, third, fourth = content["cases"]
        assert first["findings"] == [content["findings"][0]["message"]] and third["findings"] == []
        assert "does not exist" in first["files"]["t1"]["problem"] and first["files"]["t1"]["sha256"] is None
        assert second["files"]["t1"]["min"] is None and second["files"]["t2"]["contrast"] is False
        assert fourth["files"]["label"]["label_values"][0] == 5
        assert content["findings"][0]["cases"] == [{"part": "training", "case": "P1"}]

    def test_progress_counts_files(self, drawn):
        seen = []
        drawn.report(progress=lambda done, total: seen.append((done, total)))
        assert seen == [(done, 20) for done in (5, 10, 15, 20)]

    def test_a_reading_process_that_is_killed_is_told(self, drawn):
        with pytest.raises(UserError, match="ended from outside.*fewer --jobs"):
            drawn.report(jobs=2, contrast=end_process)

    def test_at_least_one_job(self, drawn):
        with pytest.raises(ValueError, match="jobs must be at least 1, got 0"):
            drawn.report(jobs=0)
