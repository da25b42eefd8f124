"""Metaflow's S3 client, in an interpreter that has it: reads or puts many objects and prints what it measured as JSON.

It starts a process for each of its workers, of which METAFLOW_S3_WORKER_COUNT says how many (64 by default), and passes
everything through files; `tmproot` is in memory where there is such a folder, as its manual advises.
"""

import json
import os
import resource
import sys
import time

from metaflow import S3  # type: ignore[import-not-found,unused-ignore]


def main() -> None:
    """Do what the command line says: ``get|get-one|put root prefix count size passes``."""
    verb, root, prefix, count, size, passes = sys.argv[1:7]

    keys = [prefix] if verb == "get-one" else [f"{prefix}{number:06d}" for number in range(int(count))]
    body = os.urandom(int(size))
    seconds = []
    for _ in range(int(passes)):
        start = time.perf_counter()
        with S3(s3root=root, tmproot="/dev/shm" if os.access("/dev/shm", os.W_OK) else ".") as s3:
            if verb == "put":
                s3.put_many([(key, body) for key in keys])
                total = len(body) * len(keys)
            elif verb == "get-one":
                total = s3.get(prefix).size
            else:
                total = sum(each.size for each in s3.get_many(keys))
            seconds.append(time.perf_counter() - start)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    later = sorted(seconds[1:] or seconds)
    result = {
        "seconds": later[len(later) // 2],
        "first": seconds[0],
        "bytes": total,
        "peak_bytes": max(usage.ru_maxrss, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024,
        "cpu_seconds": (usage.ru_utime + usage.ru_stime) / int(passes),
    }
    print("\n" + json.dumps(result))


main()
