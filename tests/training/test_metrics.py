"""`metrics.jsonl` survives kills: what will be measured again is dropped, and so is half a line."""

from pathlib import Path

import pytest

from charrnn.training.metrics import MetricsLog


@pytest.fixture
def log(tmp_path: Path) -> MetricsLog:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in (10, 20, 20, 30):
        log.append(step=step, loss=step / 7)
    return log


def test_lines_come_back_as_they_were(log: MetricsLog) -> None:
    assert log.read() == [{"step": step, "loss": step / 7} for step in (10, 20, 20, 30)]


def test_rewinding_drops_later_lines_only(log: MetricsLog) -> None:
    log.rewind(20)
    assert [line["step"] for line in log.read()] == [10, 20, 20]
    log.append(step=21)
    assert [line["step"] for line in log.read()] == [10, 20, 20, 21]


@pytest.mark.parametrize("length", range(1, 25))
def test_a_last_line_cut_short_anywhere_is_dropped(length: int, tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(step=10, loss=1.5)
    whole = log.path.read_text()
    torn = '{"step": 20, "loss": 2.5}\n'[:length]
    log.path.write_text(whole + torn)
    log.rewind(15)
    assert log.path.read_text() == whole
    log.append(step=16)
    assert [line["step"] for line in log.read()] == [10, 16]


def test_a_log_that_is_not_there_is_empty(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    assert log.read() == []
    log.rewind(5)
    assert log.read() == []


def test_not_a_number_is_kept(log: MetricsLog) -> None:
    log.append(step=31, loss=float("inf"))
    log.rewind(31)
    assert log.read()[-1] == {"step": 31, "loss": float("inf")}
