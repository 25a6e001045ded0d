"""The direct function: commits the requests of one gateway that calls it, and answers in its response.

What invokes a function cannot be told from inside, and whoever may call this one must not be able to pass off a batch
as the queue's. So it is a function of its own, which takes nothing but calls (``protocol.calls``) and trusts no caller.
"""

from faaskeeper.functions.direct.function import handler as handler
