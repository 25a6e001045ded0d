"""The commands of AdminServer, /metrics and /health, as those who run a gateway ask them."""

from __future__ import annotations

import asyncio
import math
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from faaskeeper.blocks.aws import BotoAws
from faaskeeper.blocks.errors import Unavailable
from tests.gateway.ensemble import run
from tests.gateway.wire import EPHEMERAL, OK

from .asking import Asking, asking


async def command(asking: Asking, name: str) -> Any:
    answer = await asking.get(f"/commands/{name}")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    return answer.json


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_sessions_their_watches_and_ephemerals_are_told(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            zk = await asked.served.connect()
            assert (await zk.create("/a")).error == OK
            assert (await zk.create("/a/e", flags=EPHEMERAL)).error == OK
            assert (await zk.get("/a", watch=True)).error == OK
            assert (await command(asked, "watches"))["session_id_to_watched_paths"] == {str(zk.session): ["/a"]}
            assert (await command(asked, "wchp"))["path_to_session_ids"] == {"/a": [zk.session]}
            assert (await command(asked, "watch_summary"))["num_total_watches"] == 1
            # ZooKeeper keeps a persistent watch among its data and its child watches, a recursive one among the former
            assert (await zk.add_watch("/p", recursive=False)).error == OK
            assert (await zk.add_watch("/r", recursive=True)).error == OK
            assert (await zk.children("/", watch=True)).error == OK
            assert (await command(asked, "watches"))["session_id_to_watched_paths"] == {
                str(zk.session): ["/a", "/p", "/r"]
            }
            assert (await command(asked, "monitor"))["watch_count"] == 5
            dump = await command(asked, "dump")
            assert dump["session_id_to_ephemeral_paths"] == {str(zk.session): ["/a/e"]}
            ((expiry, sessions),) = dump["expiry_time_to_session_ids"].items()
            assert (int(expiry) % 2000, sessions) == (0, [zk.session])
            (connection,) = (await command(asked, "cons"))["connections"]
            assert (connection["session_id"], connection["last_operation"]) == (zk.session, "GETC")
            assert (await command(asked, "stat"))["connections"][0]["packets_received"] == 7
            assert (await command(asked, "conf"))["client_port"] == asked.served.port

    run(scenario())


def test_statistics_are_reset_and_prometheus_s_counters_are_not(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            zk = await asked.served.connect()
            assert (await zk.create("/a")).error == OK
            assert (await command(asked, "monitor"))["packets_received"] == 2
            assert await command(asked, "stat_reset") == {"error": None, "command": "stat_reset"}
            assert await command(asked, "crst") == {"error": None, "command": "connection_stat_reset"}
            assert (await command(asked, "monitor"))["packets_received"] == 0
            assert (await command(asked, "connections"))["connections"][0]["packets_sent"] == 0
            found = samples((await asked.get("/metrics")).text)
            assert found["packets_received", ()] == 0
            assert found["updatelatency_count", ()] == 2
            assert found["connection_request_count", ()] == 1

    run(scenario())


def test_bad_input_is_answered_as_adminserver_does(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            mask = "setTraceMask requires long traceMask argument"
            for name, error in {
                "nonesuch": "Unknown command: nonesuch",
                "ruok/": "Unknown command: ruok/",
                "leader": "server is not initialized",
                "stmk": mask,
                "stmk?traceMask=x": f"{mask}, got x",
                "stmk?traceMask=9223372036854775808": f"{mask}, got 9223372036854775808",
            }.items():
                assert (await command(asked, name))["error"] == error

    run(scenario())


def test_a_gateway_that_must_be_silent_says_so_and_keeps_its_metrics(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            assert (await asked.get("/health")).status == 200

            async def silence(operation: str, parameters: dict[str, Any]) -> None:
                await asyncio.Event().wait()

            asked.served.tap.before = silence
            asked.served.ahead += 3600
            assert ((await asked.get("/health")).status, (await asked.get("/health/live")).status) == (503, 200)
            error = "This ZooKeeper instance is not currently serving requests"
            assert await command(asked, "srvr") == {"command": "srvr", "error": error}
            assert (await command(asked, "envi"))["error"] is None
            assert samples((await asked.get("/metrics")).text)["faaskeeper_gateway_serving", ()] == 0
            asked.served.tap.before = None

    run(scenario())


def test_aws_out_of_reach_is_said(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            zk = await asked.served.connect()
            assert (await zk.create("/e", flags=EPHEMERAL)).error == OK

            async def fail(operation: str, parameters: dict[str, Any]) -> None:
                if operation == "query":
                    raise Unavailable("dynamodb", "query", "Timeout", "no answer")

            asked.served.tap.before = fail
            answer = await asked.get("/commands/dump")
            assert answer.status == 503
            assert "AWS does not answer" in answer.json["error"]

    run(scenario())


def test_metrics_have_zookeeper_s_names_and_what_aws_was_asked_for(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            zk = await asked.served.connect()
            assert (await zk.create("/a")).error == OK
            before = samples((await asked.get("/metrics")).text)
            for _ in range(5):
                assert (await zk.get("/a")).error == OK
            answer = await asked.get("/metrics")
            assert answer.headers["Content-Type"].startswith("text/plain; version=")
            found = samples(answer.text)
            assert found["num_alive_connections", ()] == found["global_sessions", ()] == 1
            assert found["readlatency_count", ()] == 5
            assert not math.isnan(found["readlatency", (("quantile", "0.99"),)])
            reads = "faaskeeper_gateway_request_duration_seconds_bucket", (("le", "+Inf"), ("operation", "GETD"))
            assert found[reads] == 5
            gets = "faaskeeper_aws_calls_total", (("operation", "query"), ("outcome", "ok"), ("service", "dynamodb"))
            assert found[gets] - before.get(gets, 0) >= 1
            outcomes = [found["faaskeeper_gateway_cache_reads_total", (("outcome", name),)] for name in ("hit", "miss")]
            assert sum(outcomes) == 5
            assert outcomes[1] >= 1
            assert found["faaskeeper_gateway_cache_entries", ()] == 1
            units = "faaskeeper_aws_billed_units_total", (("unit", "read unit"),)
            assert found[units] > before[units]
            cost = "faaskeeper_gateway_cost_dollars_total", ()
            assert found[cost] > before[cost] > 0

    run(scenario())


def test_other_sites_are_refused(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws) as asked:
            for name, value, reason in (
                ("Host", "evil.example", "host"),
                ("Host", "evil.example:8080", "host"),
                ("Host", "127.0.0.1.evil.example", "host"),
                ("Host", "[::1", "host"),
                ("Origin", "http://evil.example", "origin"),
                ("Origin", "null", "origin"),
                ("Sec-Fetch-Site", "cross-site", "another site"),
                ("Sec-Fetch-Site", "same-site", "another site"),
            ):
                for path in ("/commands/stat_reset", "/metrics", "/nonesuch"):
                    answer = await asked.get(path, **{name: value})
                    assert answer.status == 403
                    assert reason in answer.json["error"]
                # load balancers ask by whatever name they have
                assert (await asked.get("/health", **{name: value})).status == 200

    run(scenario())


def test_names_that_were_told_are_answered(aws: BotoAws) -> None:
    async def scenario() -> None:
        async with asking(aws, names=["Gateway.Internal"]) as asked:
            for host in ("gateway.internal:8080", "GATEWAY.internal", "localhost:1", "[::1]:80", "10.0.0.7"):
                assert (await asked.get("/commands/ruok", Host=host)).status == 200
            assert (await asked.get("/commands/ruok", Host="gateway.internal.evil.example")).status == 403

    run(scenario())
