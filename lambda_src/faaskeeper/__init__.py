"""FaaSKeeper: ZooKeeper's interface and guarantees on Lambda, DynamoDB, SQS and S3.

Folders, each of which imports only from those below it, and no files that import each other in a circle:

``functions``  the Lambda handlers, a folder each
``storage``    what is in the tables and the bucket, and how a transaction changes it
``protocol``   what gateways and functions say to each other
``znode``      ZooKeeper's rules, as pure functions
``blocks``     what any service made of DynamoDB, SQS, S3 and Lambda needs; imports none of the above

The gateway, which clients speak to, is the package ``faaskeeper_client``. ``docs/glossary.md`` explains the words.
"""

__version__ = "0.1.0"

PROJECT_URL = "https://faaskeeper.example"
"""Of the project's own site, without a slash at the end. Help texts, errors and alarms point there; a name that nobody
can own (RFC 2606) until there is one."""


def page(name: str) -> str:
    """The address of a page of ``docs/``, such as ``runbook.md#queue-age``."""
    return f"{PROJECT_URL}/docs/{name}"
