"""What the blocks need to know of the service that they are part of."""

from __future__ import annotations

from typing import Protocol


class Parts(Protocol):
    """The description of a service, as far as queues, claim checks and fan-out need it.

    ``name`` begins the key of every object that the service has in the bucket ``blobs``. ``requests`` is the URL of its
    FIFO queue, ``timers`` and ``dead_letters`` are those of plain ones. ``reply_prefix`` begins the name of every
    client's reply queue.
    """

    @property
    def name(self) -> str: ...
    @property
    def blobs(self) -> str: ...
    @property
    def requests(self) -> str: ...
    @property
    def timers(self) -> str: ...
    @property
    def dead_letters(self) -> str: ...
    @property
    def reply_prefix(self) -> str: ...
