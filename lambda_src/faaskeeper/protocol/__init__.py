"""What gateways and functions say to each other.

``service`` describes a deployed service, ``messages`` are requests and replies, ``timers`` are delayed messages: each
as a dataclass, with its JSON. Whatever comes from a queue is checked here, for anybody with access may have sent it.
Nothing here calls AWS, and nothing here is ZooKeeper's wire protocol, which is ``faaskeeper_client.wire``. Changes that
an older reader cannot read raise PROTOCOL_VERSION.
"""
