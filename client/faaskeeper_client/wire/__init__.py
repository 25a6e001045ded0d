"""ZooKeeper's wire protocol, from the server's side: bytes to values and back, without a socket or a clock.

``frames`` cuts a connection's bytes, ``decoding`` makes ``requests`` of them, ``responses`` makes frames of answers and
events, all by the types of ``jute``. ``four_letter`` answers the administrator's words from a snapshot that it is
given, ``statistics`` is what those words show. What a request does to znodes is ``faaskeeper.znode``'s to say, and when
its answer may be sent the gateway's: nothing here waits, stores or decides. Each file names the class of ZooKeeper 3.9
whose bytes it reads or writes.
"""
