#!/usr/bin/env python3
"""Seconds that sentence-transformers takes to embed the lines of a file.

    peer_embed.py MODEL_FOLDER TEXTS THREADS

Loading and a warm-up are not counted.  The batch size is the library's own
default; it orders the texts by length itself.
"""

import sys
import time

import torch
from sentence_transformers import SentenceTransformer

folder, path, threads = sys.argv[1:4]
torch.set_num_threads(int(threads))
with open(path, encoding="utf-8") as lines:
    texts = lines.read().splitlines()
model = SentenceTransformer(folder, device="cpu")
model.encode(texts[:64], show_progress_bar=False)
began = time.perf_counter()
model.encode(texts, show_progress_bar=False)
print(f"{time.perf_counter() - began:.3f}")
