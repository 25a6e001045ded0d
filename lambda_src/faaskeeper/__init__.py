"""FaaSKeeper: ZooKeeper's interface and guarantees on Lambda, DynamoDB, SQS and S3.

Layers, each importing only those to its left: ``znode`` (pure rules), ``protocol`` (what gateway and functions
say to each other), ``storage`` (DynamoDB, S3, SQS), ``functions`` (Lambda handlers).
"""

__version__ = "0.1.0"

PROJECT_URL = "https://faaskeeper.example"
"""Of the project's own site, without a slash at the end. Help texts, errors and alarms point there; a name that nobody
can own (RFC 2606) until there is one."""


def page(name: str) -> str:
    """The address of a page of ``docs/``, such as ``runbook.md#queue-age``."""
    return f"{PROJECT_URL}/docs/{name}"
