"""Charts: what they show stands in them as text, and the same figures make the same file."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from faaskeeper_client.plotting import Axis, Series, chart


def test_a_chart_has_its_words_and_is_the_same_each_time(tmp_path: Path) -> None:
    series = [Series("direct", (1, 10, 100), (20, 21, 30)), Series("published", (1, 100), (100, 180), measured=True)]
    for name in ("one.svg", "two.svg"):
        x = Axis("sessions", "log", ticks=(1, 10, 100), shown="{:.0f}".format)
        chart(tmp_path / name, "Latency & load", x, Axis("ms", least=0), series)
    drawn = (tmp_path / "one.svg").read_text()
    texts = {text for each in ElementTree.fromstring(drawn).iter() if (text := (each.text or "").strip())}
    assert {"Latency & load", "sessions", "ms", "direct", "published", "1", "10", "100"} <= texts
    assert drawn == (tmp_path / "two.svg").read_text()
