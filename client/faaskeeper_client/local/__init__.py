"""A whole FaaSKeeper on this machine: AWS by an emulator, everything else as it is deployed.

``cloud`` is the emulator as an object, with a service deployed to it: ``environment`` installs the emulator into an
environment of its own, ``emulator`` runs there, ``synthesize`` makes the template and ``deploy`` the stack. ``proxy``
and ``meter`` stand between a program and the emulator, to disturb its calls or to count and price them.

Tests, the demo and ``faaskeeper local`` use this; a gateway in production never does. It knows AWS and the stack, but
no znode, session or request. What is simulated in virtual time is not here: that is ``simulator/``.
"""

from faaskeeper_client.local.cloud import EmbeddedCloud, Worker
from faaskeeper_client.local.errors import CloudError

__all__ = ["CloudError", "EmbeddedCloud", "Worker"]
