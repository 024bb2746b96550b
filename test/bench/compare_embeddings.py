#!/usr/bin/env python3
"""Embeddings of the engine beside those of sentence-transformers.

    compare_embeddings.py --model FOLDER --engine bench_engine [--work DIR]
        [--count 500] [--types f32,q8_0,q4_0] [--exports] [--isa ref]
    compare_embeddings.py ... --speed [--rows 5000] [--threads 2]

Without --speed: texts of 1 to 256 tokens in many scripts, made from the word
lists below with a fixed seed; token ids must be the same, cosines and the
largest difference are printed and held against bounds.  --exports also
writes the model out both ways, imports that, and opens the folder with
sentence-transformers and the GGUF file with llama.cpp where it is installed.

With --speed: rows a second of both, in alternating runs, for short texts and
for mixed lengths.  Quote the ratios: they are of one run on one machine.

Needs numpy, torch, sentence-transformers; not needed by any test.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import time

WORDS = """
river stone lantern harbour quietly seventeen archive window market bridge winter the a of and to in is was
computational photosynthesis entrepreneurship antidisestablishmentarianism naïve façade coöperate résumé
die Straße Übergröße Mädchen fließend Donaudampfschifffahrt où bibliothèque élève garçon œuvre cœur
niño corazón mañana pingüino ¿dónde? ¡hola! não coração amanhã città perché così
поезд вечером библиотека ёлка подъезд щука Київ їжак
Ελλάδα θάλασσα άνθρωπος ψυχή σήμερα Τάξη
今天 天气 很好 我们 去 公园 吧 图书馆 学习 编程 龍 鳳 數據庫
東京 ありがとう さくら コンピューター データベース カタカナ です ます
안녕하세요 데이터베이스 한국어 나무 사랑
नमस्ते बाज़ार हिन्दी पुस्तक ज्ञान বাংলা বই தமிழ் நூல் తెలుగు ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ
مرحبا كتاب مدرسة الحاسوب سلام دنیا کتابخانه שלום ספר מחשב עולם
สวัสดี ภาษาไทย หนังสือ ພາສາລາວ ភាសាខ្មែរ မြန်မာ བོད་ཡིག ქართული հայերեն አማርኛ монгол
tiếng Việt đường phố Nguyễn İstanbul ğüşıöç žluťoučký kůň łódź þorn ærø ŝafo
𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ﬁne ½ ² ™ ① Ⅷ ﷺ ㍿ 😀 👩‍👩‍👧 🇫🇷 ❤️ ☃ → ≠ ∑ € £ ₹
x=(a+b)*2.5 foo_bar() http://example.org/path?q=1&r=2 user@example.com 3.14159 1,000,000 C++ #tag @name
don't it's we've "quoted" (parenthesis) [bracket] {brace} ... --- ___ !!! ??? %$#@ a/b/c [MASK] [SEP] [unused5]
""".split()
ODD = ["\t", "\n", "\u00a0", "\u3000", "\u200b", "\u200d", "\ufeff", "\u0301", "\u0327", "\x7f", "\u2028", "\ufffd", "  "]


def make_texts(count, tokenizer, longest, seed=7):
    """Texts whose lengths cover 1 to `longest` tokens, special tokens included."""
    rng = random.Random(seed)
    texts = ["", " ", "a", "中", "😀", "e\u0301", "[CLS]", "##ing"]
    while len(texts) < count:
        target = min(longest, 3 + int((longest - 2) * rng.random() ** 1.5))
        words = []
        span = rng.random()
        while True:
            word = rng.choice(WORDS) if span < 0.7 else rng.choice(WORDS[:60])
            if rng.random() < 0.03:
                word += rng.choice(ODD)
            if rng.random() < 0.05:
                word = word.upper()
            words.append(word)
            text = (" " if rng.random() < 0.95 else "").join(words)
            if len(tokenizer(text)["input_ids"]) >= target:
                break
        texts.append(text)
    return texts


def write_texts(path, texts):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for text in texts:
            file.write(text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r") + "\n")


def run_engine(args, model, texts, *options):
    """(vectors or None, ids or None, the line it prints)"""
    import numpy as np

    out, ids = os.path.join(args.work, "vectors.f32"), os.path.join(args.work, "tokens.txt")
    command = [args.engine, model, texts, "-w", str(args.threads), "-o", out, "-t", ids, *options]
    if args.isa:
        command += ["-i", args.isa]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    tokens = [[int(x) for x in line.split()] for line in open(ids)]
    return np.fromfile(out, dtype=np.float32).reshape(len(tokens), -1), tokens, done.stdout.strip()


def cosines(a, b):
    import numpy as np

    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-30)


def report(name, ours, theirs, bound, mean=False):
    import numpy as np

    cos = cosines(ours, theirs)
    worst, diff = (cos.mean() if mean else cos.min()), np.abs(ours - theirs).max()
    ok = worst >= bound and (mean or diff <= 1e-5)
    print(f"{name:28} cosine mean {cos.mean():.8f} min {cos.min():.8f}, largest difference {diff:.2e}  {'ok' if ok else 'FAILED'}")
    return ok


def load_reference(model, threads):
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads)
    return SentenceTransformer(model, device="cpu")


def compare(args):
    reference = load_reference(args.model, args.threads)
    texts = make_texts(args.count, reference.tokenizer, reference.max_seq_length)
    path = os.path.join(args.work, "texts.txt")
    write_texts(path, texts)
    theirs = reference.encode(texts, batch_size=1, convert_to_numpy=True)
    ids = [reference.tokenizer(t, truncation=True, max_length=reference.max_seq_length)["input_ids"] for t in texts]
    lengths = sorted(len(x) for x in ids)
    print(f"{len(texts)} texts of {lengths[0]} to {lengths[-1]} tokens, half of at most {lengths[len(lengths) // 2]}")
    ok = True
    bounds = {"f32": (0.999999, False), "int8": (0.999, True), "q8_0": (0.999, True), "q4_0": (0.98, True), "f16": (0.9999, True), "bf16": (0.9999, True)}
    for name in args.types.split(","):
        ours, tokens, line = run_engine(args, args.model, path, "-q", name)
        print(line)
        wrong = [i for i in range(len(texts)) if tokens[i] != ids[i]]
        if wrong:
            print(f"token ids differ in {len(wrong)} texts, such as {texts[wrong[0]]!r}:\n{tokens[wrong[0]]}\n{ids[wrong[0]]}")
            ok = False
        ok &= report(name, ours, theirs, *bounds[name])
    if args.exports:
        ok &= compare_exports(args, texts, path, theirs)
    return ok


def compare_exports(args, texts, path, theirs):
    folder, file = os.path.join(args.work, "export"), os.path.join(args.work, "export.gguf")
    run_engine(args, args.model, path, "-x", folder)
    run_engine(args, args.model, path, "-x", file)
    ok = report("folder, imported again", run_engine(args, folder, path)[0], theirs, 0.999999)
    ok &= report("GGUF, imported again", run_engine(args, file, path)[0], theirs, 0.999999)
    opened = load_reference(folder, args.threads)
    ok &= report("folder in the reference", opened.encode(texts, batch_size=1, convert_to_numpy=True), theirs, 0.999999)
    try:
        import llama_cpp
        import numpy as np
    except ImportError:
        print("llama_cpp is not installed")
        return ok
    model = llama_cpp.Llama(file, embedding=True, n_ctx=512, n_batch=512, n_ubatch=512, verbose=False)
    plain = [i for i, t in enumerate(texts) if re.fullmatch(r"[\x20-\x5a\x61-\x7e]+", t)][:40]
    vectors = np.array([model.embed(texts[i], normalize=True) for i in plain], dtype=np.float32)
    # llama.cpp computes attention in f16, and its own tokenizer runs.
    return ok & report(f"GGUF in llama.cpp ({len(plain)})", vectors, theirs[plain], 0.999, mean=True)


def speed(args):
    reference = load_reference(args.model, args.threads)
    rng = random.Random(3)
    ok = True
    for name, low, high, bound in (("about 32 tokens", 24, 40, 1.3), ("5 to 250 tokens", 5, 250, 1.8)):
        texts = [" ".join(rng.choice(WORDS[:60]) for _ in range(max(1, int(rng.uniform(low, high) / 1.35)))) for _ in range(args.rows)]
        path = os.path.join(args.work, "speed.txt")
        write_texts(path, texts)
        best = [0.0, 0.0]
        for _ in range(args.repeats):
            line = run_engine(args, args.model, path)[2]
            best[0] = max(best[0], float(re.search(r"([0-9.]+) rows/s", line).group(1)))
            start = time.perf_counter()
            reference.encode(texts, batch_size=32, convert_to_numpy=True)
            best[1] = max(best[1], len(texts) / (time.perf_counter() - start))
        print(f"{name}: engine {best[0]:.0f} rows/s, sentence-transformers {best[1]:.0f} rows/s, ratio {best[0] / best[1]:.2f}")
        ok &= best[0] >= bound * best[1]
    return ok


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--work", default="/tmp/compare_embeddings")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--types", default="f32,q8_0,q4_0")
    parser.add_argument("--isa")
    parser.add_argument("--exports", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    sys.exit(0 if (speed(args) if args.speed else compare(args)) else 1)


if __name__ == "__main__":
    main()
