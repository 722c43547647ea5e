from __future__ import annotations

import contextlib
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_cli import formatting
from resnet_cli.formatting import exact, parse, percent, printable, rate, scaled, seconds, width


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (11_689_512, "", "11.69 M"),
        (44_700_000, "B", "44.70 MB"),
        (0, "B", "0 B"),
        (999, "", "999"),
        (1000, "", "1.00 k"),
        (999_950, "", "1.00 M"),
        (999_949, "", "999.9 k"),
        (99_995, "", "100.0 k"),
        (-1_500, "", "-1.50 k"),
        (0.5, "", "0.50"),
        (0.04, "/s", "0.04 /s"),
        (0.0123, "", "0.012"),
        (None, "B", "–"),
        (math.nan, "", "–"),
        (math.inf, "", "–"),
    ],
)
def test_scaled(value: float | None, unit: str, text: str) -> None:
    assert scaled(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.01472, "14.72 ms"),
        (0.0003124, "312.4 µs"),
        (1.234, "1.23 s"),
        (123.44, "123.4 s"),
        (86_400, "86,400 s"),
        (4.2e-8, "42.00 ns"),
        (0.9999499, "999.9 ms"),
        (0.99995, "1.00 s"),
        (0.00099995, "1.00 ms"),
        (0, "0 s"),
        (1e-15, "<0.01 ns"),
        (-0.00147, "-1.47 ms"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "–"),
    ],
)
def test_seconds(value: float | None, text: str) -> None:
    assert seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234.5, "1,234"), (123.45, "123.5"), (67.9, "67.90"), (1, "1.00"), (0.04, "0.04"), (0, "0"), (None, "–")],
)
def test_rate(value: float | None, text: str) -> None:
    assert rate(value) == text


@given(st.floats(1e-6, 1e9))
def test_what_is_not_zero_never_reads_as_zero(value: float) -> None:
    for text in (rate(value), formatting.ratio(value), scaled(value), seconds(value), percent(value)):
        assert re.search("[1-9]", text)


@given(st.floats(1e-9, 1e6))
def test_a_time_reads_back_to_its_digits(value: float) -> None:
    number, unit = seconds(value).split(" ")
    factor = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}[unit]
    assert math.isclose(float(number.replace(",", "")) * factor, value, rel_tol=0.0051)
    assert 3 <= sum(character.isdigit() for character in number) <= 7


@given(st.integers(0, 10**20))
def test_a_scaled_figure_reads_back_to_its_digits(value: int) -> None:
    text = scaled(value)
    assert len(text) <= len("999.9 M")
    assert math.isclose(parse(text), value, rel_tol=0.0051)


@given(st.integers(-(10**30), 10**30))
def test_an_exact_figure_has_every_digit(value: int) -> None:
    assert int(exact(value).replace(",", "")) == value


@pytest.mark.parametrize(
    ("value", "text"), [(4.2e9, "4,200,000,000"), (1.5, "1.5"), (None, "–"), (math.inf, "–"), (-0.0, "0")]
)
def test_exact_floats(value: float | None, text: str) -> None:
    assert exact(value) == text


@pytest.mark.parametrize(
    ("fraction", "text"),
    [(0.0653, "6.5%"), (1, "100.0%"), (0, "0.0%"), (1e-9, "<0.1%"), (-1e-9, "0.0%"), (math.nan, "–"), (None, "–")],
)
def test_percent(fraction: float | None, text: str) -> None:
    assert percent(fraction) == text


def test_what_is_not_known_reads_as_a_dash() -> None:
    assert {formatting.ratio(None), formatting.ratio(math.inf), formatting.dimensions(None), formatting.size(None)} == {
        formatting.UNKNOWN
    }


def test_shapes() -> None:
    assert formatting.dimensions((1, 64, 7, 7)) == "1×64×7×7"
    assert (formatting.size((3, 3)), formatting.size((3, 5)), formatting.size(())) == ("3", "3×5", "")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("4.2G", 4.2e9),
        ("11_689_512", 11_689_512),
        ("11,689,512", 11_689_512),
        (" 44.7 MB ", 44.7e6),
        ("4.2 GFLOPs", 4.2e9),
        ("1.8 GMAC", 1.8e9),
        ("16 GiB", 2**34),
        ("5e3", 5000),
        ("3K", 3000),
        ("0", 0),
    ],
)
def test_people_write_numbers_in_many_ways(text: str, number: float) -> None:
    assert parse(text) == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize("text", ["", "G", "-1", "1e400", "nan", "inf", "1.2.3", "4 X", "١٢", "0x10", "1_", "1e"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a valid number|is not finite"):
        parse(text)


@given(st.text())
def test_parse_gives_a_finite_number_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert math.isfinite(parse(text))


@given(st.text(st.characters(codec=None)))
def test_a_printable_text_has_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    shown.encode()  # lone surrogates are gone too


@given(st.text(st.characters()), st.text(st.characters()))
def test_width_adds_up(first: str, second: str) -> None:
    assert width(first + second) == width(first) + width(second)


def test_width_of_wide_and_of_combining_characters() -> None:
    assert (width("abc"), width("层"), width("e\u0301"), width("│×…")) == (3, 2, 1, 3)
