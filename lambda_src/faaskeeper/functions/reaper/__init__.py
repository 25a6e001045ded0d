"""The reaper: finds gateways that stopped beating, and has their sessions expired.

``function`` is the Lambda handler, ``expiry`` looks at what a timer names. It deletes no znode: it asks the sequencer.
"""

from faaskeeper.functions.reaper.function import handler as handler
