"""Units: worked spellings of Kubernetes quantities, Go durations and bandwidths, and round trips over all of them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.base import units


@pytest.mark.parametrize(
    ("written", "whole_units"),
    [
        ("250m", Fraction(1, 4)),
        ("64Mi", Fraction(64 * 2**20)),
        ("1e3", Fraction(1000)),
        ("12E-1", Fraction(6, 5)),
        ("1E", Fraction(10**18)),  # a lone E is exa, with digits an exponent
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("+3k", Fraction(3000)),
        ("-1Gi", Fraction(-(2**30))),
        ("7u", Fraction(7, 10**6)),
        ("0", Fraction(0)),
        (2, Fraction(2)),
        (0.1, Fraction(1, 10)),  # as JSON writes the number, not its binary neighbour
        ("0.0000000001", Fraction(1, 10**9)),  # finer than a billionth: up to one
        ("-0.0000000001", Fraction(-1, 10**9)),
        ("1e30", Fraction(2**63 - 1)),  # capped
    ],
)
def test_quantities(written, whole_units):
    assert units.parse_quantity(written) == whole_units


@pytest.mark.parametrize(
    "written",
    ["", " 1", "1 Mi", "1KB", "1ki", "Mi", "1.2.3", "0x10", "1e", "--1", "1mi", "one", True, None, [1], "1e999"],
)
def test_what_is_no_quantity(written):
    with pytest.raises(ValueError, match="quantity"):
        units.parse_quantity(written)


def test_not_a_number_is_refused():
    for written in (math.nan, math.inf):
        with pytest.raises(ValueError, match="quantity"):
            units.parse_quantity(written)


@pytest.mark.parametrize(
    ("resource", "written", "amount"),
    [
        ("cpu", "250m", 250),
        ("cpu", "1", 1000),
        ("cpu", "0.1", 100),
        ("cpu", "0.0001", 1),  # 0.1 millicores is rounded up
        ("cpu", "1100u", 2),
        ("memory", "1500m", 2),  # 1.5 bytes
        ("memory", "128974848", 128974848),
        ("memory", "129M", 129_000_000),
        ("nvidia.com/gpu", "4", 4),
        ("pods", 110, 110),
        ("memory", "-1500m", -2),  # away from zero
    ],
)
def test_amounts_in_base_units_round_up(resource, written, amount):
    assert units.parse_amount(resource, written) == amount


def test_cpu_and_bytes():
    assert units.parse_millicores("1.5") == 1500
    assert [units.parse_bytes(text) for text in ("64Mi", "64MiB", "1 GB", "1KB", "512B", 10)] == [
        64 * 2**20,
        64 * 2**20,
        10**9,
        1000,
        512,
        10,
    ]


@given(st.integers(-(2**62), 2**62))
def test_whole_amounts_survive_writing_and_reading(amount):
    assert units.parse_quantity(units.format_quantity(amount)) == amount
    for resource in ("cpu", "memory"):
        if abs(amount) < 2**50:
            assert units.parse_amount(resource, units.format_amount(resource, amount)) == amount


@given(st.integers(-(10**15), 10**15))
def test_billionths_survive_writing_and_reading(billionths):
    exact = Fraction(billionths, 10**9)
    assert units.parse_quantity(units.format_quantity(exact)) == exact


@given(st.decimals(min_value=-(10**6), max_value=10**6, allow_nan=False, places=12))
def test_rounding_never_moves_towards_zero_nor_by_a_whole_unit(number):
    exact, amount = Fraction(number), units.parse_amount("memory", f"{number:f}")
    assert abs(amount) >= abs(exact)
    assert abs(amount - exact) < 1


def test_quantities_are_written_short():
    written = [units.format_quantity(value) for value in (64 * 2**20, 1500, 2000, Fraction(1, 4), 0, 10**18)]
    assert written == ["64Mi", "1500", "2k", "250m", "0", "1E"]
    assert units.format_amount("cpu", 250) == "250m"
    assert units.format_amount("cpu", 3000) == "3"
    with pytest.raises(ValueError, match="billionth"):
        units.format_quantity(Fraction(1, 3))


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("10s", 10),
        ("1m30s", 90),
        ("1h2m3.5s", 3723.5),
        ("100ms", 0.1),
        ("-1.5h", -5400),
        ("0", 0),
        ("250us", 0.00025),
        ("250µs", 0.00025),
        ("1ns", 1e-09),
        ("2d", 172800),
        (5, 5),
        (0.25, 0.25),
        ("2.5", 2.5),
        ("+3s", 3),
    ],
)
def test_durations(written, seconds):
    assert units.parse_duration_s(written) == pytest.approx(seconds, abs=1e-15, rel=1e-15)


@pytest.mark.parametrize("written", ["", "s", "1x", "1m 30s", "m30", "--1s", "1.s.", True, None])
def test_what_is_no_duration(written):
    with pytest.raises(ValueError, match="duration"):
        units.parse_duration_s(written)


@given(st.integers(-(10**15), 10**15))
def test_durations_survive_writing_and_reading_to_the_nanosecond(nanoseconds):
    seconds = nanoseconds / 10**9
    assert units.parse_duration_s(units.format_duration_s(seconds)) == pytest.approx(seconds, abs=1e-9, rel=1e-15)


def test_durations_as_go_writes_them():
    written = [units.format_duration_s(value) for value in (90, 0.25, 0, 3600, 3661.5, -0.0001)]
    assert written == ["1m30s", "250ms", "0s", "1h", "1h1m1.5s", "-100us"]


@pytest.mark.parametrize(
    ("written", "bit_per_s"),
    [
        ("10Gbit/s", 10000000000.0),
        ("10Gbps", 10000000000.0),
        ("10 Gb/s", 10000000000.0),
        ("1.25GB/s", 10000000000.0),
        ("100MiB/s", 100 * 2**20 * 8),
        ("9600bit/s", 9600),
        (1000000000.0, 1000000000.0),
        ("1e9", 1000000000.0),
        ("1Kbit/s", 1000),
        ("1kibit/s", 1024),
    ],
)
def test_bandwidths(written, bit_per_s):
    assert units.parse_bandwidth_bit_per_s(written) == bit_per_s


@pytest.mark.parametrize("written", ["", "10G", "ibit/s", "-1Gbit/s", "10Gbit", True])
def test_what_is_no_bandwidth(written):
    with pytest.raises(ValueError, match="bandwidth"):
        units.parse_bandwidth_bit_per_s(written)


@given(st.integers(1, 10**16))
def test_bandwidths_survive_writing_and_reading(bit_per_s):
    written = units.format_bandwidth_bit_per_s(bit_per_s)
    assert units.parse_bandwidth_bit_per_s(written) == pytest.approx(bit_per_s, rel=1e-11)


def test_sizes_for_people():
    assert [units.format_bytes(size) for size in (1536, 1023 * 1024, 2**30, 12)] == [
        "1.5 KiB",
        "1023 KiB",
        "1 GiB",
        "12 B",
    ]
