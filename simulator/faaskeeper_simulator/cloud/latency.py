"""How long calls take: quantiles measured on AWS us-east-1, interpolated.

DynamoDB and S3 are the figures of the FaaSKeeper paper's artifact (``calibration/aws_latency.json`` in the design
material). SQS and Lambda were measured there only end to end (FIFO queue to function 24 ms, standard queue 40 ms,
asynchronous invocation 39 ms at the median); here that time is divided among send, delivery and start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_QUANTILES: Final = (0.0, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0)
_STEPS: Final = 256


class Curve:
    """A distribution by its quantiles in milliseconds at 0, 10, 50, 90, 99, 99.9 and 100 %."""

    def __init__(self, *milliseconds: float) -> None:
        self._seconds = [_interpolate(_QUANTILES, milliseconds, step / _STEPS) / 1000 for step in range(_STEPS + 1)]

    def at(self, share: float) -> float:
        """The quantile at ``share`` (0 to 1), in seconds."""
        position = share * _STEPS
        step = int(position)
        if step >= _STEPS:
            return self._seconds[_STEPS]
        low = self._seconds[step]
        return low + (self._seconds[step + 1] - low) * (position - step)


def _interpolate(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    for index in range(1, len(xs)):
        if x <= xs[index]:
            share = (x - xs[index - 1]) / (xs[index] - xs[index - 1])
            return ys[index - 1] + share * (ys[index] - ys[index - 1])
    return ys[-1]


DYNAMODB_READ: Final = Curve(3.84, 4.07, 4.25, 4.47, 6.23, 12.0, 18.7)
DYNAMODB_WRITE: Final = Curve(3.95, 4.19, 4.35, 4.60, 6.33, 20.0, 60.3)
TRANSACTION: Final = Curve(7.9, 8.4, 8.7, 9.2, 12.7, 40.0, 120.0)
S3_READ: Final = Curve(18.1, 19.4, 27.0, 38.6, 84.0, 440.0, 1065.0)
S3_WRITE: Final = Curve(14.8, 20.0, 26.8, 48.5, 90.0, 240.0, 770.0)
SQS: Final = Curve(3.0, 5.0, 7.5, 11.0, 50.0, 80.0, 120.0)
SSM: Final = Curve(8.0, 10.0, 14.0, 25.0, 60.0, 100.0, 200.0)
INVOKE: Final = Curve(10.0, 14.0, 18.0, 25.0, 60.0, 90.0, 150.0)
CALL_AND_RETURN: Final = Curve(0.6, 0.9, 1.4, 3.0, 16.0, 30.0, 60.0)
"""What a synchronous invocation takes besides the start of the function: an assumption. With FUNCTION_START it makes
10.4 ms at the median and 26 ms at p99."""

FIFO_DELIVERY: Final = Curve(1.0, 3.0, 7.0, 12.0, 60.0, 80.0, 100.0)
STANDARD_DELIVERY: Final = Curve(8.0, 15.0, 23.0, 30.0, 70.0, 100.0, 150.0)
FUNCTION_START: Final = Curve(3.0, 6.0, 9.0, 12.0, 20.0, 40.0, 60.0)
COLD_START: Final = Curve(150.0, 250.0, 400.0, 700.0, 1200.0, 2000.0, 3000.0)

CONTROL_PLANE: Final = Curve(10.0, 20.0, 40.0, 80.0, 150.0, 250.0, 500.0)

_DYNAMODB_WRITES: Final = {"put_item", "update_item", "delete_item", "batch_write_item"}
_TRANSACTIONS: Final = {"transact_write_items", "transact_get_items"}
_S3_WRITES: Final = {"put_object", "delete_object", "delete_objects"}
_SQS_CONTROL: Final = {"create_queue", "delete_queue", "list_queues", "get_queue_attributes", "set_queue_attributes"}

_WRITE_SIZES: Final = (0, 1024, 16384, 65536, 131072, 262144, 409550)
_WRITE_MEDIANS: Final = (1.0, 1.0, 1.2, 15.2, 40.7, 43.2, 94.3)


def of_call(service: str, operation: str, *, synchronous: bool = False) -> Curve:
    """What a call of this operation takes, its answer included, for small payloads; of a ``synchronous`` invocation,
    without what the function takes."""
    if synchronous:
        return CALL_AND_RETURN
    if service == "dynamodb":
        if operation in _TRANSACTIONS:
            return TRANSACTION
        return DYNAMODB_WRITE if operation in _DYNAMODB_WRITES else DYNAMODB_READ
    if service == "s3":
        return S3_WRITE if operation in _S3_WRITES else S3_READ
    if service == "sqs":
        return CONTROL_PLANE if operation in _SQS_CONTROL else SQS
    if service == "lambda":
        return INVOKE
    return SSM


def write_slowdown(size: int) -> float:
    """How many times longer DynamoDB takes to write an item of ``size`` bytes than one of 1 KB, at the median."""
    return _interpolate(_WRITE_SIZES, _WRITE_MEDIANS, size) if size > 1024 else 1.0
