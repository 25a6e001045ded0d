"""Data too large for a message goes into the bucket, and its key into the message (the claim check pattern)."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from faaskeeper.blocks.aws import Aws
from faaskeeper.blocks.blobs import write_blob
from faaskeeper.protocol.service import Service
from faaskeeper.storage.znode_blobs import data_key
from faaskeeper.znode.model import Blob, Data
from faaskeeper.znode.operations import Create, Multi, Operation, SetData


@dataclass(frozen=True, slots=True, eq=False)
class ClaimCheck:
    """``entropy`` makes the keys."""

    aws: Aws
    service: Service
    gateway_id: str
    entropy: random.Random

    async def check_in(self, operation: Operation) -> Operation:
        """The operation as it is sent: data of more than ``Service.blob_limit`` bytes is in the bucket then.
        Raises AwsError."""
        if isinstance(operation, Create | SetData):
            return replace(operation, data=await self._blob(operation.data))
        if isinstance(operation, Multi):
            parts = [await self.check_in(part) for part in operation.operations]
            return Multi(tuple(parts))  # type: ignore[arg-type]
        return operation

    async def _blob(self, data: Data) -> Data:
        if not isinstance(data, bytes) or len(data) <= self.service.blob_limit:
            return data
        key = data_key(self.service, self.gateway_id, self.entropy.getrandbits(128))
        await write_blob(self.aws, self.service, key, data)
        return Blob(key, len(data))
