#!/usr/bin/env python3
"""ONNX Runtime in a benchmark: a BERT encoder, token ids in, pooled vectors out; see peer.py.

    peer_onnx.py MODEL_FOLDER CACHE_FOLDER

The model is written as ONNX once, into the cache, in two forms: as it is ("unfused": ONNX Runtime fuses what it
finds when it loads it), and after onnxruntime.transformers.optimizer ("fused": EmbedLayerNormalization,
Attention, SkipLayerNormalization, BiasGelu).  int8 is quantize_dynamic() of either, with signed weights, a scale
per channel: unsigned ones are slower where there is VNNI, one scale per tensor is no faster.

The network is written out here, since exports of transformers' own classes have a form in which the
optimizer finds no attention.  A row's padding is masked; rows of one length, or the whole file in
order in batches of 32 where lengths differ.  Pooling is the mean, normalized.
"""

import json
import math
import os
import sys

import peer

try:
    import numpy as np
    import onnxruntime
except ImportError as error:
    sys.exit(f"ONNX Runtime is not measured: {error}")

folder, cache = sys.argv[1:3]
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]
VARIANTS = {"f32": "unfused", "f32_fused": "fused", "int8": "unfused_int8", "int8_fused": "fused_int8"}


def build_network(config, tensors):
    import torch
    from torch import nn

    width, heads, inner = config["hidden_size"], config["num_attention_heads"], config["intermediate_size"]
    epsilon = config["layer_norm_eps"]

    def linear(name):
        weight = tensors[name + ".weight"]
        layer = nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": tensors[name + ".bias"]})
        return layer

    def norm(name):
        layer = nn.LayerNorm(width, epsilon)
        layer.load_state_dict({"weight": tensors[name + ".weight"], "bias": tensors[name + ".bias"]})
        return layer

    class Layer(nn.Module):
        def __init__(self, name):
            super().__init__()
            attention = name + "attention.self."
            self.query, self.key, self.value = (linear(attention + part) for part in ("query", "key", "value"))
            self.out, self.out_norm = linear(name + "attention.output.dense"), norm(name + "attention.output.LayerNorm")
            self.up, self.down = linear(name + "intermediate.dense"), linear(name + "output.dense")
            self.down_norm = norm(name + "output.LayerNorm")
            assert self.up.out_features == inner

        def split(self, x):
            return x.view(x.size()[:-1] + (heads, width // heads)).permute(0, 2, 1, 3)

        def forward(self, x, mask):
            query, key, value = (self.split(part(x)) for part in (self.query, self.key, self.value))
            scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(width // heads) + mask
            mixed = torch.matmul(torch.softmax(scores, -1), value).permute(0, 2, 1, 3).contiguous()
            x = self.out_norm(self.out(mixed.view(mixed.size()[:-2] + (width,))) + x)
            return self.down_norm(self.down(nn.functional.gelu(self.up(x))) + x)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            words, positions, types = (
                tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")
            )
            self.words, self.positions, self.types = (nn.Embedding.from_pretrained(x) for x in (words, positions, types))
            self.norm = norm("embeddings.LayerNorm")
            self.register_buffer("places", torch.arange(positions.shape[0]).expand((1, -1)))
            self.layers = nn.ModuleList(Layer(f"encoder.layer.{i}.") for i in range(config["num_hidden_layers"]))

        def forward(self, ids, mask, types):
            hidden = (1.0 - mask.unsqueeze(1).unsqueeze(2).to(torch.float32)) * -10000.0
            places = self.places[:, : ids.size()[1]]
            x = self.norm(self.words(ids) + self.types(types) + self.positions(places))
            for layer in self.layers:
                x = layer(x, hidden)
            return x

    return Encoder().eval()


def write_models():
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer
    from onnxruntime.transformers.fusion_options import FusionOptions
    from safetensors.torch import load_file

    with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    network = build_network(config, load_file(os.path.join(folder, "model.safetensors")))
    ids = torch.randint(1000, 2000, (2, 16))
    path = {name: os.path.join(cache, f"{name}.onnx") for name in VARIANTS.values()}
    axes = {name: {0: "batch", 1: "length"} for name in INPUTS + ["hidden"]}
    torch.onnx.export(network, (ids, torch.ones_like(ids), torch.zeros_like(ids)), path["unfused"], input_names=INPUTS,
                      output_names=["hidden"], dynamo=False, dynamic_axes=axes, opset_version=17)
    fused = optimizer.optimize_model(path["unfused"], model_type="bert", num_heads=config["num_attention_heads"],
                                     hidden_size=config["hidden_size"], opt_level=0,
                                     optimization_options=FusionOptions("bert"))
    found = {name: n for name, n in fused.get_fused_operator_statistics().items() if n > 0}
    print("ONNX Runtime, fused:", found, file=sys.stderr)
    fused.save_model_to_file(path["fused"])
    for name in ("unfused", "fused"):
        quantize_dynamic(path[name], path[name + "_int8"], per_channel=True, weight_type=QuantType.QInt8,
                         extra_options={"MatMulConstBOnly": True, "DefaultTensorType": 1})


sessions = {}


def get_session(variant, threads):
    key = (variant, threads)
    if key not in sessions:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        sessions[key] = onnxruntime.InferenceSession(
            os.path.join(cache, VARIANTS[variant] + ".onnx"), options, providers=["CPUExecutionProvider"])
    return sessions[key]


def make_batches(rows, size):
    batches = []
    for first in range(0, len(rows), size):
        part = rows[first : first + size]
        ids = np.zeros((len(part), max(map(len, part))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for i, row in enumerate(part):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        weights = (mask / mask.sum(1, keepdims=True)).astype(np.float32)[:, None, :]
        batches.append((dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)))), weights))
    return batches


def prepare(variant, threads, path):
    session = get_session(variant, threads)
    rows = peer.read_ids(path)
    uniform = len({len(row) for row in rows}) == 1
    sizes = [size for size in (1, 8, 16, 32, 64) if size <= len(rows)] if uniform else [32]

    def way(batches):
        def embed():
            for feed, weights in batches:
                vectors = np.matmul(weights, session.run(None, feed)[0])[:, 0]
                vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

        return embed

    return [way(make_batches(rows, size)) for size in sizes]


if not os.path.exists(os.path.join(cache, VARIANTS["int8_fused"] + ".onnx")):
    os.makedirs(cache, exist_ok=True)
    write_models()
peer.serve(list(VARIANTS), prepare, peer.count_ids)
