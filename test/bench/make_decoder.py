#!/usr/bin/env python3
"""A decoder with the shape of Qwen2.5-0.5B and random weights, as GGUF, for measuring.

    make_decoder.py VOCABULARY.gguf MODEL.gguf [--layers N]

VOCABULARY.gguf is a vocabulary-only file with byte-level BPE; words are added to it until there are as many as that model has.
llama-quantize makes the other types of the result (f16). Needs gguf and numpy.
"""

import argparse

import gguf
import numpy as np

WORDS, HIDDEN, HEADS, KEY_HEADS, SIZE, INTERMEDIATE = 151936, 896, 14, 2, 64, 4864


def copy_tokenizer(source, writer):
    fields = gguf.GGUFReader(source).fields

    def strings(name):
        field = fields[name]
        return [bytes(field.parts[i]).decode("utf-8", "surrogateescape") for i in field.data]

    tokens = strings("tokenizer.ggml.tokens")
    types = [int(fields["tokenizer.ggml.token_type"].parts[i][0]) for i in fields["tokenizer.ggml.token_type"].data]
    known = set(tokens)
    for i in range(WORDS - len(tokens)):
        word = f"Ġword{i}x"
        assert word not in known
        tokens.append(word)
        types.append(1)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([t.encode("utf-8", "surrogateescape") for t in tokens])
    writer.add_token_types(types)
    writer.add_token_merges(strings("tokenizer.ggml.merges"))
    writer.add_bos_token_id(50256)
    writer.add_eos_token_id(50256)
    writer.add_add_bos_token(False)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("vocabulary")
    parser.add_argument("model")
    parser.add_argument("--layers", type=int, default=24)
    args = parser.parse_args()
    writer = gguf.GGUFWriter(args.model, "qwen2")
    writer.add_context_length(32768)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(args.layers)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(1)
    writer.add_vocab_size(WORDS)
    copy_tokenizer(args.vocabulary, writer)
    random = np.random.default_rng(1)

    def matrix(name, rows, cols):
        writer.add_tensor(name + ".weight", (random.standard_normal((rows, cols), dtype=np.float32) * 0.03).astype(np.float16))

    def vector(name, n, mean):
        writer.add_tensor(name, (mean + random.standard_normal(n, dtype=np.float32) * 0.05).astype(np.float32))

    matrix("token_embd", WORDS, HIDDEN)
    for i in range(args.layers):
        b = f"blk.{i}."
        vector(b + "attn_norm.weight", HIDDEN, 1)
        vector(b + "ffn_norm.weight", HIDDEN, 1)
        for part, rows in (("q", HEADS), ("k", KEY_HEADS), ("v", KEY_HEADS)):
            matrix(b + "attn_" + part, rows * SIZE, HIDDEN)
            vector(b + f"attn_{part}.bias", rows * SIZE, 0)
        matrix(b + "attn_output", HIDDEN, HEADS * SIZE)
        matrix(b + "ffn_gate", INTERMEDIATE, HIDDEN)
        matrix(b + "ffn_up", INTERMEDIATE, HIDDEN)
        matrix(b + "ffn_down", HIDDEN, INTERMEDIATE)
    vector("output_norm.weight", HIDDEN, 1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


main()
