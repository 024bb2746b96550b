"""What the peers of a benchmark have in common: requests from bench.py.

A peer is a program that stays and answers a line with a line:

    run VARIANT THREADS FILE SECONDS
        embed the rows of FILE.ids (token ids, a row a line) or FILE.txt again and again for
        SECONDS, once at least: best seconds, median seconds, rows, tokens

It says "ready VARIANT ..." first.  How rows are put into batches is the peer's to choose, for the
better: where several ways are given, each is tried once, and the fastest is kept for that file.
"""

import statistics
import sys
import time


def read_ids(path):
    with open(path + ".ids", encoding="ascii") as lines:
        return [[int(word) for word in line.split()] for line in lines]


def seconds_of(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def serve(variants, prepare, count_rows):
    """prepare(variant, threads, path): the ways to compute the file, each a function of no arguments."""
    chosen = {}
    print("ready", *variants, flush=True)
    for line in sys.stdin:
        _, variant, threads, path, seconds = line.split()
        key = (variant, threads, path)
        if key not in chosen:
            ways = prepare(variant, int(threads), path)
            for way in ways:
                way()
            chosen[key] = min(ways, key=seconds_of) if len(ways) > 1 else ways[0]
        passes = []
        until = time.perf_counter() + float(seconds)
        while not passes or time.perf_counter() < until:
            passes.append(seconds_of(chosen[key]))
        rows, tokens = count_rows(path)
        print(f"{min(passes):.9f} {statistics.median(passes):.9f} {rows} {tokens}", flush=True)


def count_ids(path):
    rows = read_ids(path)
    return len(rows), sum(map(len, rows))
