"""Dates in many forms, each beside the day it means."""

import datetime
import re
from pathlib import Path

import pytest

from charrnn.text import corpora, dates


def test_a_form_names_the_day_that_stands_beside_it() -> None:
    for text, iso in dates.date_pairs(2000):
        day = datetime.date.fromisoformat(iso)
        assert dates.FIRST <= day <= dates.LAST
        numbers = [int(number) for number in re.findall(r"\d+", text)]
        assert day.day in numbers, text
        assert {day.year, day.year % 100} & set(numbers), text
        assert "\t" not in text
        assert text == " ".join(text.split())


def test_english_forms_tell_days_apart() -> None:
    days = [dates.FIRST + datetime.timedelta(days=i) for i in range(0, 36_500, 17)]
    for write in dates.ENGLISH:
        assert len({write(day) for day in days}) == len(days)


def test_a_seed_decides_the_pairs() -> None:
    assert list(dates.date_pairs(50, seed=1)) == list(dates.date_pairs(50, seed=1)) != list(dates.date_pairs(50))


def test_without_babel_there_is_english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    other = corpora.get("dates", tmp_path)
    monkeypatch.setattr(dates, "has_languages", lambda: False)
    english = corpora.get("dates", tmp_path)
    assert other != english
    for path, is_english in ((other, False), (english, True)):
        lines = path.read_text("utf-8").splitlines()
        assert lines[0] == "source\ttarget"
        assert len(lines) == 1 + dates.NUMBER
        assert path.read_text("utf-8").isascii() == is_english
