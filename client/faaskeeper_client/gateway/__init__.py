"""A ZooKeeper server for the clients beside it, with a FaaSKeeper service in place of its disk and its peers.

``gateway`` starts, stops and begins anew. Each beginning makes a ``life``: all that the gateway has under one id, of
parts that know each other only downwards. ``liveness`` beats, ``inbox`` receives and ``replies`` hands on, ``outbox``
sends, ``observer`` says which zxids may be shown, ``sessions`` and ``watches`` say what is attached and watched here,
``storage_reads`` reads znodes, from the ``cache`` while the ``lease`` holds, ``checks`` and ``missed_outcomes`` look
for what nobody tells.

A client's way through: ``server`` has the socket, ``connection`` the bytes, ``handshake`` the session, ``pipeline`` the
order of requests, replies and events, ``read_requests`` the answers to reads. A write goes through the outbox to the
sequencer, which alone decides what becomes of it: no rule of ZooKeeper is here, but those of one server's order.

A file that needs something of one above it names what it needs by a protocol (``pipeline.Channel``,
``handshake.Newcomer``); it never imports it. How a frame looks belongs to ``wire``, how an item does to
``faaskeeper.storage``.
"""
