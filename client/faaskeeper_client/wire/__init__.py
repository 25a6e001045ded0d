"""ZooKeeper's wire protocol as pure code: bytes to values and back, no sockets, no clock."""
