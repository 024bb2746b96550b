#!/usr/bin/env python3
"""Make the seed corpus of the fuzz target tokenizer: one tokenizer per component, and one per file format.

    python3 test/fuzz/make_tokenizer_corpus.py

Nothing but the standard library; SentencePiece models come from models/fixtures/tokenizers.
"""
import base64
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "corpus", "tokenizer")
FIXTURES = os.path.join(HERE, "..", "..", "models", "fixtures", "tokenizers")
TEXT = "Don't e\u0301 \u4e2d\u6587 12,345 [MASK] <0x41>\n\u0130 \ufb01 \U0001f44d\U0001f3fd \u1100\u1161\u11a8 a\u0323\u0301"
JSON, SPM, SPM_SHIFTED, VOCAB, BPE, GGUF = range(6)


def seed(name, kind, data, text=TEXT):
    raw = text.encode()
    if not isinstance(data, bytes):
        data = (data if isinstance(data, str) else json.dumps(data)).encode()
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(struct.pack("<BH", kind, len(raw)) + raw + data)


LETTERS = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz'12345 \u2581\u0120")}
WORDPIECE = dict(type="WordPiece", unk_token="a", vocab=dict(LETTERS, **{"##t": 60, "don": 61}))
MODELS = dict(
    wordpiece=WORDPIECE,
    bpe=dict(type="BPE", unk_token="a", fuse_unk=True, byte_fallback=True, vocab=dict(LETTERS, do=70, don=71, **{"<0x%02X>" % b: 100 + b for b in range(256)}),
             merges=["d o", ["do", "n"]]),
    bpe_affixes=dict(type="BPE", unk_token="a", continuing_subword_prefix="##", end_of_word_suffix="</w>", vocab=dict(LETTERS, **{"##n": 70, "on": 71, "a</w>": 72}),
                     merges=["o ##n"]),
    unigram=dict(type="Unigram", unk_id=0, byte_fallback=True, vocab=[["<unk>", 0], ["\u2581", -2.5], ["don", -3], ["\u4e2d", -1]]),
    wordlevel=dict(type="WordLevel", unk_token="a", vocab=LETTERS),
)
CHARSMAP = struct.pack("<I", 1024 * 4) + struct.pack("<1024I", *[256 << 10] + [0] * 1023) + b"x\0"
NORMALIZERS = [dict(type="BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)] + [
    dict(type=t) for t in ("NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel")] + [
    dict(type="Strip", strip_left=True, strip_right=True), dict(type="Prepend", prepend="\u2581"),
    dict(type="Replace", pattern=dict(String=" "), content="\u2581"), dict(type="Replace", pattern=dict(Regex="\\s+|(?=e)"), content=""),
    dict(type="Precompiled", precompiled_charsmap=base64.b64encode(CHARSMAP).decode())]
PATTERNS = ["[\\p{L}&&[^\\p{Han}]]+|.", "\\p{N}{1,3}+|(?<x>a)|\\b\\w", " ?[^(\\s|[.,!?])]+", "(?i:'s|'t)|\\s+(?!\\S)"]
PRE_TOKENIZERS = [dict(type=t) for t in ("BertPreTokenizer", "Whitespace", "WhitespaceSplit", "UnicodeScripts", "ByteLevel", "Metaspace")] + [
    dict(type="Punctuation", behavior="Contiguous"), dict(type="Digits", individual_digits=True), dict(type="CharDelimiterSplit", delimiter="e"),
    dict(type="FixedLength", length=3), dict(type="Metaspace", replacement="_", prepend_scheme="first", split=False),
    dict(type="Split", pattern=dict(String="n"), behavior="MergedWithNext", invert=True)] + [
    dict(type="Split", pattern=dict(Regex=p), behavior="Isolated", invert=False) for p in PATTERNS]
PARTS = [dict(SpecialToken=dict(id="a", type_id=0)), dict(Sequence=dict(id="A", type_id=0)), dict(Sequence=dict(id="B", type_id=1))]
POST = [dict(type="TemplateProcessing", single=PARTS[:2], pair=PARTS, special_tokens=dict(a=dict(id="a", ids=[0], tokens=["a"]))),
        dict(type="BertProcessing", sep=["a", 0], cls=["b", 1]), dict(type="RobertaProcessing", sep=["a", 0], cls=["b", 1], trim_offsets=True),
        dict(type="ByteLevel", trim_offsets=True)]
DECODERS = [dict(type=t) for t in ("WordPiece", "ByteLevel", "Metaspace", "BPEDecoder", "ByteFallback", "Fuse", "CTC")] + [
    dict(type="Strip", content=" ", start=1, stop=1), dict(type="Replace", pattern=dict(Regex="a|b"), content=" ")]
ADDED = [dict(id=0, content="[MASK]", lstrip=True, rstrip=True, special=True, normalized=False),
         dict(id=1, content="Don", single_word=True, normalized=True), dict(id=900, content="\u00e9", normalized=True)]


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, model in MODELS.items():
        seed("model_" + name, JSON, dict(model=model, added_tokens=ADDED, pre_tokenizer=dict(type="Whitespace")))
    for kind, key, parts in (("norm", "normalizer", NORMALIZERS), ("pre", "pre_tokenizer", PRE_TOKENIZERS), ("post", "post_processor", POST), ("decode", "decoder", DECODERS)):
        for i, part in enumerate(parts):
            seed("%s_%02d" % (kind, i), JSON, {"model": WORDPIECE, key: part, "added_tokens": ADDED[:1]})
    seed("sequences", JSON, dict(model=MODELS["bpe"], normalizer=dict(type="Sequence", normalizers=NORMALIZERS[3:6]),
                                 pre_tokenizer=dict(type="Sequence", pretokenizers=PRE_TOKENIZERS[1:4]), post_processor=dict(type="Sequence", processors=POST[3:]),
                                 decoder=dict(type="Sequence", decoders=DECODERS)))
    for name in ("spm_unigram", "spm_bpe"):
        with open(os.path.join(FIXTURES, name + ".model"), "rb") as f:
            data = f.read()
        seed(name, SPM, data)
        seed(name + "_shifted", SPM_SHIFTED, data)
    seed("vocab_txt", VOCAB, "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ndon\n'\nt\n##t\n")
    seed("bpe", BPE, dict(vocab={"<s>": 0, "</s>": 1, "D": 2, "o": 3, "Do": 4}, merges="#version: 0.2\nD o\n"))
    # Found by fuzzing: nothing to decode, nothing to merge
    seed("bpe_no_merges", BPE, dict(vocab={"<:s>": 0, "D": 1}))
    seed("empty_unigram", JSON, dict(model=dict(type="Unigram", vocab=[])))
    seed("empty_text", JSON, dict(model=MODELS["unigram"], decoder=dict(type="ByteLevel")), "")
    tokens = ["<unk>", "<s>", "</s>", "<0x41>", "\u2581", "D", "o", "Do"]
    for model in ("llama", "t5", "bert", "gpt2"):
        seed("gguf_" + model, GGUF, {"tokenizer.ggml.model": model, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.scores": [0, 0, 0, 0, -1, -2, -3, -4],
                                     "tokenizer.ggml.token_type": [2, 3, 3, 6, 1, 1, 1, 4], "tokenizer.ggml.merges": ["D o"], "tokenizer.ggml.pre": "gpt-2",
                                     "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.precompiled_charsmap": list(CHARSMAP[:64])})


main()
