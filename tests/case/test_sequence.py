"""Sequence numbers made from the order of siblings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from case_server.case.sequence import number_siblings


@pytest.mark.parametrize(
    ("stored", "numbers"),
    [
        ([], []),
        ([None, None, None], [10, 20, 30]),
        ([10, 20, 30], [10, 20, 30]),
        ([10, None, 20], [10, 15, 20]),
        ([None, 10, 20], [5, 10, 20]),
        ([10, 20, None, None], [10, 20, 30, 40]),
        ([10, None, None, 13, 20], [10, 11, 12, 13, 20]),
        ([10, None, None, None, 13, 20], [10, 12, 14, 16, 18, 20]),
        ([1, None, 2, 3], [1, 11, 21, 31]),
        ([30, 10, 20], [5, 10, 20]),
        ([10, 30, 20, 40], [10, 15, 20, 40]),
        ([10, 10, 20], [5, 10, 20]),
        ([0, -3, 10], [3, 6, 10]),
    ],
)
def test_siblings_keep_their_numbers(stored: list[int | None], numbers: list[int]) -> None:
    assert number_siblings(stored) == numbers


@given(st.lists(st.none() | st.integers(-5, 50)))
def test_number_siblings_is_increasing_and_idempotent(stored: list[int | None]) -> None:
    numbers = number_siblings(stored)
    assert len(numbers) == len(stored)
    assert all(first < second for first, second in zip([0, *numbers], numbers, strict=False))
    assert number_siblings(numbers) == numbers


@given(st.lists(st.none(), max_size=200), st.data())
def test_inserted_sibling_keeps_other_numbers(siblings: list[None], data: st.DataObject) -> None:
    before = number_siblings(siblings)
    index = data.draw(st.integers(0, len(before)))
    after = number_siblings([*before[:index], None, *before[index:]])
    assert after[:index] + after[index + 1 :] == before
