"""The simulated SQS: FIFO and standard queues, long polls, receipts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from faaskeeper.blocks.aws import Response
from faaskeeper.blocks.errors import AwsError, NotFound, Throttled

from .faults import FaultKind, Faults
from .limits import FIFO_CALLS, Limits
from .loop import SimulationLoop
from .queues import NEVER, FifoQueue, Message, Queue, Settings, StandardQueue
from .service import EPOCH, Answer, invalid
from .usage import Usage

URL_PREFIX: Final = "https://sqs.simulated/000000000000/"
MAX_MESSAGE: Final = 1024 * 1024
MAX_VISIBILITY: Final = 43_200
_BILLED_CHUNK: Final = 64 * 1024
_BATCH: Final = 10
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,75}(\.fifo)?")
_FORBIDDEN_CHARACTER: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")


@dataclass(slots=True, eq=False)
class Wait:
    """A receive under way, not yet answered."""

    queue: Queue
    limit: int
    visibility: float
    answer: Callable[[list[Message]], None]
    until: float = NEVER


@dataclass(slots=True)
class Sqs:
    loop: SimulationLoop
    faults: Faults
    usage: Usage
    limits: Limits
    chance: random.Random = field(init=False)
    _queues: dict[str, Queue] = field(default_factory=dict[str, Queue])
    _waiting: dict[Queue, list[Wait]] = field(default_factory=dict[Queue, list[Wait]])
    _alarms: dict[Queue, float] = field(default_factory=dict[Queue, float])
    _receipts: dict[str, tuple[Queue, Message]] = field(default_factory=dict[str, tuple[Queue, Message]])
    expendable: Callable[[str, str], bool] = lambda queue, body: False
    """Whether a message, by its queue's name and its body, is one that may be lost."""
    _serial: Iterator[int] = field(default_factory=lambda: iter(range(1, 1 << 62)))

    def __post_init__(self) -> None:
        self.chance = self.loop.stream("sqs")

    def call(self, operation: str, parameters: dict[str, Any], sent: float) -> Answer:
        """Raises AwsError."""
        method: Callable[[str, dict[str, Any]], Answer] | None = getattr(self, f"_{operation}", None)
        if method is None:
            raise AwsError("sqs", operation, "NotSimulated", "this operation is not simulated")
        url = str(parameters.get("QueueUrl", ""))
        kind = operation.removesuffix("_batch")
        if url.endswith(".fifo") and not self.limits.admit(self.loop.time(), (url, kind), FIFO_CALLS, 1.0):
            raise Throttled("sqs", operation, "RequestThrottled", f"over {FIFO_CALLS:.0f} calls a second")
        return method(operation, parameters)

    def url(self, name: str) -> str:
        return URL_PREFIX + name

    def messages(self, name: str) -> list[Message]:
        """What is in a queue, in flight or not; for assertions."""
        return self._queues[name].messages()

    def queue(self, operation: str, url: str) -> Queue:
        """Raises NotFound, AwsError."""
        if not url.startswith(URL_PREFIX):
            raise AwsError("sqs", operation, "InvalidAddress", f"The address {url!r} is not valid")
        return self.named(operation, url.removeprefix(URL_PREFIX))

    def named(self, operation: str, name: str) -> Queue:
        """By name, ARN or URL. Raises NotFound."""
        queue = self._queues.get(re.split("[/:]", name)[-1])
        if queue is None or not self._known(queue):
            raise NotFound("sqs", operation, "AWS.SimpleQueueService.NonExistentQueue", name)
        return queue

    def _known(self, queue: Queue) -> bool:
        """Whether this call finds the queue, which for a new one is not certain."""
        return self.loop.time() >= queue.known_from or not self.faults.active or self.faults.share() < 0.5

    # queues

    def _create_queue(self, operation: str, parameters: dict[str, Any]) -> Response:
        name = parameters["QueueName"]
        attributes = {key: str(value) for key, value in parameters.get("Attributes", {}).items()}
        fifo = attributes.get("FifoQueue") == "true"
        if not _NAME.fullmatch(name) or len(name) > 80 or name.endswith(".fifo") != fifo:
            raise invalid("sqs", operation, f"queue name {name!r} with FifoQueue={fifo}")
        existing = self._queues.get(name)
        if existing is not None:
            if existing.attributes != attributes:
                raise AwsError("sqs", operation, "QueueAlreadyExists", name)
            return {"QueueUrl": self.url(name)}
        settings = Settings()
        queue: Queue = (
            FifoQueue(name, settings, self.loop.time(), self.chance)
            if fifo
            else StandardQueue(name, settings, self.loop.time())
        )
        queue.tags.update(parameters.get("tags", {}))
        new = self.faults.strike(FaultKind.NEW_QUEUE, name)
        if new is not None:
            queue.known_from = self.loop.time() + new.seconds
        self._configure(operation, queue, attributes)
        self._queues[name] = queue
        return {"QueueUrl": self.url(name)}

    def _configure(self, operation: str, queue: Queue, attributes: dict[str, str]) -> None:
        settings = queue.settings
        for name, value in attributes.items():
            match name:
                case "VisibilityTimeout":
                    settings.visibility_timeout = _whole(operation, name, value, 0, MAX_VISIBILITY)
                case "DelaySeconds":
                    settings.delay = _whole(operation, name, value, 0, 900)
                case "MessageRetentionPeriod":
                    settings.retention = _whole(operation, name, value, 60, 1_209_600)
                case "ReceiveMessageWaitTimeSeconds":
                    settings.wait = _whole(operation, name, value, 0, 20)
                case "ContentBasedDeduplication":
                    settings.content_based_deduplication = value == "true"
                case "RedrivePolicy":
                    policy = json.loads(value)
                    settings.max_receives = int(policy["maxReceiveCount"])
                    settings.dead_letters = policy["deadLetterTargetArn"]
                case "FifoQueue" | "MaximumMessageSize" | "SqsManagedSseEnabled" | "KmsMasterKeyId" | "Policy":
                    pass
                case "RedriveAllowPolicy" | "KmsDataKeyReusePeriodSeconds":
                    pass
                case _:
                    raise AwsError("sqs", operation, "InvalidAttributeName", f"Unknown Attribute {name}.")
        queue.attributes.update(attributes)

    def _set_queue_attributes(self, operation: str, parameters: dict[str, Any]) -> Response:
        self._configure(operation, self.queue(operation, parameters["QueueUrl"]), parameters["Attributes"])
        return {}

    def _delete_queue(self, operation: str, parameters: dict[str, Any]) -> Response:
        queue = self.queue(operation, parameters["QueueUrl"])
        del self._queues[queue.name]
        for message in queue.messages():
            message.deleted = True
        for wait in self._waiting.pop(queue, []):
            wait.answer([])
        return {}

    def _list_queues(self, operation: str, parameters: dict[str, Any]) -> Response:
        prefix = parameters.get("QueueNamePrefix", "")
        after = parameters.get("NextToken", "")
        names = sorted(
            name
            for name, queue in self._queues.items()
            if name.startswith(prefix) and name > after and self._known(queue)
        )
        limit = parameters.get("MaxResults", 1000)
        page = names[:limit]
        response: Response = {"QueueUrls": [self.url(name) for name in page]} if page else {}
        if len(names) > limit and "MaxResults" in parameters:  # else the rest is cut off silently, as on AWS
            response["NextToken"] = page[-1]
        return response

    def _get_queue_url(self, operation: str, parameters: dict[str, Any]) -> Response:
        return {"QueueUrl": self.url(self.named(operation, parameters["QueueName"]).name)}

    def _get_queue_attributes(self, operation: str, parameters: dict[str, Any]) -> Response:
        queue = self.queue(operation, parameters["QueueUrl"])
        now = self.loop.time()
        messages = queue.messages()
        in_flight = sum(message.in_flight(now) for message in messages)
        delayed = sum(message.visible_at > now and not message.receives for message in messages)
        attributes = {
            "ApproximateNumberOfMessages": str(len(messages) - in_flight - delayed),
            "ApproximateNumberOfMessagesNotVisible": str(in_flight),
            "ApproximateNumberOfMessagesDelayed": str(delayed),
            "CreatedTimestamp": str(int(EPOCH + queue.created)),
            "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{queue.name}",
            "VisibilityTimeout": str(int(queue.settings.visibility_timeout)),
            **queue.attributes,
        }
        wanted = parameters.get("AttributeNames", [])
        return {"Attributes": {k: v for k, v in attributes.items() if "All" in wanted or k in wanted}}

    def _list_queue_tags(self, operation: str, parameters: dict[str, Any]) -> Response:
        return {"Tags": dict(self.queue(operation, parameters["QueueUrl"]).tags)}

    def _tag_queue(self, operation: str, parameters: dict[str, Any]) -> Response:
        self.queue(operation, parameters["QueueUrl"]).tags.update(parameters["Tags"])
        return {}

    # sending

    def _send_message(self, operation: str, parameters: dict[str, Any]) -> Response:
        queue = self.queue(operation, parameters["QueueUrl"])
        accepted = self._accept(operation, queue, parameters)
        self._bill(queue, len(parameters["MessageBody"].encode()))
        self._settle(queue)
        return _sent(accepted, parameters["MessageBody"])

    def _send_message_batch(self, operation: str, parameters: dict[str, Any]) -> Response:
        queue = self.queue(operation, parameters["QueueUrl"])
        entries = self._entries(operation, parameters)
        size = sum(len(entry["MessageBody"].encode()) for entry in entries)
        if size > MAX_MESSAGE:
            raise AwsError("sqs", operation, "BatchRequestTooLong", f"{size} bytes; {MAX_MESSAGE} are allowed")
        self._bill(queue, size)

        def send(entry: dict[str, Any]) -> Response:
            return _sent(self._accept(operation, queue, entry), entry["MessageBody"])

        response = self._one_by_one(operation, entries, send)
        self._settle(queue)
        return response

    def _accept(self, operation: str, queue: Queue, parameters: dict[str, Any]) -> Message:
        body = parameters["MessageBody"]
        size = len(body.encode())
        if not 1 <= size <= MAX_MESSAGE:
            raise invalid("sqs", operation, f"message of {size} bytes; 1 to {MAX_MESSAGE} are allowed")
        if _FORBIDDEN_CHARACTER.search(body):
            raise AwsError("sqs", operation, "InvalidMessageContents", "a character that XML does not allow")
        now = self.loop.time()
        delay = parameters.get("DelaySeconds")
        group = parameters.get("MessageGroupId", "")
        deduplication_id = parameters.get("MessageDeduplicationId", "")
        if isinstance(queue, FifoQueue):
            if delay is not None:
                raise invalid("sqs", operation, "DelaySeconds is not valid for a message of a FIFO queue")
            if not _TOKEN.fullmatch(group):
                raise invalid("sqs", operation, f"MessageGroupId {group!r}")
            if not deduplication_id and queue.settings.content_based_deduplication:
                deduplication_id = hashlib.sha256(body.encode()).hexdigest()
            if not _TOKEN.fullmatch(deduplication_id):
                raise invalid("sqs", operation, f"MessageDeduplicationId {deduplication_id!r}")
        elif delay is not None and not 0 <= delay <= 900:
            raise invalid("sqs", operation, f"DelaySeconds {delay} is not in 0 to 900")
        visible_at = now + (queue.settings.delay if delay is None else delay)
        fifo = isinstance(queue, FifoQueue)
        late = self.faults.strike(FaultKind.LATE_MESSAGE, lambda: f"{queue.name} {body[:40]}")
        if late is not None:
            visible_at += late.seconds if fifo or not delay else late.seconds * 12
        message = Message(
            self._name(), body, dict(parameters.get("MessageAttributes", {})), now, visible_at, group, deduplication_id
        )
        may_lose = FaultKind.LOST_HINT in self.faults.rates and not fifo and self.expendable(queue.name, body)
        if may_lose and self.faults.happens(FaultKind.LOST_HINT, queue.name):
            return message
        accepted = queue.add(message)
        if not fifo:
            doubled = self.faults.strike(FaultKind.DUPLICATE, lambda: f"{queue.name} {body[:40]}")
            if doubled is not None:
                queue.add(Message(message.id, body, message.attributes, now, visible_at + doubled.seconds, group))
        return accepted

    # receiving

    def _receive_message(self, operation: str, parameters: dict[str, Any]) -> Answer:
        queue = self.queue(operation, parameters["QueueUrl"])
        limit = parameters.get("MaxNumberOfMessages", 1)
        wait = parameters.get("WaitTimeSeconds", queue.settings.wait)
        visibility = parameters.get("VisibilityTimeout", queue.settings.visibility_timeout)
        if not 1 <= limit <= _BATCH or not 0 <= wait <= 20 or not 0 <= visibility <= MAX_VISIBILITY:
            raise invalid("sqs", operation, f"MaxNumberOfMessages={limit} WaitTimeSeconds={wait}")
        future: asyncio.Future[Response] = self.loop.create_future()
        wanted = parameters.get("MessageSystemAttributeNames", parameters.get("AttributeNames", []))

        def answer(messages: list[Message]) -> None:
            self._bill(queue, sum(len(message.body.encode()) for message in messages))
            shown = [_received(message, wanted) for message in messages]
            future.set_result({"Messages": shown} if shown else {})

        self.wait(Wait(queue, limit, visibility, answer, self.loop.time() + wait))
        return future

    def wait(self, wait: Wait) -> None:
        """Answers when there are messages, or at ``wait.until`` with none."""
        self._waiting.setdefault(wait.queue, []).append(wait)
        if wait.until != NEVER:
            self.loop.call_at(wait.until, self._expire, wait)
        self._settle(wait.queue)

    def _expire(self, wait: Wait) -> None:
        waiting = self._waiting.get(wait.queue, [])
        if wait in waiting:
            waiting.remove(wait)
            wait.answer([])

    def _settle(self, queue: Queue) -> None:
        """Answers the waiting receives as far as there are messages; looks again when the next one turns visible."""
        waiting = self._waiting.get(queue)
        if not waiting or queue.name not in self._queues:
            return
        now = self.loop.time()
        self._drop_old(queue, now)
        while waiting:
            messages = queue.receivable(now)
            if not messages:
                break
            wait = waiting.pop(0 if len(waiting) == 1 else self.chance.randrange(len(waiting)))
            wait.answer(self._deliver(queue, messages, wait, now))
        if waiting:
            change = queue.next_change(now)
            if change < self._alarms.get(queue, NEVER):
                self._alarms[queue] = change
                self.loop.call_at(change, self._alarm, queue, change)

    def _alarm(self, queue: Queue, when: float) -> None:
        if self._alarms.get(queue) == when:
            del self._alarms[queue]
        self._settle(queue)

    def _deliver(self, queue: Queue, messages: list[Message], wait: Wait, now: float) -> list[Message]:
        if not isinstance(queue, FifoQueue) and self.faults.happens(FaultKind.REORDER, queue.name):
            self.chance.shuffle(messages)
        count = min(wait.limit, len(messages))
        if count > 1 and self.faults.happens(FaultKind.SMALL_RECEIVE, queue.name):
            count = self.chance.randint(1, count)
        chosen: list[Message] = []
        for message in messages[:count]:
            if self._to_dead_letters(queue, message):
                continue
            message.receives += 1
            message.first_received = message.first_received or now
            message.visible_at = now + wait.visibility
            message.receipt = f"receipt-{self._name()}"
            self._receipts[message.receipt] = (queue, message)
            chosen.append(message)
        return chosen

    def _to_dead_letters(self, queue: Queue, message: Message) -> bool:
        if not queue.settings.max_receives or message.receives < queue.settings.max_receives:
            return False
        queue.remove(message)
        target = self.named("receive_message", queue.settings.dead_letters)
        target.add(
            Message(
                message.id,
                message.body,
                message.attributes,
                message.sent_at,
                self.loop.time(),
                message.group,
                message.deduplication_id,
            )
        )
        self._settle(target)
        return True

    def _drop_old(self, queue: Queue, now: float) -> None:
        while expired := queue.expired(now):
            for message in expired:
                queue.remove(message)

    # receipts

    def _delete_message(self, operation: str, parameters: dict[str, Any]) -> Response:
        queue = self.queue(operation, parameters["QueueUrl"])
        self._bill(queue, 0)
        self.delete(operation, queue, parameters["ReceiptHandle"])
        return {}

    def _delete_message_batch(self, operation: str, parameters: dict[str, Any]) -> Response:
        queue = self.queue(operation, parameters["QueueUrl"])
        self._bill(queue, 0)

        def delete(entry: dict[str, Any]) -> Response:
            self.delete(operation, queue, entry["ReceiptHandle"])
            return {}

        return self._one_by_one(operation, self._entries(operation, parameters), delete)

    def delete(self, operation: str, queue: Queue, receipt: str) -> None:
        """Raises AwsError for a receipt that a FIFO queue no longer accepts."""
        message = self._message(operation, queue, receipt)
        if message is None or message.deleted:
            return
        if isinstance(queue, FifoQueue) and not message.in_flight(self.loop.time()):
            raise invalid("sqs", operation, f"Value {receipt} for parameter ReceiptHandle is invalid: it has expired")
        message.deleted = True
        queue.remove(message)
        self._settle(queue)

    def _change_message_visibility(self, operation: str, parameters: dict[str, Any]) -> Response:
        queue = self.queue(operation, parameters["QueueUrl"])
        self._bill(queue, 0)
        self.change_visibility(operation, queue, parameters["ReceiptHandle"], parameters["VisibilityTimeout"])
        return {}

    def _change_message_visibility_batch(self, operation: str, parameters: dict[str, Any]) -> Response:
        queue = self.queue(operation, parameters["QueueUrl"])
        self._bill(queue, 0)

        def change(entry: dict[str, Any]) -> Response:
            self.change_visibility(operation, queue, entry["ReceiptHandle"], entry["VisibilityTimeout"], settle=False)
            return {}

        response = self._one_by_one(operation, self._entries(operation, parameters), change)
        self._settle(queue)
        return response

    def change_visibility(
        self, operation: str, queue: Queue, receipt: str, seconds: float, *, settle: bool = True
    ) -> None:
        """Raises AwsError where the message is not in flight under this receipt."""
        if not 0 <= seconds <= MAX_VISIBILITY:
            raise invalid("sqs", operation, f"VisibilityTimeout {seconds} is not in 0 to {MAX_VISIBILITY}")
        message = self._message(operation, queue, receipt)
        now = self.loop.time()
        if message is None or message.deleted or not message.in_flight(now):
            raise AwsError("sqs", operation, "MessageNotInflight", receipt)
        message.visible_at = now + seconds
        if settle:
            self._settle(queue)

    def _message(self, operation: str, queue: Queue, receipt: str) -> Message | None:
        """The message of a receipt, None if the receipt is an earlier delivery's of a standard queue's message."""
        of, message = self._receipts.get(receipt, (None, None))
        if message is None or of is not queue:
            raise AwsError("sqs", operation, "ReceiptHandleIsInvalid", receipt)
        if message.receipt == receipt:
            return message
        if isinstance(queue, FifoQueue):
            raise invalid("sqs", operation, f"Value {receipt} for parameter ReceiptHandle is invalid: it has expired")
        return None

    # batches and billing

    def _entries(self, operation: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = parameters["Entries"]
        if not 1 <= len(entries) <= _BATCH:
            raise AwsError("sqs", operation, "TooManyEntriesInBatchRequest", f"{len(entries)} entries")
        if len({entry["Id"] for entry in entries}) < len(entries):
            raise AwsError("sqs", operation, "BatchEntryIdsNotDistinct", str([entry["Id"] for entry in entries]))
        return entries

    def _one_by_one(
        self, operation: str, entries: list[dict[str, Any]], action: Callable[[dict[str, Any]], Response]
    ) -> Response:
        """Each entry of a batch succeeds or fails for itself."""
        response: Response = {"Successful": [], "Failed": []}
        for entry in entries:
            try:
                if self.faults.happens(FaultKind.PARTIAL_BATCH, lambda entry=entry: f"sqs {operation} {entry['Id']}"):
                    raise AwsError("sqs", operation, "InternalError", "this entry failed")
                response["Successful"].append({"Id": entry["Id"], **action(entry)})
            except AwsError as error:
                sender = error.code != "InternalError"
                response["Failed"].append(
                    {"Id": entry["Id"], "Code": error.code, "Message": error.message, "SenderFault": sender}
                )
        return response

    def _bill(self, queue: Queue, size: int) -> None:
        kind = "sqs.fifo" if isinstance(queue, FifoQueue) else "sqs.standard"
        self.usage.add(kind, max(1, math.ceil(size / _BILLED_CHUNK)))

    def _name(self) -> str:
        return f"{next(self._serial):08d}-{self.chance.getrandbits(32):08x}"


def _whole(operation: str, name: str, value: str, low: int, high: int) -> int:
    if not value.isdigit() or not low <= int(value) <= high:
        raise AwsError("sqs", operation, "InvalidAttributeValue", f"{name} {value!r} is not in {low} to {high}")
    return int(value)


def _sent(message: Message, body: str) -> Response:
    response = {"MessageId": message.id, "MD5OfMessageBody": hashlib.md5(body.encode()).hexdigest()}
    if message.sequence_number:
        response["SequenceNumber"] = message.sequence_number
    return response


def system_attributes(message: Message) -> dict[str, str]:
    attributes = {
        "ApproximateReceiveCount": str(message.receives),
        "SentTimestamp": str(int((EPOCH + message.sent_at) * 1000)),
        "ApproximateFirstReceiveTimestamp": str(int((EPOCH + message.first_received) * 1000)),
        "SenderId": "simulated",
    }
    if message.sequence_number:
        attributes["SequenceNumber"] = message.sequence_number
        attributes["MessageGroupId"] = message.group
        attributes["MessageDeduplicationId"] = message.deduplication_id
    return attributes


def _received(message: Message, wanted: list[str]) -> Response:
    response: Response = {
        "MessageId": message.id,
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "MD5OfBody": hashlib.md5(message.body.encode()).hexdigest(),
    }
    attributes = system_attributes(message)
    shown = {name: value for name, value in attributes.items() if "All" in wanted or name in wanted}
    if shown:
        response["Attributes"] = shown
    if message.attributes:
        response["MessageAttributes"] = dict(message.attributes)
    return response
