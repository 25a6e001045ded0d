"""The one seam between FaaSKeeper and AWS.

Everything above calls ``await aws.call("dynamodb", "get_item", TableName=..., Key=...)`` with the operation names
and parameters of boto3's low-level clients, and gets their response as a dict. Whatever answers such calls can
run the service: boto3 here, a simulated cloud in the tests.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, Protocol, TypeVar

import boto3
import botocore.config
import botocore.exceptions

from faaskeeper.blocks.clock import boot_time
from faaskeeper.blocks.errors import (
    NO_CREDENTIALS,
    AccessDenied,
    AwsError,
    CancellationReason,
    ConditionFailed,
    Conflict,
    NotFound,
    NotSent,
    Throttled,
    TooLarge,
    TransactionCancelled,
    Unavailable,
)
from faaskeeper.blocks.sender import CONNECT_SECONDS, SERVICES, Sender

MAX_SECONDS_UNSENT = 30.0
"""A call that has not been sent that long after it was made is not sent any more (NotSent), those while the machine
slept included: AWS takes whatever is signed with the time of now, however old it is. A message sent after SQS's five
minutes of deduplication is a second one, and a commit of an invocation that was given up long ago surprises everybody.
AWS itself refuses a signature after five minutes (SigV4), so nothing arrives later than both together."""
MAX_OBJECT_BYTES = 64_000_000
"""Of an object that is read; the largest that the service makes are journals of huge transactions."""

Response = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")


class Aws(Protocol):
    """Calls one operation of one service. Raises ``AwsError`` or one of its subclasses.

    In responses of ``s3.get_object`` the ``Body`` is bytes.
    """

    async def call(self, service: str, operation: str, **parameters: Any) -> Response: ...


_BY_CODE: dict[str, type[AwsError]] = {
    "RequestTimeout": Unavailable,
    "RequestTimeoutException": Unavailable,
    "KMS.ThrottlingException": Throttled,
    "KmsThrottled": Throttled,
    "PriorRequestNotComplete": Throttled,
    "ThrottledException": Throttled,
    "Throttling": Throttled,
    "KMS.AccessDeniedException": AccessDenied,
    "KmsAccessDenied": AccessDenied,
    # of a clock that is wrong, or a sandbox that was frozen after it had signed
    "IncompleteSignature": AccessDenied,
    "InvalidSignatureException": AccessDenied,
    "RequestExpired": AccessDenied,
    "RequestTimeTooSkewed": AccessDenied,
    "TransactionConflictException": Conflict,
    "ConditionalRequestConflict": Conflict,
    # an earlier try with the same token is still under way
    "TransactionInProgressException": Unavailable,
    "ProvisionedThroughputExceededException": Throttled,
    "ThrottlingException": Throttled,
    "RequestLimitExceeded": Throttled,
    "RequestThrottled": Throttled,
    "TooManyRequestsException": Throttled,
    "SlowDown": Throttled,
    "ResourceNotFoundException": NotFound,
    "ParameterNotFound": NotFound,
    "NoSuchKey": NotFound,
    "NoSuchBucket": NotFound,
    "NoSuchTagSet": NotFound,
    "404": NotFound,
    "AWS.SimpleQueueService.NonExistentQueue": NotFound,
    "QueueDoesNotExist": NotFound,
    "AccessDenied": AccessDenied,
    "AccessDeniedException": AccessDenied,
    "UnrecognizedClientException": AccessDenied,
    "InvalidClientTokenId": AccessDenied,
    "ExpiredToken": AccessDenied,
    "ExpiredTokenException": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
}

_NO_CREDENTIALS = (
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.TokenRetrievalError,
    botocore.exceptions.SSOError,
    botocore.exceptions.ProfileNotFound,
)


def typed_error(service: str, operation: str, error: Exception) -> AwsError:
    """The typed form of what boto3 raised."""
    if isinstance(error, botocore.exceptions.ClientError):
        response: Any = error.response
        code = str(response.get("Error", {}).get("Code", "Unknown"))
        message = str(response.get("Error", {}).get("Message", ""))
        if code == "TransactionCanceledException":
            return TransactionCancelled(
                operation,
                tuple(
                    CancellationReason(str(reason.get("Code", "None")), reason.get("Item", {}))
                    for reason in response.get("CancellationReasons", [])
                ),
            )
        if code in ("ConditionalCheckFailedException", "PreconditionFailed"):
            return ConditionFailed(service, operation, code, message, item=response.get("Item"))
        kind = _BY_CODE.get(code)
        if kind is None and response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
            kind = Unavailable
        return (kind or AwsError)(service, operation, code, message)
    if isinstance(error, _NO_CREDENTIALS):
        return AccessDenied(service, operation, NO_CREDENTIALS, str(error))
    if isinstance(error, botocore.exceptions.ParamValidationError):
        return AwsError(service, operation, "ParamValidation", str(error))
    return Unavailable(service, operation, type(error).__name__, str(error))


class BotoAws:
    """Aws by boto3. What is called most, DynamoDB, SQS and Lambda, goes over connections of the running event loop, at
    most ``most`` at a time (``Sender``); the rest by boto3's clients, whose calls block, in as many threads.

    ``region`` is the session's own unless given. ``timeout`` is for how many seconds an answer is waited for, beyond
    what the call itself asks to wait (long polls): a connection that has died silently, as while a function's sandbox
    was frozen, costs that long.
    Every call is one request: callers know what may be repeated, the SDK does not. The ``Payload`` of responses of
    ``lambda.invoke`` is bytes.
    """

    def __init__(
        self,
        region: str | None = None,
        *,
        most: int = 32,
        timeout: float = 10.0,
        unsent: float = MAX_SECONDS_UNSENT,
        session: boto3.session.Session | None = None,
    ) -> None:
        self._session = session or boto3.session.Session()
        self._region = region
        self._most = most
        self._timeout = timeout
        self._unsent = unsent
        self._clients: dict[tuple[str, float], Any] = {}
        self._lock = threading.Lock()
        self._threads = _DaemonThreads(most)
        self._sender = Sender(self._session, region, most, self._threads)

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        submitted = boot_time()
        try:
            if service in SERVICES and (plan := await self._sender.plan(service, operation, parameters)):
                return await self._sender.send(
                    plan,
                    operation,
                    parameters,
                    submitted=submitted,
                    unsent=self._unsent,
                    answer=self._timeout + parameters.get("WaitTimeSeconds", 0),
                )
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._call, service, operation, parameters, submitted
            )
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise typed_error(service, operation, error) from error

    def prepare(self, *services: str) -> None:
        """Makes the clients of these, of which DynamoDB's alone takes some tenths of a second, before they are needed.
        Raises BotoCoreError."""
        self._sender.prepare(services)

    def close(self) -> None:
        """Calls under way end by themselves, unheard."""
        self._threads.shutdown()
        self._sender.close()

    def _call(self, service: str, operation: str, parameters: dict[str, Any], submitted: float) -> Response:
        client = self._client(service, parameters.get("WaitTimeSeconds", 0))
        waited = boot_time() - submitted
        if waited > self._unsent:
            raise NotSent(service, operation, "NotSent", f"waited {waited:.1f} s for its turn")
        response: Response = getattr(client, operation)(**parameters)
        if service == "s3" and operation == "get_object":
            response["Body"] = _content(parameters["Key"], response)
        elif service == "lambda" and operation == "invoke":
            response["Payload"] = response["Payload"].read()
        return response

    def _client(self, service: str, wait: float) -> Any:
        with self._lock:
            if (service, wait) not in self._clients:
                config = botocore.config.Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=self._timeout + wait,
                    retries={"total_max_attempts": 1, "mode": "standard"},
                    max_pool_connections=self._most,
                    tcp_keepalive=True,
                )
                # boto3's stubs know only literal service names
                make: Any = self._session.client  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                self._clients[service, wait] = make(service, region_name=self._region, config=config)
            return self._clients[service, wait]


def _content(key: str, response: Response) -> bytes:
    """Clients put objects of any size into the bucket, and name them to functions with little memory."""
    size = int(response["ContentLength"])
    if size > MAX_OBJECT_BYTES:
        response["Body"].close()
        raise TooLarge("s3", "get_object", "TooLarge", f"{key} has {size} bytes, {MAX_OBJECT_BYTES} at most")
    return bytes(response["Body"].read())


class Bounded:
    """At most ``most`` calls at a time, the others wait in order. For what a program does in bulk, so that there is a
    thread left for what must not wait: a gateway whose beat stands in line behind a thousand reads is taken for dead.
    """

    def __init__(self, aws: Aws, most: int) -> None:
        self._aws = aws
        self._free = asyncio.Semaphore(most)

    async def call(self, service: str, operation: str, **parameters: Any) -> Response:
        async with self._free:
            return await self._aws.call(service, operation, **parameters)


class _DaemonThreads(Executor):
    """A thread pool whose threads do not outlive the program: those of concurrent.futures are waited for at exit,
    and one in a long poll would hold it for 20 seconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def run() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:
                    future.set_exception(error)

        self._work.put(run)
        if not self._idle.acquire(blocking=False) and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._run, name=f"aws-{self._threads}", daemon=True).start()
        return future

    def shutdown(self, wait: bool = False, *, cancel_futures: bool = False) -> None:
        """Lets idle threads end, the others after their work; never waits."""
        for _ in range(self._threads):
            self._work.put(None)

    def _run(self) -> None:
        while (run := self._work.get()) is not None:
            run()
            del run  # and with it the result
            # before the wait for more: whoever submits from now on needs no new thread
            self._idle.release()
