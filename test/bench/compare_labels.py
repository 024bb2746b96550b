#!/usr/bin/env python3
"""Labels of a classifier in several types beside those in f32: how many are the same, and how many are right.

    compare_labels.py --model FOLDER --engine bench_engine [--types q8_0,int8,q4_0] [--limit N] [--bar 99.5]

FOLDER is what make_classifier.py wrote: a model, heldout.txt and heldout.labels.  Fails where q8_0 gives the label of f32 on
fewer rows than the bar, in percent.  Of rows whose label differs, the margin between the two best
logits in f32 is shown, the largest of all rows: a label that flips where it was clear would be an error, not rounding.
"""

import argparse
import array
import json
import os
import subprocess
import sys


def read_lines(path, limit):
    with open(path, encoding="utf-8") as file:
        return file.read().split("\n")[:-1][:limit]


def logits_of(args, texts, kind):
    out = os.path.join(args.work, "logits.f32")
    command = [args.engine, args.model, texts, "-j", "classify", "-q", kind, "-w", str(args.threads), "-o", out]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    numbers = array.array("f")
    with open(out, "rb") as file:
        numbers.frombytes(file.read())
    return numbers


def best_labels(logits, n_labels):
    rows = [logits[i : i + n_labels] for i in range(0, len(logits), n_labels)]
    return [max(range(n_labels), key=row.__getitem__) for row in rows], rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--types", default="bf16,q8_0,int8,q4_0")
    parser.add_argument("--work", default="/tmp")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bar", type=float, default=99.5)
    args = parser.parse_args()
    with open(os.path.join(args.model, "config.json"), encoding="utf-8") as file:
        names = json.load(file)["id2label"]
    lines = read_lines(os.path.join(args.model, "heldout.txt"), args.limit)
    wanted = read_lines(os.path.join(args.model, "heldout.labels"), args.limit)
    texts = os.path.join(args.work, "labels.txt")
    with open(texts, "w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in lines)
    exact, rows = best_labels(logits_of(args, texts, "f32"), len(names))
    ok = True
    for kind in ["f32", *args.types.split(",")]:
        found, _ = best_labels(logits_of(args, texts, kind), len(names))
        same = 100 * sum(a == b for a, b in zip(found, exact)) / len(lines)
        right = 100 * sum(names[str(a)] == b for a, b in zip(found, wanted)) / len(lines)
        margins = [rows[i][exact[i]] - rows[i][label] for i, label in enumerate(found) if label != exact[i]]
        failed = kind == "q8_0" and same < args.bar
        ok &= not failed
        print(f"{kind:5} {len(lines)} rows, same label as f32 {same:6.2f} %, right {right:6.2f} %, "
              f"largest margin lost {max(margins, default=0):.3f}{'  FAILED' if failed else ''}")
    sys.exit(0 if ok else 1)


if __name__ == "__main__":
    main()
