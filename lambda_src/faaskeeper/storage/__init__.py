"""What is in the three tables and the bucket, and how a transaction changes it.

``keys`` has the primary keys of all items, ``ledger`` the head that orders transactions; ``znodes`` and ``sessions``
are about the items of their tables. ``loading`` reads what a batch needs, ``commit`` plans its writes, ``journal``
carries out those too large for one TransactWriteItems; ``candidates``, ``leftovers`` and ``znode_blobs`` are what the
janitor looks at. Calls go through ``blocks.aws``. No rule of ZooKeeper is here (``znode``), and no order of work
(``functions``, the gateway).

Changes that an older reader cannot read raise DATA_VERSION (``protocol.service``).
"""
