"""PyPI's kazoo with the handler that the first argument names, a client at each of two gateways."""

import importlib
import sys


def main(name, first, second):
    if name == "gevent":
        from gevent import monkey, spawn

        monkey.patch_all()
        handler = importlib.import_module("kazoo.handlers.gevent").SequentialGeventHandler
    else:
        import eventlet

        eventlet.monkey_patch()
        spawn = eventlet.spawn
        handler = importlib.import_module("kazoo.handlers.eventlet").SequentialEventletHandler
    from kazoo.client import KazooClient
    from kazoo.exceptions import BadVersionError

    one, two = (KazooClient(hosts, timeout=20, handler=handler()) for hosts in (first, second))
    one.start()
    two.start()
    root = f"/{name}"
    one.create(root, b"x")
    changed = two.handler.event_object()
    assert two.get(root, watch=lambda event: changed.set())[0] == b"x"
    one.set(root, b"y", version=0)
    assert changed.wait(30) is not False
    try:
        two.set(root, b"z", version=0)
    except BadVersionError:
        pass
    else:
        raise AssertionError("bad version")
    replies = [one.set_async(root, str(number).encode()) for number in range(50)]
    assert [reply.get(timeout=60).version for reply in replies] == list(range(2, 52))
    transaction = two.transaction()
    transaction.check(root, 51)
    transaction.create(f"{root}/t")
    assert transaction.commit()[1] == f"{root}/t"
    inside = []

    def work(client):
        for _ in range(5):
            with client.Lock(f"{root}/lock"):
                inside.append(client)
                assert len(inside) == 1
                client.handler.sleep_func(0.01)
                inside.pop()

    workers = [spawn(work, client) for client in (one, two)]
    for worker in workers:
        getattr(worker, "get" if name == "gevent" else "wait")()
    path = one.create(f"{root}/e-", ephemeral=True, sequence=True)
    gone = two.handler.event_object()
    assert two.exists(path, watch=lambda event: gone.set())
    one.stop()
    gone.wait(60)
    assert two.exists(path) is None
    two.stop()


main(*sys.argv[1:])
