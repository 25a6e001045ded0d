"""PyPI's aiozk, one client at each of two gateways."""

import asyncio
import sys

from aiozk import ZKClient, exc


async def main(first: str, second: str) -> None:
    one, two = ZKClient(first, session_timeout=20), ZKClient(second, session_timeout=20)
    await one.start()
    await two.start()
    await one.create("/aio", "x")
    assert await two.get_data("/aio") == b"x"
    await two.exists("/aio")  # it remembers the version
    await one.set_data("/aio", "y")
    try:
        await two.set("/aio", "z", 0)
    except exc.BadVersion:
        pass
    else:
        raise AssertionError("bad version")
    path = await one.create("/aio/e-", ephemeral=True, sequential=True)
    assert path == "/aio/e-0000000000"
    assert await two.get_children("/aio") == ["e-0000000000"]
    transaction = one.begin_transaction()
    transaction.check_version("/aio", version=1)
    transaction.create("/aio/t")
    assert await transaction.commit()
    arrived = 0

    async def meet(client: ZKClient) -> None:
        nonlocal arrived
        barrier = client.recipes.DoubleBarrier("/aio-barrier", 2)
        arrived += 1
        await barrier.enter(timeout=60)
        assert arrived == 2
        await barrier.leave(timeout=60)

    await asyncio.gather(meet(one), meet(two))
    await one.close()
    deadline = asyncio.get_running_loop().time() + 60
    while await two.exists(path):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.05)
    await two.close()


asyncio.run(main(*sys.argv[1:]))
