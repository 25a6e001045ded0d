"""DynamoDB, S3 and SQS behind one seam (``aws.Aws``), and the synchronization primitives built on them."""
