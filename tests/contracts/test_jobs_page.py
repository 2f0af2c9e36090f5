"""The README lists every job there is, each with the setting that says how often it is done."""

import re
from pathlib import Path

import pytest

from app.config import Settings
from app.dispatch import TaskName
from tests.contracts.test_config import REQUIRED
from tests.factories import JOBS

README = Path(__file__).parents[2] / "README.md"
SECONDS = 1234.0


def _told() -> list[tuple[TaskName, str, str, str]]:
    """Each job with its setting, what it does and where that shows, as the page says."""
    (page,) = re.findall(r"^## Jobs\n(.*?)^## ", README.read_text(), re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| `(\w+)` \| (.+) \| (.+) \|$", page, re.MULTILINE)
    return [
        (TaskName(f"keyledger.{name}"), every, does, shows)
        for names, every, does, shows in rows
        for name in re.findall(r"\w+", names)
    ]


def test_the_page_lists_every_job_once_with_its_effect_and_where_it_shows():
    told = _told()

    assert sorted(job for job, *_ in told) == list(JOBS)
    assert all(does.strip() and shows.strip() for *_, does, shows in told)


@pytest.mark.parametrize(("job", "setting"), [(job, setting) for job, setting, *_ in _told()])
def test_the_setting_that_is_named_is_the_one_that_says_how_often_a_job_is_done(job: TaskName, setting: str):
    before = Settings.parse(REQUIRED).intervals
    changed = Settings.parse({**REQUIRED, setting: f"{SECONDS:g}"}).intervals

    assert before[job] != SECONDS == changed[job]


def test_every_such_setting_is_in_the_table_of_settings():
    settings, _, _ = README.read_text().partition("## Roles")

    assert {setting for _, setting, *_ in _told()} <= set(re.findall(r"`(\w+)`", settings))
