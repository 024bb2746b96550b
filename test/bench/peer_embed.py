#!/usr/bin/env python3
"""sentence-transformers in a benchmark: encode(), tokenization included; see peer.py.

    peer_embed.py MODEL_FOLDER

The batch size is the library's own default; it orders the texts by length itself.
"""

import os
import sys

import peer

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
try:
    import torch
    from sentence_transformers import SentenceTransformer
except ImportError as error:
    sys.exit(f"sentence-transformers is not measured: {error}")

model = SentenceTransformer(sys.argv[1], device="cpu")


def prepare(variant, threads, path):
    with open(path + ".txt", encoding="utf-8") as lines:
        texts = lines.read().splitlines()

    def encode():
        torch.set_num_threads(threads)
        model.encode(texts, show_progress_bar=False)

    return [encode]


peer.serve(["f32"], prepare, peer.count_ids)
