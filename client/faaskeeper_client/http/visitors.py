"""The people in front of the console, each with a ZooKeeper session that has their credentials.

Who has not signed in shares one session with all others at the same address. Credentials are kept in memory for as long
as their visitor comes, and nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from bisect import bisect_right
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from kazoo.protocol.serialization import GetChildren2  # pyright: ignore[reportMissingTypeStubs]

from faaskeeper_client.http.gateway_view import GatewayView
from faaskeeper_client.http.session import Change, Refused, Session, SessionLost

logger = logging.getLogger(__name__)

_MAX_VISITORS = 100
_MAX_UNSEEN = 10_000
"""Changes that wait for a page that does not take them; then it is told to load everything again."""
_IDLE = 60.0
"""Seconds after which the session of a visitor is closed who asks for nothing and looks at nothing."""
_FORGOTTEN = 1800.0
"""Seconds after which such a visitor's credentials are forgotten."""
_LOOK = 5.0

Feed = asyncio.Queue[Change | None]
"""What changed; None: something may have been missed."""


class TooMany(Exception):
    """There are as many visitors as one gateway takes."""


class Visitor:
    """``user`` is who signed in, None for whoever did not."""

    def __init__(self, gateway: GatewayView, address: str, credential: str | None, clock: Callable[[], float]) -> None:
        self.user = None if credential is None else credential.partition(":")[0]
        self._gateway = gateway
        self._address = address
        self._credentials = () if credential is None else (credential,)
        self._clock = clock
        self._session: Session | None = None
        self._lock = asyncio.Lock()
        self._feeds: set[Feed] = set()
        self._watching = False
        self._listing: tuple[str, int, list[str]] | None = None
        self.seen = clock()

    @property
    def is_away(self) -> bool:
        return not self._feeds and self._clock() - self.seen > _IDLE

    async def session(self) -> Session:
        """A session that is open, and watches if anybody here looks on. Raises SessionLost."""
        self.seen = self._clock()
        async with self._lock:
            if self._session is None or not self._session.is_open:
                self._watching = False
                session = Session(self._gateway, (self._address, 0), self._tell, lambda: self._tell(None))
                await session.start(self._credentials)
                self._session = session
                self._tell(None)
            if self._feeds and not self._watching:
                await self._session.watch_all("/")
                self._watching = True
            return self._session

    async def children(self, path: str, after: str, part: str, most: int) -> tuple[list[str], int, Any]:
        """At most that many names behind ``after`` that have ``part`` in them, in order; how many such names there are
        behind ``after`` altogether; the Stat. A listing is kept for its next page, if that comes next. Raises Refused,
        SessionLost."""
        session = await self.session()
        listing = self._listing
        if not after or listing is None or listing[0] != path:
            names, stat = await session.ask(GetChildren2(path, None))
            listing = self._listing = path, stat, sorted(names)
        _, stat, names = listing
        found = [name for name in names[bisect_right(names, after) if after else 0 :] if part in name]
        return found[:most], len(found), stat

    @contextmanager
    def looking(self) -> Generator[Feed]:
        feed: Feed = asyncio.Queue()
        self._feeds.add(feed)
        try:
            yield feed
        finally:
            self._feeds.discard(feed)
            self.seen = self._clock()

    async def leave(self) -> None:
        """Closes the session; the next question makes another."""
        async with self._lock:
            session, self._session, self._listing = self._session, None, None
        if session is not None:
            await session.stop()

    def _tell(self, change: Change | None) -> None:
        for feed in self._feeds:
            if feed.qsize() >= _MAX_UNSEEN:
                while not feed.empty():
                    feed.get_nowait()
                change = None
            feed.put_nowait(change)


class Visitors:
    """``clock`` gives seconds."""

    def __init__(self, gateway: GatewayView, clock: Callable[[], float] = time.monotonic) -> None:
        self._gateway = gateway
        self._clock = clock
        self._by_key: dict[str, Visitor] = {}
        self._look: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._look = asyncio.get_running_loop().create_task(self._send_away())

    async def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
        await asyncio.gather(*(visitor.leave() for visitor in self._by_key.values()), return_exceptions=True)

    def find(self, token: str | None, address: str) -> Visitor:
        """Whoever signed in by that token, else whoever comes from that address. Raises TooMany."""
        known = self._by_key.get(_signed_in(token)) if token else None
        return known or self._visitor(f"address {address}", address, None)

    def sign_in(self, credential: str, address: str) -> str:
        """A token for the credential. Raises TooMany."""
        token = secrets.token_urlsafe(32)
        self._visitor(_signed_in(token), address, credential)
        return token

    async def sign_out(self, token: str) -> None:
        visitor = self._by_key.pop(_signed_in(token), None)
        if visitor is not None:
            await visitor.leave()

    def _visitor(self, key: str, address: str, credential: str | None) -> Visitor:
        if key not in self._by_key:
            if len(self._by_key) >= _MAX_VISITORS:
                raise TooMany(f"{_MAX_VISITORS} people are looking at this gateway already")
            self._by_key[key] = Visitor(self._gateway, address, credential, self._clock)
        return self._by_key[key]

    async def _send_away(self) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            for key, visitor in list(self._by_key.items()):
                if not visitor.is_away:
                    continue
                if self._clock() - visitor.seen > _FORGOTTEN:
                    del self._by_key[key]
                try:
                    await visitor.leave()
                except (Refused, SessionLost) as error:
                    logger.info("a console's session ends by its timeout: %s", error)


def _signed_in(token: str) -> str:
    return f"token {token}"
