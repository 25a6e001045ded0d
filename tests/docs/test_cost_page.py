from __future__ import annotations

from pathlib import Path

import pytest

from scripts import cost_page


@pytest.mark.parametrize("page", cost_page.PAGES, ids=lambda page: page.name)
def test_the_figures_are_those_of_the_price_module(page: Path) -> None:
    assert page.read_text() == cost_page.text(page), "make cost-page brings it up to date"
    assert cost_page.text(page).count("made by make cost-page") >= 1
