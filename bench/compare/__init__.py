"""This service beside a real ZooKeeper and the published FaaSKeeper: ``make compare``."""
