"""Building blocks: what holds for any service made of DynamoDB, SQS, S3 and Lambda.

All calls to AWS go through ``aws`` (which sends by ``sender`` and ``connections``), with the errors of ``errors`` and
the repetitions of ``retry``. ``queues`` sends requests, replies and timers; ``blobs`` keeps what is too large for them;
``fan_out`` sends one message to many; ``primitives`` synchronize on single items; ``transactions`` reads many items as
of one moment. ``delivery`` hands messages to a function, ``committer`` applies those of an ordered queue, in
``invocation``'s time. ``parts`` says what a service must tell about itself.

What knows znodes, sessions or gateways does not belong here, and nothing here imports another folder of this package.
``docs/blueprint.md`` builds another service from these files.
"""
