"""What gateways and functions say to each other: the service description, request and reply messages."""
