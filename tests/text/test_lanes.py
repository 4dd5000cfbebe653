"""Lanes: each reads the whole text in a circle, and together they cover it once a pass."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from charrnn.text.lanes import Lanes

laws = settings(derandomize=True, max_examples=100)
text_lengths, batch_sizes = st.integers(1, 60), st.integers(1, 9)
window_lengths = st.lists(st.integers(1, 25), min_size=1, max_size=6)


def lanes_over(num_ids: int, batch_size: int) -> Lanes:
    """Lanes over ids that are their own positions."""
    return Lanes(np.arange(num_ids, dtype=np.uint8), batch_size)


@laws
@given(num_ids=text_lengths, batch_size=batch_sizes, lengths=window_lengths)
@example(num_ids=3, batch_size=2, lengths=[10, 1, 25])
def test_the_windows_of_a_lane_joined_are_the_circular_text(num_ids: int, batch_size: int, lengths: list[int]) -> None:
    lanes = lanes_over(num_ids, batch_size)
    windows = [lanes.next_window(length) for length in lengths]
    joined = np.concatenate([window[:-1] for window in windows] + [windows[-1][-1:]])
    for lane in range(batch_size):
        start = lane * num_ids // batch_size
        assert joined[:, lane].tolist() == [(start + i) % num_ids for i in range(sum(lengths) + 1)]


@laws
@given(num_ids=text_lengths, batch_size=batch_sizes, lengths=window_lengths)
def test_the_last_row_of_a_window_is_the_first_of_the_next(num_ids: int, batch_size: int, lengths: list[int]) -> None:
    lanes = lanes_over(num_ids, batch_size)
    windows = [lanes.next_window(length) for length in lengths]
    assert [window.shape for window in windows] == [(length + 1, batch_size) for length in lengths]
    for window, following in itertools.pairwise(windows):
        assert window[-1].tolist() == following[0].tolist()


@laws
@given(num_ids=text_lengths, batch_size=batch_sizes, before=window_lengths, after=window_lengths)
def test_a_position_put_back_gives_the_same_windows(
    num_ids: int, batch_size: int, before: list[int], after: list[int]
) -> None:
    lanes = lanes_over(num_ids, batch_size)
    for length in before:
        lanes.next_window(length)
    again = lanes_over(num_ids, batch_size)
    again.position = lanes.position
    for length in after:
        assert np.array_equal(again.next_window(length), lanes.next_window(length))


@laws
@given(length=st.integers(1, 9), num_windows=st.integers(1, 6), batch_size=batch_sizes, passes=st.integers(1, 3))
def test_all_lanes_together_cover_every_position_once_a_pass(
    length: int, num_windows: int, batch_size: int, passes: int
) -> None:
    num_ids = length * num_windows * batch_size
    lanes = Lanes(np.arange(num_ids, dtype=np.uint16), batch_size)
    windows = [lanes.next_window(length) for _ in range(num_windows * passes)]
    for rows in ([window[:-1] for window in windows], [window[1:] for window in windows]):
        assert Counter(np.concatenate(rows).ravel().tolist()) == dict.fromkeys(range(num_ids), passes)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_windows_of_a_file_are_ids_of_64_bits_side_by_side(dtype: type, tmp_path: Path) -> None:
    path = tmp_path / "ids"
    np.arange(10, dtype=dtype).tofile(path)
    lanes = Lanes(np.memmap(path, dtype=dtype, mode="r"), 2)
    window = lanes.next_window(7)
    assert window.T.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [5, 6, 7, 8, 9, 0, 1, 2]]
    assert window.dtype == np.int64
    assert window.flags.c_contiguous
