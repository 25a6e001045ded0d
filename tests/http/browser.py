"""A real Chromium, without a window, in front of a gateway's console."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from playwright.async_api import Page, async_playwright

CHROMIUM = shutil.which("chromium")
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: apt-get install chromium")


@asynccontextmanager
async def page(url: str) -> AsyncGenerator[tuple[Page, list[str]]]:
    """The page at ``url``, and what went wrong in it: errors, and whatever it was refused by its own policy."""
    wrong: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            page = await browser.new_page()
            page.set_default_timeout(30_000)
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("dialog", lambda dialog: wrong.append(f"a dialog: {dialog.message}"))
            page.on(
                "console",
                lambda message: wrong.append(message.text) if "Content Security Policy" in message.text else None,
            )
            await page.goto(url)
            await page.locator(".live.on").wait_for()
            yield page, wrong
        finally:
            await browser.close()
