"""Brings the figures of docs/cost.md and README.md up to date from ``prices``: ``python -m scripts.cost_page``.

Each table stands between two comments, of which the first names it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from faaskeeper_client import prices
from faaskeeper_client.prices import CRITICAL, DEVELOPMENT, MILLION, STANDARD, TIERS

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "docs" / "cost.md", ROOT / "README.md")
_MADE = re.compile(r"(<!-- made by make cost-page: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def text(page: Path) -> str:
    """The page with today's figures."""
    return _MADE.sub(lambda found: found[1] + "\n".join(TABLES[found[2]]()) + "\n" + found[3], page.read_text())


def _dollars(amount: float) -> str:
    return f"${amount:,.2f}" if amount < 1000 else f"${amount:,.0f}"


def _range(least: float, most: float) -> str:
    return _dollars(most) if round(least, 2) == round(most, 2) else f"{_dollars(least)} to {_dollars(most)}"


def _operations() -> Iterator[str]:
    yield "| operation | calls | items | WU | RU | direct, $ a million | by the queue |"
    yield "|---|---|---|---|---|---|---|"
    for each in prices.OPERATIONS:
        work = each.direct
        direct, queued = (MILLION * each.dollars(DEVELOPMENT, by_call=by_call) for by_call in (True, False))
        counts = (work.calls, work.items, work.write_units, work.read_units)
        shown = " | ".join(f"{count:g}" if count else "-" for count in counts)
        yield f"| {each.name} | {shown} | {direct:.2f} | {f'{queued:.2f}' if each.runs else '-'} |"


def _idle() -> Iterator[str]:
    yield "| | " + " | ".join(TIERS) + " |"
    yield "|---|---|---|---|"
    lines = {line.what: None for tier in TIERS.values() for line in prices.idle(tier)}
    for what in lines:
        cells = [
            next((_range(line.least, line.most) for line in prices.idle(tier) if line.what == what), "-")
            for tier in TIERS.values()
        ]
        yield f"| {what} | {' | '.join(cells)} |"
    totals = [
        _range(*(sum(getattr(line, end) for line in prices.idle(tier)) for end in ("least", "most")))
        for tier in TIERS.values()
    ]
    yield f"| together | {' | '.join(totals)} |"


def _gateway() -> Iterator[str]:
    timeouts = (None, 40.0, 10.0)
    heads = ("nobody watches or owns an ephemeral", "40 s sessions do", "10 s sessions do")
    yield "| | " + " | ".join(heads) + " |"
    yield "|---|---|---|---|"
    bills = [{line.what: line.most for line in prices.gateway(STANDARD, timeout)} for timeout in timeouts]
    for what in bills[-1]:
        yield f"| {what} | " + " | ".join(_dollars(bill[what]) if what in bill else "-" for bill in bills) + " |"
    yield "| together | " + " | ".join(_dollars(sum(bill.values())) for bill in bills) + " |"


def _ceilings() -> Iterator[str]:
    yield "| | a month with each of the three tables at its ceilings all the time |"
    yield "|---|---|"
    for tier in TIERS.values():
        most = prices.at_ceiling(tier)
        yield f"| `{tier.name}` | {'no ceilings but those of the account' if most is None else _dollars(most)} |"


def _break_even() -> Iterator[str]:
    yield "| connected gateways | sets a month | creates a month | reads from storage a month |"
    yield "|---|---|---|---|"
    for gateways, timeout, says in (
        (1, None, "1, no ephemerals"),
        (3, 10.0, "3, with 10 s sessions that own ephemerals"),
        (10, 10.0, "10, likewise"),
        (20, 10.0, "20, likewise"),
    ):
        counts = (prices.break_even(STANDARD, name, gateways, timeout) for name in ("set", "create", "get"))
        shown = " | ".join(
            f"{count / MILLION:,.1f} million" if count > 0 else "none: the ensemble is cheaper" for count in counts
        )
        yield f"| {says} | {shown} |"


def _readme() -> Iterator[str]:
    def idle(tier: prices.Tier) -> tuple[float, float]:
        lines = prices.idle(tier)
        return sum(line.least for line in lines), sum(line.most for line in lines)

    def million(name: str, *, by_call: bool = True) -> str:
        return _dollars(MILLION * prices.operation(name).dollars(STANDARD, by_call=by_call))

    yield "| | a month |"
    yield "|---|---|"
    for tier, what in (
        (DEVELOPMENT, ""),
        (STANDARD, ", with alarms and a dashboard"),
        (CRITICAL, ", also with a key of your own"),
    ):
        yield f"| nobody connected, tier `{tier.name}`{what} | {_range(*idle(tier))} |"
    yield f"| a million sets, or creates, alone | {million('set')}, or {million('create')} |"
    yield f"| the same by the queue | {million('set', by_call=False)}, or {million('create', by_call=False)} |"
    yield f"| a million reads from storage; from memory | {million('get')}; nothing |"
    yield f"| three t4g.small that run ZooKeeper, used or not | {_dollars(prices.ENSEMBLE)} |"


TABLES: dict[str, Callable[[], Iterator[str]]] = {
    "operations": _operations,
    "idle": _idle,
    "gateway": _gateway,
    "ceilings": _ceilings,
    "break_even": _break_even,
    "readme": _readme,
}


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(text(page))
