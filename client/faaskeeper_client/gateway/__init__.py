"""A ZooKeeper server for the clients beside it, with a FaaSKeeper service in place of its disk and its peers."""
