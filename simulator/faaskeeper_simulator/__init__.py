"""A deterministic simulation of the AWS services that FaaSKeeper runs on, and of clients that use it under faults.

``cloud`` is DynamoDB, SQS, S3 and Lambda in memory and in virtual time, every decision drawn from one seed; ``harness``
runs the real gateway and functions on it; ``workloads`` are what clients do; ``checker`` judges what they saw by the
four guarantees; ``mutants`` break the system on purpose, to test the checker. Nothing of the product imports this.
"""
