"""A whole FaaSKeeper on this machine: AWS by an emulator, everything else as it is deployed."""

from faaskeeper_client.local.cloud import EmbeddedCloud, Worker
from faaskeeper_client.local.errors import CloudError

__all__ = ["CloudError", "EmbeddedCloud", "Worker"]
