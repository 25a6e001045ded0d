"""The console as a person has it, in a browser."""

from __future__ import annotations

import base64
import hashlib
import re

from playwright.async_api import expect

from faaskeeper.blocks.aws import BotoAws
from tests.gateway.ensemble import run
from tests.gateway.wire import CREATE, EPHEMERAL, OK
from tests.wire.raw import acl, int32, string

from .asking import asking
from .browser import needs_chromium, page

SCRIPT = b"<img src=x onerror=alert(1)><script>alert(2)</script>"
CLOSED = (31, "digest", "ann:" + base64.b64encode(hashlib.sha1(b"ann:sesame").digest()).decode())
"""DigestAuthenticationProvider.generateDigest."""


@needs_chromium
def test_the_tree_is_read_and_lives(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            zk = await asked.served.connect()
            assert (await zk.create("/app", b'{"retries": 3}')).error == OK
            assert (await zk.create("/app/<b>bold", SCRIPT)).error == OK
            assert (await zk.create("/app/raw", bytes(range(256)))).error == OK
            assert (await zk.create("/app/me", b"here", flags=EPHEMERAL)).error == OK
            async with page(f"http://{asked.address}/") as (console, wrong):
                await console.get_by_role("treeitem", name="app").click()
                await expect(console.locator("#node .json-key")).to_have_text('"retries"')
                await expect(console.locator("#node dl")).to_contain_text("stays until it is deleted")

                # what a znode holds is shown, not run
                await console.get_by_role("treeitem", name="<b>bold").click()
                await expect(console.locator("#node pre")).to_have_text(SCRIPT.decode())
                await console.get_by_role("treeitem", name="raw").click()
                await expect(console.locator("#node pre")).to_contain_text("000010  10 11 12")
                await console.get_by_role("treeitem", name="me").click()
                await expect(console.locator("#node dl")).to_contain_text(f"goes with session {zk.session:#x}")

                # changes show without being asked for
                assert (await zk.set("/app/me", b"there")).error == OK
                await expect(console.locator("#node pre")).to_have_text("there")
                assert (await zk.create("/app/new")).error == OK
                await expect(console.get_by_role("treeitem", name="new")).to_be_visible()
                assert (await zk.delete("/app/raw")).error == OK
                await expect(console.get_by_role("treeitem", name="raw")).to_have_count(0)

                # by keys alone: down from /app/me to /app/new, and to the other views
                await console.get_by_role("treeitem", name="me").focus()
                await console.keyboard.press("ArrowDown")
                await console.keyboard.press("Enter")
                await expect(console.locator("#node h1")).to_contain_text("new")
                await console.keyboard.press("2")
                await expect(console.locator("#view-sessions")).to_contain_text("/app/me")
                await console.keyboard.press("3")
                await expect(console.locator("#view-gateway .tile", has_text="Cost so far")).to_contain_text("$0.")
                await expect(console.locator("#edit, #create, #delete")).to_have_count(0)
                await console.set_viewport_size({"width": 390, "height": 800})
                width = await console.evaluate("document.documentElement.scrollWidth")
                assert width <= 390
            assert wrong == []

    run(scenario())


@needs_chromium
def test_acls_hold_until_somebody_signs_in(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            zk = await asked.served.connect()
            creation = string("/closed") + string(b"hush") + acl(CLOSED) + int32(0)
            assert (await zk.call(CREATE, creation)).error == OK
            async with page(f"http://{asked.address}/#/closed") as (console, wrong):
                await expect(console.locator("#node")).to_contain_text("The ACL does not let you")
                await console.get_by_role("button", name="Sign in").click()
                await console.get_by_label("User").fill("ann")
                await console.get_by_label("Password").fill("sesame")
                await console.locator("dialog").get_by_role("button", name="Sign in").click()
                await expect(console.locator("#node pre")).to_have_text("hush")
                await console.get_by_role("button", name="ann · sign out").click()
                await expect(console.locator("#node")).to_contain_text("The ACL does not let you")
            assert wrong == []

    run(scenario())


@needs_chromium
def test_with_leave_to_write_nothing_is_written_over_unseen(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws, write=True) as asked:
            zk = await asked.served.connect()
            assert (await zk.create("/app", b"one")).error == OK
            async with page(f"http://{asked.address}/#/app") as (console, wrong):
                dialog = console.locator("dialog")
                await console.get_by_role("button", name="New child").click()
                await dialog.get_by_label("Name").fill("made")
                await dialog.get_by_label("Data", exact=True).fill("by hand")
                await dialog.get_by_role("button", name="Create").click()
                await expect(console.locator("#node h1")).to_contain_text("made")
                assert (await zk.get("/app/made")).data == b"by hand"

                await console.get_by_role("button", name="Edit").click()
                await dialog.get_by_label("Data", exact=True).fill("mine")
                assert (await zk.set("/app/made", b"theirs")).error == OK
                await dialog.get_by_role("button", name="Save").click()
                await expect(dialog.get_by_role("alert")).to_contain_text(
                    "It has changed meanwhile: it is version 1 now"
                )
                await expect(dialog.get_by_role("alert")).to_contain_text("theirs")
                assert (await zk.get("/app/made")).data == b"theirs"
                await expect(dialog.get_by_label("Data", exact=True)).to_have_value("mine")
                await dialog.get_by_role("button", name="Save").click()
                await expect(dialog).to_have_count(0)
                assert (await zk.get("/app/made")).data == b"mine"

                await console.get_by_role("button", name="Edit").click()
                await dialog.get_by_label("Data", exact=True).fill("x" * 10_000_000)
                await dialog.get_by_role("button", name="Save").click()
                await expect(dialog.get_by_role("alert")).to_contain_text("That is too much: 10,000,000 bytes")
                await dialog.get_by_role("button", name="Cancel").click()

                await console.get_by_role("button", name="Delete").click()
                await dialog.get_by_label("Name of the znode").fill("other")
                await dialog.get_by_role("button", name="Delete").click()
                await expect(dialog.get_by_role("alert")).to_have_text("The name is made.")
                await dialog.get_by_label("Name of the znode").fill("made")
                await dialog.get_by_role("button", name="Delete").click()
                await expect(console.locator("#node")).to_contain_text("There is no such znode")
                await expect(console.get_by_role("treeitem", name=re.compile("made"))).to_have_count(0)
            assert wrong == []

    run(scenario())
