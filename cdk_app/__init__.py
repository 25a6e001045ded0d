"""The CDK app that deploys FaaSKeeper from a clone: settings from the command line, a stack for each region."""
