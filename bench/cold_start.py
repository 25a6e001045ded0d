"""What the first write of a new instance of the direct function costs in CPU time, and what that comes to on Lambda."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import median

from faaskeeper.protocol.service import ENVIRONMENT_VARIABLE
from faaskeeper_client.local import EmbeddedCloud

_INSTANCES = 7
_MB_A_PROCESSOR = 1769
"""Of memory, at which a function has one processor (Lambda developer guide, "Configure Lambda function memory")."""
_INSTANCE = """
import json, sys, time
def spent(since): return round(1000 * (time.process_time() - since), 1)
began = time.process_time()
from faaskeeper.functions.direct import handler
imported = spent(began)
from hashlib import sha256
from faaskeeper.protocol.calls import CallId, encode_call
from faaskeeper.protocol.messages import Principal, Request, encode_first
from faaskeeper.znode.operations import CreateSession
class Context:
    def get_remaining_time_in_millis(self): return 10_000
def write(number):
    request = Request(Principal(number, 0, b""), number, CreateSession(sha256(b"").digest(), 10_000))
    event = json.loads(encode_call(CallId(bytes(16), number, 0), encode_first("bench", [request])[0]))
    began = time.process_time()
    handler(event, Context())
    return spent(began)
first, *others = [write(int(sys.argv[1]) + number) for number in range(1, 12)]
print(json.dumps([imported, first, sorted(others)[5]]), file=sys.stderr)
"""


def main() -> None:
    with EmbeddedCloud() as cloud:
        service = cloud.deploy("cold")
        environment = os.environ | {
            "AWS_ENDPOINT_URL": cloud.endpoint_url,
            "AWS_ACCESS_KEY_ID": cloud.account,
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": cloud.region,
            "AWS_LAMBDA_FUNCTION_NAME": "direct",
            ENVIRONMENT_VARIABLE: service.to_json(),
        }
        measured: list[list[float]] = []
        for number in range(_INSTANCES):
            run = subprocess.run(
                [sys.executable, "-c", _INSTANCE, str(100 * number)],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            measured.append(json.loads(run.stderr.splitlines()[-1]))
    imported, first, later = (median(column) for column in zip(*measured, strict=True))
    print(f"CPU ms of {_INSTANCES} instances, median")
    print(f"import {imported:.0f}, first write {first:.1f}, a later one {later:.1f}")
    for memory in (512, 1024, 1769):
        share = min(1.0, memory / _MB_A_PROCESSOR)
        print(f"{memory} MB: import {imported:.0f} to {imported / share:.0f} ms, first write {first / share:.0f} ms")


if __name__ == "__main__":
    main()
