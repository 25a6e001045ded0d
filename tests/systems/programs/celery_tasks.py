"""Tasks of a Celery whose broker is ZooKeeper; where that is, and the folder of results, stands in the environment."""

import os

from celery import Celery

app = Celery(
    "celery_tasks",
    broker=os.environ["CELERY_BROKER"],
    backend=f"file://{os.environ['CELERY_RESULTS']}",
)


@app.task
def add(first, second):
    return first + second


def main():
    results = [add.delay(number, number) for number in range(20)]
    sums = [result.get(timeout=120) for result in results]
    assert sums == [2 * number for number in range(20)], sums
    print("20 tasks done by a worker in another process")


if __name__ == "__main__":
    main()
