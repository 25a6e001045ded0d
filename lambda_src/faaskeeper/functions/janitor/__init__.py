"""The janitor: removes, on a schedule, what nobody refers to any more.

``function`` is the Lambda handler, ``janitor`` takes turns under a lock, ``chores`` are the single steps. What a client
could notice, such as the deletion of a container, it asks the sequencer for.
"""

from faaskeeper.functions.janitor.function import handler as handler
