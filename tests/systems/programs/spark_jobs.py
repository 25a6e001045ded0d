"""A Spark application that outlives a master: a job for each line of its input, its sum printed."""

import sys

from pyspark.sql import SparkSession


def main(masters):
    spark = (
        SparkSession.builder.master(masters)
        .appName("jobs")
        .config("spark.executor.memory", "512m")
        .config("spark.cores.max", "1")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    for line in sys.stdin:
        print(spark.sparkContext.parallelize(range(int(line)), 4).sum(), flush=True)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
