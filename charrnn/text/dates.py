"""Dates as people write them, beside the ISO form: pairs that a network from sequence to sequence learns in minutes.

English forms are made here. Where the `babel` library is installed, half of the dates are in other languages.
"""

from __future__ import annotations

import calendar
import datetime
import importlib.util
import random
from collections.abc import Callable, Iterator

NUMBER = 40_000  # pairs
FIRST, LAST = datetime.date(1930, 1, 1), datetime.date(2029, 12, 31)  # so that two digits tell the year
# Languages whose usual calendar is the Gregorian one, and whose forms name day, month and year unmistakably.
LANGUAGES = (
    *("bg", "ca", "cs", "da", "de", "el", "es", "et", "fi", "fr", "hr", "hu", "is", "it", "ja", "ko", "lt", "lv", "nb"),
    *("nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "tr", "uk", "zh"),
)
ORDINALS = {1: "st", 2: "nd", 3: "rd", 21: "st", 22: "nd", 23: "rd", 31: "st"}
ENGLISH: tuple[Callable[[datetime.date], str], ...] = (
    lambda day: f"{day.day} {calendar.month_name[day.month]} {day.year}",
    lambda day: f"{calendar.month_name[day.month]} {day.day}, {day.year}",
    lambda day: f"{calendar.month_abbr[day.month]} {day.day} {day.year}",
    lambda day: f"{day.day} {calendar.month_abbr[day.month]} {day.year % 100:02}",
    lambda day: f"{day.day}{ORDINALS.get(day.day, 'th')} of {calendar.month_name[day.month]} {day.year}",
    lambda day: f"{calendar.day_name[day.weekday()]}, {calendar.month_name[day.month]} {day.day}, {day.year}",
    lambda day: f"{day.month}/{day.day}/{day.year}",
    lambda day: f"{day.month}/{day.day}/{day.year % 100:02}",
    lambda day: f"{day.day}.{day.month}.{day.year}",
    lambda day: f"{day.year}/{day.month:02}/{day.day:02}",
    lambda day: f"{day.year} {calendar.month_name[day.month]} {day.day}",
)


def has_languages() -> bool:
    """Whether there are other languages than English."""
    return importlib.util.find_spec("babel") is not None


def date_pairs(number: int = NUMBER, seed: int = 0) -> Iterator[tuple[str, str]]:
    """A date in some form, and the same as YYYY-MM-DD; drawn at random."""
    draw = random.Random(seed)
    others = _other_languages() if has_languages() else None
    for _ in range(number):
        day = FIRST + datetime.timedelta(days=draw.randrange((LAST - FIRST).days + 1))
        text = others(day, draw) if others and draw.random() < 0.5 else draw.choice(ENGLISH)(day)
        yield draw.choice((str, str, str.lower, str.upper))(text), day.isoformat()


def _other_languages() -> Callable[[datetime.date, random.Random], str]:
    from babel.dates import format_date

    def write(day: datetime.date, draw: random.Random) -> str:
        text = format_date(day, draw.choice(("full", "long", "medium")), draw.choice(LANGUAGES))
        return " ".join(text.split())  # some have spaces that do not break

    return write
