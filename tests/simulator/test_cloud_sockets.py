"""asyncio's servers and clients, unchanged, between simulated processes."""

from __future__ import annotations

import asyncio

import pytest

from faaskeeper_simulator.cloud import Cloud, Process, run

PORT = 2181


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def serve() -> asyncio.AbstractServer:
    return await asyncio.start_server(echo, "127.0.0.1", PORT)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: str) -> str:
    writer.write(f"{text}\n".encode())
    return (await reader.readline()).decode().strip()


async def two_processes(cloud: Cloud) -> tuple[Process, Process]:
    server, client = cloud.process("server"), cloud.process("client")
    await server.start(serve())
    return server, client


def test_bytes_go_both_ways_in_order_and_take_time() -> None:
    async def main() -> tuple[list[str], float, bytes]:
        cloud = Cloud()
        _, client = await two_processes(cloud)

        async def talk() -> tuple[list[str], bytes]:
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            for number in range(50):
                writer.write(f"{number}\n".encode())
            answers = [(await reader.readline()).decode().strip() for _ in range(50)]
            writer.write_eof()
            return answers, await reader.read()

        answers, rest = await client.start(talk())
        return answers, cloud.loop.time(), rest

    answers, seconds, rest = run(1, main())
    assert answers == [str(number) for number in range(50)]
    assert 0.0001 < seconds < 0.01
    assert rest == b""


def test_nobody_listening_refuses() -> None:
    async def main() -> None:
        cloud = Cloud()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", PORT)
        server, _ = await two_processes(cloud)
        with pytest.raises(OSError, match="in use"):
            await server.start(serve())
        server.kill()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", PORT)

    run(1, main())


def test_a_killed_process_resets_its_connections() -> None:
    async def main() -> str:
        cloud = Cloud()
        server, client = await two_processes(cloud)

        async def talk() -> str:
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            answer = await ask(reader, writer, "hello")
            cloud.loop.call_later(1, server.kill)
            with pytest.raises(ConnectionResetError):
                await reader.readline()
            return answer

        return await client.start(talk())

    assert run(1, main()) == "hello"


@pytest.mark.parametrize("how", ["pause", "cut"])
def test_bytes_wait_for_a_paused_process_and_for_a_mended_network(how: str) -> None:
    async def main() -> tuple[list[str], float]:
        cloud = Cloud()
        server, client = await two_processes(cloud)

        async def talk() -> tuple[list[str], float]:
            reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
            answers = [await ask(reader, writer, "one")]
            if how == "pause":
                server.pause(30)
            else:
                cloud.loop.sockets.cut(server, client, 30)
            writer.write(b"two\n")
            answers += [await ask(reader, writer, "three"), (await reader.readline()).decode().strip()]
            return answers, cloud.loop.time()

        return await client.start(talk())

    answers, seconds = run(1, main())
    assert answers == ["one", "two", "three"]
    assert 30 < seconds < 30.1


def test_connecting_across_a_cut_times_out() -> None:
    async def main() -> float:
        cloud = Cloud()
        server, client = await two_processes(cloud)
        cloud.loop.sockets.cut(server, client, 100)

        async def talk() -> None:
            await asyncio.open_connection("127.0.0.1", PORT)

        with pytest.raises(TimeoutError):
            await client.start(talk())
        return cloud.loop.time()

    assert run(1, main()) == 20
