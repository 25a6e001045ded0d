"""Building blocks of serverless services: what holds for any service made of DynamoDB, SQS, S3 and Lambda.

Here live the seam to AWS (``aws``) with its typed errors and retries, ordered queues and reply queues, claim checks in
a bucket, synchronization primitives on single items, transactions, a committer that applies an ordered queue exactly
once, delivery from SQS, metrics, and what all Lambda handlers share. Nothing here knows znodes, sessions or ZooKeeper:
``docs/blueprint.md`` builds another service from it.
"""
