"""Counts its invocations below /visits, a znode each."""

from contextlib import suppress

from kazoo.exceptions import NodeExistsError

from faaskeeper_client import connect


def handler(event, context):
    zk = connect()
    zk.start()
    try:
        with suppress(NodeExistsError):
            zk.create("/visits")
        zk.create("/visits/visit-", sequence=True)
        return len(zk.get_children("/visits"))
    finally:
        # Lambda freezes what follows: the session ends with the invocation
        zk.stop()
        zk.close()
