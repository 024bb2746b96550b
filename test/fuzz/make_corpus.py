#!/usr/bin/env python3
"""Make the seed corpora of the fuzz targets json, gguf, safetensors, template, gbnf and schema.

    python3 test/fuzz/make_corpus.py

Nothing but the standard library.  Writes test/fuzz/corpus/<target>/<seed>.
"""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q", I64: "q", F64: "d"}


def gguf_string(text):
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def gguf_value(kind, value):
    if kind == STRING:
        return gguf_string(value)
    if kind == ARRAY:
        item_kind, items = value
        return struct.pack("<IQ", item_kind, len(items)) + b"".join(gguf_value(item_kind, i) for i in items)
    return struct.pack("<" + FORMATS[kind], value)


def gguf(pairs, tensors=(), version=3, alignment=32):
    """pairs: (key, kind, value); tensors: (name, dims innermost first, type number, data)."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    for key, kind, value in pairs:
        out += gguf_string(key) + struct.pack("<I", kind) + gguf_value(kind, value)
    data = b""
    for name, dims, number, raw in tensors:
        data += b"\0" * (-len(data) % alignment)
        out += gguf_string(name) + struct.pack("<I", len(dims)) + struct.pack("<%dQ" % len(dims), *dims)
        out += struct.pack("<IQ", number, len(data))
        data += raw
    return out + b"\0" * (-len(out) % alignment) + data if tensors else out


def safetensors(tensors, meta=None, pad=0):
    header, data = {}, b""
    if meta:
        header["__metadata__"] = meta
    for name, dtype, shape, raw in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + data


JSON = {
    "object": b'{"a": {"b": {"c": [1, 2.5, -3e-7, true, false, null]}}, "text": "x\\u00e9\\ud83d\\ude00\\n"}',
    "numbers": b"[0, -0, 0.1, 1e308, 4.9e-324, 123456789012345678901234567890, 9007199254740993, 1E+2]",
    "nested": b"[" * 64 + b"]" * 64,
    "strings": '["\u00e9", "\u4e2d\u6587", "\U0001f600", "\\"\\\\\\/\\b\\f\\n\\r\\t"]'.encode(),
    "empty": b'{"":{},"a":[],"a":0}',
    "tokenizer": json.dumps({
        "version": "1.0", "added_tokens": [{"id": 0, "content": "[PAD]", "special": True}],
        "normalizer": {"type": "BertNormalizer", "lowercase": True}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[PAD]": 0, "[UNK]": 1, "a": 2, "##b": 3}}}).encode(),
}

GGUF = {
    "empty": gguf([]),
    "version2": gguf([("general.architecture", STRING, "bert")], version=2),
    "scalars": gguf([("u8", U8, 1), ("i8", I8, -1), ("u16", U16, 2), ("i16", I16, -2), ("u32", U32, 3), ("i32", I32, -3),
                     ("f32", F32, 0.5), ("bool", BOOL, True), ("string", STRING, "text"), ("u64", U64, 2**63),
                     ("i64", I64, -4), ("f64", F64, 0.1)]),
    "arrays": gguf([("tokens", ARRAY, (STRING, ["a", "b", ""])), ("scores", ARRAY, (F32, [0.0, -1.5])),
                    ("types", ARRAY, (I32, [1, 3])), ("nested", ARRAY, (ARRAY, [(U8, [1, 2]), (STRING, ["x"])])),
                    ("none", ARRAY, (STRING, []))]),
    "tensors": gguf([("general.alignment", U32, 32)],
                    [("a", [4, 2], 0, bytes(32)), ("b", [32], 8, bytes(34)), ("c", [256], 12, bytes(144)), ("d", [3], 1, bytes(6))]),
    "quantized": gguf([], [("q%d" % n, [256], n, bytes(range(size % 256)) + bytes(size - size % 256))
                           for n, size in ((2, 144), (3, 160), (6, 176), (7, 192), (8, 272),
                                           (10, 84), (11, 110), (12, 144), (13, 176), (14, 210))]),
    "aligned": gguf([("general.alignment", U32, 64)], [("w", [2, 2], 0, bytes(16)), ("v", [1], 28, bytes(8))], alignment=64),
}

SAFETENSORS = {
    "empty": safetensors([]),
    "simple": safetensors([("weight", "F32", [2, 2], bytes(16)), ("bias", "F16", [3], bytes(6))], {"format": "pt"}, 5),
    "types": safetensors([("f64", "F64", [1], bytes(8)), ("i64", "I64", [1, 1], bytes(8)), ("f32", "F32", [], bytes(4)),
                          ("i32", "I32", [1], bytes(4)), ("bf16", "BF16", [2], bytes(4)), ("i16", "I16", [1], bytes(2)),
                          ("u8", "U8", [3], b"abc"), ("i8", "I8", [1], b"x"), ("bool", "BOOL", [2], b"\0\1"),
                          ("none", "F32", [0, 7], b"")]),
    "odd": safetensors([("mask", "BOOL", [3], bytes(3)), ("w", "F32", [1, 2, 3], bytes(24))], {"a": "1", "\u00e9": "\u4e2d"}),
}

# A grammar or schema, a zero, and a text that is matched.
GBNF = {
    "choices": 'root ::= "yes" | "no"\0yes',
    "classes": 'root ::= [^a-y\\n\\]-] [\\x41-\\u00ff\\U0001F600]+ .\0zAé\n',
    "repetitions": 'root ::= "a"* ("b" "c"){2,3} [0-9]{4} "x"{1,}? (d | "")+\nd ::= "d"+\0aabcbc1234x',
    "arithmetic": 'root ::= e\ne ::= t ([+-] t)* # sums\nt ::= f ("*" f)*\nf ::= [0-9]+ | "(" e ")"\0(1+2)*3',
    "lines": 'root ::=\n  "a" |\n # between\n  "b" | (\n "c"\n)\n\0c',
    "left": 'root ::= a "x" | "b"\na ::= "y"? root\0b',
    "endless": 'root ::= "a" root\0a',
    "ambiguous": 'root ::= "a" root root | "a" root "b" | "a"\0aaabab',
    "large": 'root ::= ("a" "b"){0,90000}\0ab',
}
SCHEMA = {
    "object": json.dumps({"type": "object", "properties": {"a": {"type": "integer", "minimum": -5, "maximum": 1203}, "b\"é": {"type": "string", "minLength": 1, "maxLength": 9}},
                          "required": ["a"], "additionalProperties": {"type": "boolean"}}) + '\0{"a": 7, "z":true}',
    "numbers": json.dumps({"type": "array", "items": {"type": "number", "exclusiveMinimum": -1.25, "maximum": 2.5}, "minItems": 1, "maxItems": 4}) + "\0[1.5,-0.30]",
    "tuple": json.dumps({"type": "array", "prefixItems": [{"const": 1}, {"enum": ["x", None, [1]]}], "items": False}) + '\0[1,"x"]',
    "recursion": json.dumps({"$ref": "#/$defs/t", "$defs": {"t": {"type": "array", "items": {"$ref": "#/$defs/t"}}}}) + "\0[[],[[]]]",
    "combined": json.dumps({"allOf": [{"anyOf": [{"type": "null"}, {"type": "integer"}]}, {"minimum": 3}]}) + "\0null",
    "one": json.dumps({"oneOf": [{"type": "object", "properties": {"k": {"const": "p"}}, "required": ["k"]}, {"type": "object", "properties": {"k": {"const": "q"}}, "required": ["k"]}]}) + '\0{"k":"p"}',
    "patterns": json.dumps({"type": "array", "items": [{"type": "string", "pattern": "^(a|[^b-d]{2,3})+\\d\\.$"}, {"type": "string", "pattern": "x?"}, {"type": "string", "format": "date-time"}]}) + '\0["aa1.","zx"]',
    "any": '{}\0{"a": [1, true, "\\u00e9", null, -0.5e10]}',
    "types": json.dumps({"type": ["string", "null"], "nullable": True, "format": "email"}) + "\0null",
}


def templates():
    """The templates of models/fixtures, and the pieces of the language that are tested there, some at a time."""
    folder = os.path.join(HERE, "..", "..", "models", "fixtures", "templates")
    seeds = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".jinja"):
            with open(os.path.join(folder, name), "rb") as file:
                seeds[name[:-6]] = file.read()
    with open(os.path.join(folder, "expected.json"), encoding="utf-8") as file:
        cases = [case for case in json.load(file)["cases"] if "source" in case]
    parts = [case["source"] for case in cases if "expected" in case]
    for i in range(0, len(parts), 8):
        seeds["parts%d" % (i // 8)] = "\n".join(parts[i:i + 8]).encode()
    for i, case in enumerate([case for case in cases if "error" in case][:40:4]):
        seeds["error%d" % i] = case["source"].encode()
    return seeds


if __name__ == "__main__":
    texts = {target: {name: text.encode() for name, text in seeds.items()} for target, seeds in (("gbnf", GBNF), ("schema", SCHEMA))}
    for target, seeds in {"json": JSON, "gguf": GGUF, "safetensors": SAFETENSORS, "template": templates(), **texts}.items():
        folder = os.path.join(HERE, "corpus", target)
        os.makedirs(folder, exist_ok=True)
        for name, raw in seeds.items():
            with open(os.path.join(folder, name), "wb") as out:
                out.write(raw)
