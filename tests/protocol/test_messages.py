"""What one release leaves out and the next one looks for."""

from __future__ import annotations

import json

from faaskeeper.protocol.messages import ReplyMessage, decode_reply, encode_reply


def test_a_sequencer_that_does_not_say_when_a_session_last_left() -> None:
    """Just now, for all that the gateway knows."""
    document = json.loads(encode_reply(ReplyMessage(zxid=7, base=5, detached_at=3)))
    del document["detached_at"]
    assert decode_reply(json.dumps(document)) == ReplyMessage(zxid=7, base=5, detached_at=7)
