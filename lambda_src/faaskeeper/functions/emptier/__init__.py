"""The emptier: a CloudFormation custom resource that empties the bucket before it is deleted."""

from faaskeeper.functions.emptier.function import handler as handler
