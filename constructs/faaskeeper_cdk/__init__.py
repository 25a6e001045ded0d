"""AWS CDK constructs that deploy FaaSKeeper, whole or block by block."""
