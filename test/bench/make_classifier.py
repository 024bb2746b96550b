#!/usr/bin/env python3
"""Train a classifier to compare labels with: a sentence encoder and a head, fine-tuned for a few minutes.

    make_classifier.py ENCODER_FOLDER DATA_FOLDER OUT_FOLDER [STEPS]

DATA_FOLDER has train.tsv or train.csv, a header and then text and label, and perhaps a dev file of the same kind; without one
every eighth row is held out.  OUT_FOLDER gets the model as BertForSequenceClassification, and heldout.txt and
heldout.labels, a row a line, for compare_labels.py.  Needs torch and transformers; no test needs it.
"""

import csv
import os
import random
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BATCH = 32
RATE = 1e-4


def read_rows(folder, name):
    for ending, delimiter in ((".tsv", "\t"), (".csv", ",")):
        path = os.path.join(folder, name + ending)
        if os.path.exists(path):
            quoting = csv.QUOTE_NONE if ending == ".tsv" else csv.QUOTE_MINIMAL
            with open(path, encoding="utf-8", newline="") as file:
                rows = list(csv.reader(file, delimiter=delimiter, quoting=quoting))[1:]
            return [(" ".join(row[0].split()), row[1]) for row in rows if len(row) >= 2]
    return []


def main():
    encoder, data, out = sys.argv[1:4]
    steps = int(sys.argv[4]) if len(sys.argv) > 4 else 250
    rng = random.Random(5)
    torch.manual_seed(5)
    torch.set_num_threads(1)
    rows, heldout = read_rows(data, "train"), read_rows(data, "dev")
    if not heldout:
        heldout, rows = rows[::8], [row for i, row in enumerate(rows) if i % 8 != 0]
    labels = sorted({label for _, label in rows})
    number = {label: i for i, label in enumerate(labels)}
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=len(labels), id2label=dict(enumerate(labels)), label2id=number)
    # Embeddings stay as they are: half of the parameters, and of the time of a step.
    model.base_model.embeddings.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / 30, 1 - step / steps))
    model.train()
    for step in range(steps):
        part = rng.sample(rows, BATCH)
        inputs = tokenizer([text for text, _ in part], padding=True, truncation=True, max_length=128, return_tensors="pt")
        loss = model(**inputs, labels=torch.tensor([number[label] for _, label in part])).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        if step % 10 == 9:
            print(f"step {step + 1}: loss {loss.item():.3f}", flush=True)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    with open(os.path.join(out, "heldout.txt"), "w", encoding="utf-8") as texts, \
            open(os.path.join(out, "heldout.labels"), "w", encoding="utf-8") as wanted:
        for text, label in heldout:
            texts.write(text.replace("\\", "\\\\") + "\n")
            wanted.write(label + "\n")


if __name__ == "__main__":
    main()
