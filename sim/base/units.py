"""Amounts as people write them, and as the simulator keeps them: "250m", "64Mi", "1m30s", "10Gbit/s".

Parsing is exact (rational arithmetic, never a float on the way) and rounds like the Kubernetes API: a fraction of the
base unit is rounded up, away from zero, so that asking for something never becomes asking for nothing. What cannot be
read raises `ValueError` with a plain sentence; callers know the path and add it.

Sources: Kubernetes 1.34 source, apimachinery `api/resource` (quantities); Go's `time.ParseDuration` (durations);
IEC 80000-13 (binary prefixes).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

Amount = str | int | float
"""What YAML and JSON give for an amount: text, or a bare number."""

INT64_MAX = 2**63 - 1
"""Quantities are capped here, as in the API."""

_SUFFIXES: dict[str, Fraction] = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{letter: Fraction(1000 ** (i + 1)) for i, letter in enumerate("kMGTPE")},
    **{f"{letter}i": Fraction(1024 ** (i + 1)) for i, letter in enumerate("KMGTPE")},
}
_NANO = Fraction(1, 10**9)
_QUANTITY = re.compile(r"(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))(?P<suffix>[eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i|)", re.ASCII)
_PLAIN = re.compile(r"[+-]?\d+", re.ASCII)


def _round_away(value: Fraction) -> int:
    """The integer at or beyond `value`, seen from zero."""
    return math.ceil(value) if value >= 0 else math.floor(value)


def _text_of(value: Amount, what: str) -> str:
    """The text of an amount; a bare number is written out exactly."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"must be {what}, not {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"must be {what}, not {value}")
    return value if isinstance(value, str) else repr(value)


def parse_quantity(value: Amount) -> Fraction:
    """A Kubernetes quantity ("250m", "64Mi", "1e3", "0.5", 2) as an exact number of whole units.

    As in the API, more than nine decimals are rounded up to the next billionth, and the size is capped at 2**63 - 1.
    Raises `ValueError` for anything else, including blanks around the text.
    """
    text = _text_of(value, "a quantity such as 250m, 64Mi or 2")
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError("is not a quantity: write a number and one suffix of n u m k M G T P E Ki Mi Gi Ti Pi Ei e<n>")
    suffix = match["suffix"]
    if suffix[:1] in ("e", "E") and suffix not in ("E", "Ei"):
        exponent = int(suffix[1:])
        if abs(exponent) > 400:
            raise ValueError("is not a quantity that can be held: the exponent is beyond 400")
        factor = Fraction(10) ** exponent
    else:
        factor = _SUFFIXES[suffix]
    exact = Fraction(match["number"]) * factor
    rounded = _round_away(exact / _NANO) * _NANO
    return min(max(rounded, Fraction(-INT64_MAX)), Fraction(INT64_MAX))


def parse_amount(resource: str, value: Amount) -> int:
    """The amount of a resource in its base unit: `cpu` in millicores, every other in whole units (bytes, counts).

    Fractions are rounded up. Raises `ValueError` as `parse_quantity` does.
    """
    text = value if isinstance(value, str) else ""
    if _PLAIN.fullmatch(text) and len(text) <= 15:  # most amounts are plain integers; skip the rational arithmetic
        return int(text) * 1000 if resource == "cpu" else int(text)
    exact = parse_quantity(value)
    scaled = exact * 1000 if resource == "cpu" else exact
    return max(-INT64_MAX, min(INT64_MAX, _round_away(scaled)))


def parse_millicores(value: Amount) -> int:
    """CPU ("250m", "1.5", 2) in millicores, rounded up."""
    return parse_amount("cpu", value)


def parse_bytes(value: Amount) -> int:
    """A size in bytes, rounded up: a quantity ("64Mi", "1G"), or with the unit written out ("64MiB", "1 GB")."""
    if isinstance(value, str):
        text = value.strip()
        value = text[:-1].rstrip() if text.endswith("B") else text
        if value.endswith("K"):  # "64KB" as people write it; the quantity suffix is a small k
            value = value[:-1] + "k"
        value = re.sub(r"\s+(?=[a-zA-Z]+$)", "", value)
    return parse_amount("bytes", value)


def format_quantity(value: int | Fraction) -> str:
    """The shortest exact spelling: 1/4 → "250m", 64 * 2**20 → "64Mi", 1500 → "1500". Reads back to the same value.

    Between equally short ones the binary suffix is taken. Raises `ValueError` for what no quantity can hold exactly
    (finer than a billionth).
    """
    exact = Fraction(value)
    spellings = [
        f"{int(exact / factor)}{suffix}"
        for suffix, factor in sorted(_SUFFIXES.items(), key=lambda item: (-len(item[0]), item[1]))
        if (exact / factor).denominator == 1
    ]
    if not spellings:
        raise ValueError("is finer than a billionth, which no quantity holds")
    return min(spellings, key=len) if exact else "0"


def format_amount(resource: str, amount: int) -> str:
    """An amount in base units as a quantity: ("cpu", 250) → "250m", ("memory", 67108864) → "64Mi"."""
    if resource == "cpu":
        return str(amount // 1000) if amount % 1000 == 0 else f"{amount}m"
    return format_quantity(amount)


_DURATION_UNITS_S: dict[str, Fraction] = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "μs": Fraction(1, 10**6),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h|d)", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


def parse_duration_s(value: Amount) -> float:
    """A duration in seconds: Go's spelling ("1m30s", "100ms", "-1.5h"), days ("2d"), or a bare number of seconds."""
    text = _text_of(value, "a duration such as 10s, 1m30s or a number of seconds")
    if _NUMBER.fullmatch(text):
        return float(text)
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    total, at = Fraction(0), 0
    while part := _DURATION_PART.match(rest, at):
        total += Fraction(part[1]) * _DURATION_UNITS_S[part[2]]
        at = part.end()
    if at == 0 or at != len(rest):
        raise ValueError("is not a duration: write numbers with units of ns, us, ms, s, m, h or d, such as 1m30s")
    return float(sign * total)


def format_duration_s(seconds: float) -> str:
    """A duration in Go's spelling: 90 → "1m30s", 0.25 → "250ms", 0 → "0s". Rounded to the nanosecond."""
    nanoseconds = round(Fraction(seconds) * 10**9)
    sign, nanoseconds = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if nanoseconds == 0:
        return "0s"
    if nanoseconds < 10**9:
        for unit, size in (("ms", 10**6), ("us", 10**3), ("ns", 1)):
            if nanoseconds >= size:
                return f"{sign}{_decimal(nanoseconds, size)}{unit}"
    hours, nanoseconds = divmod(nanoseconds, 3600 * 10**9)
    minutes, nanoseconds = divmod(nanoseconds, 60 * 10**9)
    text = (f"{hours}h" if hours else "") + (f"{minutes}m" if minutes else "")
    return sign + text + (f"{_decimal(nanoseconds, 10**9)}s" if nanoseconds else "")


def _decimal(amount: int, size: int) -> str:
    """amount / size, exactly, without trailing zeros; `size` is a power of ten."""
    whole, rest = divmod(amount, size)
    digits = str(rest).zfill(len(str(size)) - 1).rstrip("0") if rest else ""
    return f"{whole}.{digits}" if digits else str(whole)


_BANDWIDTH = re.compile(
    r"(?P<number>\d+\.?\d*|\.\d+)\s*(?P<prefix>(?:[kKMGTP]i?)?)(?P<unit>bit/s|bps|b/s|B/s|Bps)", re.ASCII
)


def parse_bandwidth_bit_per_s(value: Amount) -> float:
    """A bandwidth in bits a second: "10Gbit/s" (also Gb/s, Gbps), bytes with a capital B ("1.25GB/s", "100MiB/s"),
    or a bare number of bits a second. Prefixes k M G T P are powers of 1000, Ki Mi … of 1024."""
    text = _text_of(value, "a bandwidth such as 10Gbit/s").strip()
    if _NUMBER.fullmatch(text) and not text.startswith("-"):
        return float(text)
    match = _BANDWIDTH.fullmatch(text)
    if match is None:
        raise ValueError("is not a bandwidth: write a number, a prefix of k M G T P or Ki Mi …, and bit/s or B/s")
    prefix = {"K": "k", "ki": "Ki"}.get(match["prefix"], match["prefix"])
    bits = 8 if match["unit"].startswith("B") else 1
    return float(Fraction(match["number"]) * _SUFFIXES[prefix] * bits)


def format_bandwidth_bit_per_s(bit_per_s: float) -> str:
    """A bandwidth with the largest decimal prefix that leaves at least one unit: 1e10 → "10Gbit/s"."""
    for power, prefix in ((15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        if bit_per_s >= 10**power:
            return f"{bit_per_s / 10**power:.12g}{prefix}bit/s"
    return f"{bit_per_s:.12g}bit/s"


def format_bytes(size_bytes: float) -> str:
    """A size for people, rounded to four figures: 1536 → "1.5 KiB". Not for reading back: see `format_quantity`."""
    for power, prefix in ((6, "Ei"), (5, "Pi"), (4, "Ti"), (3, "Gi"), (2, "Mi"), (1, "Ki")):
        if abs(size_bytes) >= 1024**power:
            return f"{size_bytes / 1024**power:.4g} {prefix}B"
    return f"{size_bytes:.4g} B"
