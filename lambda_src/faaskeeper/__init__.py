"""FaaSKeeper: ZooKeeper's interface and guarantees on Lambda, DynamoDB, SQS and S3.

Layers, each importing only those to its left: ``znode`` (pure rules), ``protocol`` (what gateway and functions
say to each other), ``storage`` (DynamoDB, S3, SQS), ``functions`` (Lambda handlers).
"""

__version__ = "0.1.0"
