"""What AWS asks for each unit of what FaaSKeeper uses: us-east-1, on demand, arm64, 2026, no free tier."""

from __future__ import annotations

from collections.abc import Mapping

MILLION = 1_000_000
PRICES: Mapping[str, float] = {
    "write unit": 0.625 / MILLION,
    "read unit": 0.125 / MILLION,
    "FIFO request": 0.50 / MILLION,
    "request": 0.40 / MILLION,
    "invocation": 0.20 / MILLION,
    "GB-second": 0.0000133334,
    "PUT": 5.0 / MILLION,
    "GET": 0.40 / MILLION,
    "free": 0.0,
}
"""Dollars by unit."""
FUNCTIONS_PER_WRITE = (
    4 * PRICES["write unit"]
    + 2 * PRICES["read unit"]
    + 2 * PRICES["FIFO request"]
    + PRICES["request"]
    + PRICES["invocation"]
    + 0.5 * 0.05 * PRICES["GB-second"]
)
"""Dollars. An assumption: what the functions use for a write that comes alone, a set of 100 bytes, in the tier
``development`` (docs/cost.md)."""
