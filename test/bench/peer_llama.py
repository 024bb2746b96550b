#!/usr/bin/env python3
"""llama.cpp in a benchmark: token ids in, pooled vectors out; see peer.py.

    peer_llama.py MODEL.gguf CACHE_FOLDER

MODEL.gguf is f32; llama.cpp itself makes the other types of it, once, into the cache.  Build llama-cpp-python
on the machine that is measured (GGML_NATIVE=ON).  Sequences go into one batch while it has at most
so many tokens; several such numbers are tried.  Its flash attention is on: without, it is slower at every length.
"""

import ctypes
import os
import sys

import peer

try:
    import llama_cpp as llama
except (ImportError, RuntimeError, OSError) as error:
    sys.exit(f"llama.cpp is not measured: {error}")

source, cache = sys.argv[1:3]
TYPES = {"f16": llama.LLAMA_FTYPE_MOSTLY_F16, "q8_0": llama.LLAMA_FTYPE_MOSTLY_Q8_0, "q4_0": llama.LLAMA_FTYPE_MOSTLY_Q4_0}
BATCH_TOKENS = 1024
FLASH_ATTENTION = 1


@llama.llama_log_callback
def no_log(level, text, data):
    pass


def file_of(name):
    path = os.path.join(cache, name + ".gguf")
    if not os.path.exists(path):
        params = llama.llama_model_quantize_default_params()
        params.ftype = TYPES[name]
        if llama.llama_model_quantize(source.encode(), path.encode(), ctypes.byref(params)) != 0:
            sys.exit(f"llama.cpp made no {name} of {source}")
    return path


models = {}
contexts = {}


def get_context(name):
    if name not in models:
        models[name] = llama.llama_model_load_from_file(file_of(name).encode(), llama.llama_model_default_params())
    if name not in contexts:
        params = llama.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = BATCH_TOKENS
        params.n_seq_max = 64
        params.embeddings = True
        params.pooling_type = llama.LLAMA_POOLING_TYPE_MEAN
        params.flash_attn_type = FLASH_ATTENTION
        contexts[name] = llama.llama_init_from_model(models[name], params)
    return contexts[name]


def make_batch(rows):
    n_tokens = sum(map(len, rows))
    batch = llama.llama_batch_init(n_tokens, 0, 1)
    batch.n_tokens = n_tokens
    i = 0
    for sequence, row in enumerate(rows):
        for position, token in enumerate(row):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, 1
            batch.seq_id[i][0] = sequence
            i += 1
    return batch, len(rows)


def make_batches(rows, tokens):
    parts = [[]]
    for row in rows:
        if parts[-1] and (sum(map(len, parts[-1])) + len(row) > tokens or len(parts[-1]) == 64):
            parts.append([])
        parts[-1].append(row)
    return [make_batch(part) for part in parts]


def prepare(name, threads, path):
    # Ordered by length: its attention is over the whole batch.
    rows = sorted(peer.read_ids(path), key=len)
    sizes = {len(row) for row in rows}
    context = get_context(name)

    def way(batches):
        def embed():
            llama.llama_set_n_threads(context, threads, threads)
            for batch, n_sequences in batches:
                if llama.llama_encode(context, batch) != 0:
                    sys.exit("llama_encode() failed")
                for sequence in range(n_sequences):
                    llama.llama_get_embeddings_seq(context, sequence)

        return embed

    return [way(make_batches(rows, tokens)) for tokens in ((1, 128, 512) if len(sizes) == 1 else (256, 512))]


llama.llama_log_set(no_log, None)
llama.llama_backend_init()
os.makedirs(cache, exist_ok=True)
peer.serve(list(TYPES), prepare, peer.count_ids)
