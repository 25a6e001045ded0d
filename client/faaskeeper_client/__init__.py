"""ZooKeeper's protocol in front of a FaaSKeeper service: gateway, command line, embedded cloud."""
