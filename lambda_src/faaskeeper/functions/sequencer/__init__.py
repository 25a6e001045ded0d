"""The sequencer: commits the requests of all gateways in one order. It is the only writer of znodes.

``function`` is the Lambda handler, ``sequencer`` commits batches, ``batch`` applies requests to what storage holds,
``announcer`` sends replies and hints. The rules of ZooKeeper are in ``faaskeeper.znode``, not here.
"""

from faaskeeper.functions.sequencer.function import handler as handler
