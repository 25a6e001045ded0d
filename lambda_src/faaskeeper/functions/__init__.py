"""The Lambda functions, a folder each: ``sequencer``, ``notifier``, ``reaper``, ``janitor``, ``emptier``.

``function.py`` in each folder has the handler: it gets clients and service from the environment, turns the event into
calls, and lets an error escape only where Lambda is to bring the event again. The other files are the function's work,
which tests call without Lambda. Shared are ``environment`` (which service this is), ``requests`` (what functions send
to the sequencer) and ``metrics``. Functions do not import each other: one that wants something of another sends it a
message. Only the standard library and boto3 are here at run time. What a znode may become is decided in ``znode``, how
it is stored in ``storage``.
"""
