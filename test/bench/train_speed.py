#!/usr/bin/env python3
"""How fast training steps are, beside PyTorch in the same run, and what memory they take.

    train_speed.py MODEL [--tokens N,N,...] [--steps N] [--threads N] [--rounds N] [--option NAME=VALUE ...] [--bench BENCH_TRAIN]

MODEL is a folder of a BERT. For each N, batches of 32 texts of N tokens; for 0, of lengths mixed from 5 to 128, the same for both. A classifier
of 77 labels, f32, AdamW, dropout 0.1. PyTorch pads to the longest text of a batch. Rounds alternate, each in a process of its own;
printed are the best of the rounds and the most memory that a process had.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time

os.environ["HF_HUB_OFFLINE"] = "1"

BATCH, LABELS, UNCOUNTED = 32, 77, 2
SHORTEST, LONGEST = 5, 128
MASK = (1 << 64) - 1


def random_bits(stream, i):
    """Number i of a stream, as in base/random.h."""
    x = (stream + (i + 1) * 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def lengths(tokens, n):
    return [tokens or SHORTEST + (random_bits(1, i) * (LONGEST - SHORTEST + 1) >> 64) for i in range(n)]


def run_torch(args, tokens):
    import torch
    import transformers as tf

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = tf.BertForSequenceClassification.from_pretrained(args.model, num_labels=LABELS, dtype=torch.float32).train()
    groups = [dict(params=[p for p in model.parameters() if p.dim() > 1], weight_decay=0.01),
              dict(params=[p for p in model.parameters() if p.dim() == 1], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-5)
    sizes, seconds = lengths(tokens, (UNCOUNTED + args.steps) * BATCH), 0
    for step in range(UNCOUNTED + args.steps):
        rows = sizes[step * BATCH:(step + 1) * BATCH]
        ids = torch.randint(1000, 20000, (BATCH, max(rows)))
        mask = torch.arange(max(rows))[None, :] < torch.tensor(rows)[:, None]
        wanted = torch.arange(step * BATCH, (step + 1) * BATCH) % LABELS
        start = time.perf_counter()
        loss = torch.nn.functional.cross_entropy(model(input_ids=ids * mask, attention_mask=mask.long()).logits, wanted)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds += (time.perf_counter() - start) * (step >= UNCOUNTED)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{args.steps * BATCH / seconds:.1f} examples/s, {sum(sizes[UNCOUNTED * BATCH:]) / seconds:.0f} tokens/s, {seconds:.2f} s, peak {peak:.0f} MB")


def figures(command):
    """Examples a second and megabytes, of what a program prints."""
    result = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"([\d.]+) examples/s.* peak (\d+) MB", result.stdout)
    if found is None:
        sys.exit(result.stdout + result.stderr)
    return float(found[1]), int(found[2])


def compare(args, tokens):
    common = [args.model, "--steps", str(args.steps), "--threads", str(args.threads)]
    ours = [args.bench, args.model, "-s", str(tokens), "-n", str(args.steps), "-w", str(args.threads)]
    for option in args.option:
        ours += ["-o", option]
    commands = {"ours": ours, "torch": [sys.executable, __file__, *common, "--torch", str(tokens)]}
    best = {name: (0, 0) for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            speed, peak = figures(command)
            best[name] = max(best[name][0], speed), max(best[name][1], peak)
    print(f"{tokens or 'mixed':>5} tokens: " + ", ".join(f"{name} {speed:.1f} examples/s {peak} MB" for name, (speed, peak) in best.items()) +
          f"; speed {best['ours'][0] / best['torch'][0]:.2f}, memory {best['ours'][1] / best['torch'][1]:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--tokens", default="128,0")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--option", action="append", default=[], help="ours: NAME=VALUE of train/options.c")
    parser.add_argument("--bench", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../build/bench/gcc/bench_train"))
    parser.add_argument("--torch", type=int, help="PyTorch alone, with so many tokens")
    args = parser.parse_args()
    if args.torch is not None:
        run_torch(args, args.torch)
    else:
        for tokens in args.tokens.split(","):
            compare(args, int(tokens))


if __name__ == "__main__":
    main()
