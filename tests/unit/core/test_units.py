"""Numbers carry units and honest precision."""

import pytest

from studio.core.units import format_bytes, format_count, format_number, format_seconds, format_watt_hours


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (1536, "1.50 KiB"), (2**30 - 1, "1.00 GiB"), (9.1 * 2**30, "9.10 GiB"), (123 * 2**20, "123 MiB")],
)
def test_that_bytes_are_binary_with_three_digits(value: float, text: str) -> None:
    assert format_bytes(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.42, "0.4 s"),
        (45, "45 s"),
        (59.7, "1 min 00 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (270_000, "3 d 3 h"),
    ],
)
def test_that_seconds_read_as_people_say_them(value: float, text: str) -> None:
    assert format_seconds(value) == text


def test_that_energy_has_two_digits() -> None:
    assert [format_watt_hours(v) for v in (0.0852, 1.26, 12.4, 1300)] == ["85 mWh", "1.3 Wh", "12 Wh", "1.3 kWh"]


def test_that_counts_are_exact_below_a_million() -> None:
    assert [format_count(v) for v in (4096, 1_234_567, 7.62e9)] == ["4,096", "1.23 M", "7.62 B"]


def test_that_metrics_stay_short() -> None:
    assert [format_number(v) for v in (0.12345678, 123.456, 1e-5, 0)] == ["0.1235", "123.46", "1.00e-05", "0.0000"]
