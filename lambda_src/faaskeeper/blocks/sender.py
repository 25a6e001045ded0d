"""Sends calls as boto3 would, at a fraction of its CPU time.

boto3 itself says once an operation where it would send it, and with which headers; its endpoint rules, configuration
and validation run then. Each call is serialized, signed and its errors are parsed by botocore's own parts; what is
left out is what lies between them. DynamoDB's items are read from their JSON directly: by botocore's parser, a page
of 100 takes seven times as long.
"""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import threading
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, cast
from urllib.parse import urlsplit

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.handlers
import botocore.httpsession
import botocore.model
import botocore.parsers
import botocore.serialize
import botocore.session
import botocore.utils

from faaskeeper.blocks.clock import boot_time
from faaskeeper.blocks.connections import Answer, ConnectionsByLoop, Origin
from faaskeeper.blocks.errors import NotSent, Unavailable

SERVICES = frozenset({"dynamodb", "sqs", "lambda"})
CONNECT_SECONDS = 3.0
_ITEMS = frozenset(
    {
        "batch_get_item",
        "batch_write_item",
        "delete_item",
        "get_item",
        "put_item",
        "query",
        "scan",
        "transact_get_items",
        "transact_write_items",
        "update_item",
    }
)
"""Operations of DynamoDB whose answers hold items, numbers and strings, and nothing else that has to be converted."""
_OF_ONE_CALL = frozenset(
    {
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "authorization",
        "content-length",
        "host",
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amzn-trace-id",
    }
)


class _Planned(Exception):
    """Instead of sending."""

    def __init__(self, request: botocore.awsrequest.AWSPreparedRequest) -> None:
        super().__init__()
        self.request = request


def _stop(request: botocore.awsrequest.AWSPreparedRequest, **_: Any) -> None:
    raise _Planned(request)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How boto3 sends an operation: what is the same in each call."""

    model: botocore.model.OperationModel
    origin: Origin
    endpoint: str
    host: str
    headers: dict[str, str]
    region: str
    signing_name: str
    serializer: Any
    parser: botocore.parsers.ResponseParser


class Sender:
    """``most`` connections at a time; plans and credentials are made in ``threads``, as boto3 blocks."""

    def __init__(self, session: boto3.session.Session, region: str | None, most: int, threads: Executor) -> None:
        self._session = session
        self._region = region
        self._threads = threads
        self._connections = ConnectionsByLoop(most)
        self._clients: dict[str, Any] = {}
        self._plans: dict[tuple[str, str, str], _Plan | None] = {}
        self._tls: ssl.SSLContext | None = None
        self._lock = threading.Lock()

    async def plan(self, service: str, operation: str, parameters: dict[str, Any]) -> _Plan | None:
        """None if boto3 has to make this call: through a proxy, or with another signature. Raises what boto3 raises,
        as of missing credentials."""
        # an account's own endpoint is that of the table's, if it is named by its ARN
        key = (service, operation, str(parameters.get("TableName", "")))
        if key not in self._plans:
            self._plans[key] = await self._in_thread(lambda: self._make_plan(service, operation, parameters))
        return self._plans[key]

    async def send(
        self, plan: _Plan, operation: str, parameters: dict[str, Any], *, submitted: float, unsent: float, answer: float
    ) -> dict[str, Any]:
        """The response. Waits at most ``answer`` seconds for it, and signs nothing that was ``submitted`` (of
        ``boot_time``) more than ``unsent`` seconds ago. Raises NotSent, Unavailable, and what botocore raises:
        ClientError, ParamValidationError, errors of credentials."""
        service = plan.model.service_model.service_name
        request = _serialized(plan, parameters)
        credentials = await self._credentials()
        try:
            async with self._connections.get().borrow(plan.origin, CONNECT_SECONDS) as connection:
                # whatever waits has waited: from the signature to the socket nothing is awaited
                waited = boot_time() - submitted
                if waited > unsent:
                    raise NotSent(service, operation, "NotSent", f"waited {waited:.1f} s for its turn")
                signed = _signed(plan, request, credentials)
                response = await connection.exchange(signed, answer)
            return _parsed(plan, operation, response)
        except (OSError, EOFError, ValueError, botocore.parsers.ResponseParserError) as error:
            raise Unavailable(service, operation, type(error).__name__, str(error)) from error

    def prepare(self, services: Iterable[str]) -> None:
        """Makes what is slow to make and needs no network: the clients, and the TLS context. Raises what boto3 raises,
        as of a missing region."""
        for service in services:
            self._client(service)
        self._tls_context()

    def close(self) -> None:
        self._connections.close()

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _credentials(self) -> botocore.credentials.ReadOnlyCredentials:
        credentials: Any = self._session.get_credentials()
        if isinstance(credentials, botocore.credentials.RefreshableCredentials) and credentials.refresh_needed():
            return await self._in_thread(credentials.get_frozen_credentials)
        return credentials.get_frozen_credentials()

    def _make_plan(self, service: str, operation: str, parameters: dict[str, Any]) -> _Plan | None:
        client = self._client(service)
        try:
            getattr(client, operation)(**parameters)
        except _Planned as planned:
            prepared: Any = planned.request  # its stubs know no headers that are bytes
        else:
            raise AssertionError("boto3 sent what was not to be sent")
        url = urlsplit(str(prepared.url))
        headers = {
            name: value if isinstance(value, str) else value.decode() for name, value in prepared.headers.items()
        }
        algorithm, _, rest = headers.get("Authorization", "").partition(" Credential=")
        if algorithm != "AWS4-HMAC-SHA256" or botocore.utils.get_environ_proxies(prepared.url).get(url.scheme):
            return None
        _, _, region, signing_name, _ = rest.partition(",")[0].split("/")
        model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
        protocol = model.service_model.resolved_protocol
        serializer = botocore.serialize.create_serializer(protocol, include_validation=False)
        ours: dict[str, Any] = serializer.serialize_to_request(parameters, model)
        endpoint = f"{url.scheme}://{url.netloc}{url.path.removesuffix(ours['url_path'])}"
        botocore.awsrequest.prepare_request_dict(ours, endpoint)
        if ours["url"] != prepared.url:
            return None
        tls = self._tls_context() if url.scheme == "https" else None
        assert url.hostname is not None
        own = {name.lower() for name in ours["headers"]} | _OF_ONE_CALL
        return _Plan(
            model,
            Origin(url.hostname, url.port or (443 if tls else 80), tls),
            endpoint,
            url.netloc,
            {name: value for name, value in headers.items() if name.lower() not in own},
            region,
            signing_name,
            serializer,
            botocore.parsers.create_parser(protocol),
        )

    def _client(self, service: str) -> Any:
        with self._lock:
            if service not in self._clients:
                # boto3's stubs know only literal service names
                make: Any = self._session.client  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                config = botocore.config.Config(retries={"total_max_attempts": 1, "mode": "standard"})
                client = make(service, region_name=self._region, config=config)
                client.meta.events.register_first("before-send", _stop)
                self._clients[service] = client
            return self._clients[service]

    def _tls_context(self) -> ssl.SSLContext:
        with self._lock:
            if self._tls is None:
                named = self._session.profile_name in self._session.available_profiles
                config = botocore.session.Session(profile=self._session.profile_name if named else None)
                bundle = config.get_config_variable("ca_bundle")
                self._tls = ssl.create_default_context(cafile=botocore.httpsession.get_cert_path(bundle or True))
            return self._tls


def _serialized(plan: _Plan, parameters: dict[str, Any]) -> dict[str, Any]:
    given = dict(parameters)
    botocore.handlers.generate_idempotent_uuid(given, plan.model)
    try:
        request: dict[str, Any] = plan.serializer.serialize_to_request(given, plan.model)
    except Exception as error:
        raise botocore.exceptions.ParamValidationError(report=f"{type(error).__name__}: {error}") from error
    request["headers"] = {**plan.headers, **request["headers"], "Host": plan.host}
    botocore.handlers.add_recursion_detection_header(request)
    botocore.awsrequest.prepare_request_dict(request, plan.endpoint)
    return request


def _signed(plan: _Plan, request: dict[str, Any], credentials: botocore.credentials.ReadOnlyCredentials) -> bytes:
    """As it goes over the wire, signed at this moment."""
    body: bytes = request["body"]
    # the signer takes a digest that it finds, and else makes the whole request ready for it
    request["headers"]["X-Amz-Content-SHA256"] = sha256(body).hexdigest()
    signed = botocore.awsrequest.AWSRequest(request["method"], request["url"], request["headers"], data=body)
    botocore.auth.SigV4Auth(credentials, plan.signing_name, plan.region).add_auth(signed)
    url = urlsplit(str(request["url"]))
    target = f"{url.path}?{url.query}" if url.query else url.path
    lines = [f"{request['method']} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in signed.headers.items()]
    if any("\n" in line or "\r" in line for line in lines):
        raise botocore.exceptions.ParamValidationError(report="a header has a line break")
    lines.append(f"Content-Length: {len(body)}\r\n\r\n")
    return "\r\n".join(lines).encode() + body


def _parsed(plan: _Plan, operation: str, answer: Answer) -> dict[str, Any]:
    """Raises ClientError, and ValueError or ResponseParserError for what no service of AWS sends."""
    model = plan.model
    checksum = answer.headers.get("x-amz-crc32")
    if checksum is not None and int(checksum) != zlib.crc32(answer.body):
        raise ValueError("the answer does not fit its checksum")
    if answer.status < 300 and operation in _ITEMS:
        return json.loads(answer.body, object_hook=_with_bytes)
    response: dict[str, Any] = {
        "status_code": answer.status,
        "headers": botocore.awsrequest.HeadersDict(answer.headers),
        "body": answer.body,
        "context": {"operation_name": model.name},
    }
    if answer.status < 300 and model.has_streaming_output:
        response["body"] = io.BytesIO(answer.body)
    parse: Any = plan.parser.parse  # its stubs know no operation without output, and no error without a shape
    shape: Any = model.output_shape
    parsed: Any = parse(response, shape)
    if answer.status < 300:
        if model.has_streaming_output:
            parsed[shape.serialization["payload"]] = answer.body
        return parsed
    modeled: Any = model.service_model.shape_for_error_code(parsed.get("Error", {}).get("Code"))
    if modeled is not None:
        parsed.update(parse(response, modeled))
    raise botocore.exceptions.ClientError(parsed, model.name)


def _with_bytes(read: dict[str, Any]) -> dict[str, Any]:
    """A binary attribute's value is the only object in an answer whose only member is a string, or a list of strings,
    called B or BS: what attributes are called stands beside objects."""
    if len(read) == 1:
        if isinstance(value := read.get("B"), str):
            return {"B": b64decode(value)}
        values: Any = read.get("BS")
        if isinstance(values, list):
            return {"BS": [b64decode(each) for each in cast(list[str], values)]}
    return read
