"""A book built from frames equals the book that the exchange has, or is not shown."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.model import Book, Level
from runner.venue.books import LiveBook
from runner.venue.translate import Unreadable

AT = datetime(2026, 11, 24, tzinfo=UTC)
FRAME = {
    # worst first, as the exchange sends it
    "bids": [{"price": "0.40", "size": "7"}, {"price": "0.5", "size": "10"}],
    "asks": [{"price": "0.60", "size": "4"}, {"price": "0.52", "size": "3.5"}],
}


def level(price: str, size: str) -> Level:
    return Level(Decimal(price), Decimal(size))


BOOK = Book((level("0.5", "10"), level("0.4", "7")), (level("0.52", "3.5"), level("0.6", "4")), AT)


def change(side: str, price: str, size: str, **told: str) -> dict[str, str]:
    return {"side": side, "price": price, "size": size, **told}


def live() -> LiveBook:
    book = LiveBook(0.0)
    book.replace(FRAME, AT, 1.0)
    return book


def test_a_frame_is_shown_best_first() -> None:
    assert live().show() == BOOK


def test_changes_alone_make_no_book() -> None:
    book = LiveBook(0.0)
    book.change([change("BUY", "0.5", "1")], AT, 1.0)
    assert book.show() is None


def test_a_change_gives_the_new_absolute_size_and_zero_removes() -> None:
    book = live()
    book.change(
        [change("BUY", "0.50", "2"), change("SELL", "0.52", "0"), change("SELL", "0.55", "1")],
        AT,
        2.0,
    )
    shown = book.show()
    assert shown is not None
    assert shown.bids == (level("0.5", "2"), level("0.4", "7"))
    assert shown.asks == (level("0.55", "1"), level("0.6", "4"))


@pytest.mark.parametrize(
    "entry",
    [
        change("BUY", "0.45", "1", best_bid="0.51", best_ask="0.52"),
        change("BUY", "0.45", "1", best_bid="0.5", best_ask="0.53"),
        change("BUY", "0.45", "1", best_bid="0", best_ask="0.52"),
        change("BUY", "0.55", "1"),
    ],
    ids=["other bid", "other ask", "empty side", "crossed"],
)
def test_what_contradicts_the_book_hides_it_until_a_whole_one_comes(entry: dict[str, str]) -> None:
    book = live()
    book.change([entry], AT, 2.0)
    assert book.suspect
    assert book.show() is None
    book.change([change("BUY", "0.55", "0", best_bid="0.5", best_ask="0.52")], AT, 3.0)
    assert book.show() is None
    book.replace(FRAME, AT, 4.0)
    assert book.show() == BOOK


def test_a_locked_book_and_an_empty_side_are_no_contradiction() -> None:
    book = live()
    book.change([change("BUY", "0.52", "1", best_bid="0.52", best_ask="0.52")], AT, 2.0)
    assert book.show() is not None
    book.replace({"bids": [], "asks": FRAME["asks"]}, AT, 3.0)
    book.change([change("SELL", "0.6", "1", best_bid="0", best_ask="0.52")], AT, 4.0)
    assert book.show() is not None


@pytest.mark.parametrize(
    "entry",
    [
        change("BUY", "0", "1"),
        change("BUY", "1", "1"),
        change("BUY", "0.5", "-1"),
        change("BUY", "NaN", "1"),
        change("BUY", "0.5", ""),
        change("HOLD", "0.5", "1"),
        {"side": "BUY", "price": 0.5, "size": "1"},
        {},
    ],
)
def test_an_impossible_change_is_unreadable_and_hides_the_book(entry: dict[str, Any]) -> None:
    book = live()
    with pytest.raises(Unreadable):
        book.change([entry], AT, 2.0)
    assert book.show() is None


@pytest.mark.parametrize(
    "frame",
    [
        {},
        {"bids": [], "asks": None},
        {"bids": [{"price": "0.5", "size": "0"}], "asks": []},
        {"bids": [{"price": "0.5", "size": "1"}, {"price": "0.50", "size": "2"}], "asks": []},
        {"bids": [{"price": "1.5", "size": "1"}], "asks": []},
        {"bids": ["0.5"], "asks": []},
    ],
)
def test_an_impossible_frame_is_unreadable(frame: dict[str, Any]) -> None:
    with pytest.raises(Unreadable):
        LiveBook(0.0).replace(frame, AT, 1.0)


def test_a_crossed_frame_is_not_shown() -> None:
    book = LiveBook(0.0)
    book.replace(
        {
            "bids": [{"price": "0.6", "size": "1"}],
            "asks": [{"price": "0.5", "size": "1"}],
        },
        AT,
        1.0,
    )
    assert book.suspect
    assert book.show() is None


def test_adopting_says_whether_the_frames_had_it_right() -> None:
    book = live()
    assert not book.adopt(BOOK, 5.0)
    other = Book(BOOK.bids, (level("0.53", "1"),), AT)
    assert book.adopt(other, 6.0)
    assert book.show() == other


def test_a_dropped_book_is_gone_and_every_frame_changes_the_version() -> None:
    book = live()
    versions = [book.version]
    book.change([change("BUY", "0.5", "2")], AT, 2.0)
    versions.append(book.version)
    book.drop()
    versions.append(book.version)
    assert book.show() is None
    assert len(set(versions)) == 3


PRICES = [Decimal(cents) / 100 for cents in range(40, 61)]


@given(
    st.lists(
        st.tuples(st.sampled_from(["BUY", "SELL"]), st.sampled_from(PRICES), st.integers(0, 3)),
        max_size=40,
    )
)
def test_any_sequence_of_changes_gives_the_exchanges_book(
    steps: list[tuple[str, Decimal, int]],
) -> None:
    """Against the plain truth: a mapping, changed the same way, whose best prices are told."""
    truth: dict[str, dict[Decimal, int]] = {"BUY": {}, "SELL": {}}
    book = LiveBook(0.0)
    book.replace({"bids": [], "asks": []}, AT, 0.0)
    for side, price, size in steps:
        other = truth["SELL" if side == "BUY" else "BUY"]
        crosses = any(price > p if side == "BUY" else price < p for p in other)
        if crosses and size:
            continue
        truth[side].pop(price, None)
        if size:
            truth[side][price] = size
        told = {
            "best_bid": str(max(truth["BUY"], default=0)),
            "best_ask": str(min(truth["SELL"], default=1)),
        }
        book.change([change(side, str(price), str(size), **told)], AT, 1.0)
    shown = book.show()
    assert shown is not None
    assert as_sizes(shown.bids) == truth["BUY"]
    assert as_sizes(shown.asks) == truth["SELL"]
    assert list(shown.bids) == sorted(shown.bids, reverse=True)
    assert list(shown.asks) == sorted(shown.asks)


def as_sizes(levels: tuple[Level, ...]) -> Mapping[Decimal, Decimal]:
    return {one.price: one.size for one in levels}
