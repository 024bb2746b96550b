#!/usr/bin/env python3
"""Tokens of the engine beside those of the reference, for real tokenizers.

    compare_tokenizers.py --engine bench_tokenizer --data DIR [--only NAME,...]
        [--count 6000] [--seed 1] [--show 3] [--sweep] [--pipelines N] [--work DIR]

DIR has tokenizers/ and vocab-gguf/ as TRANSFORMER_TEST_DATA has them.  The
reference is the tokenizers library: as it reads tokenizer.json, or as
transformers builds it of a vocabulary file; for GGUF files llama.cpp where it is
installed, and what their .inp and .out files say.

Texts are made with a fixed seed: words of many scripts, every kind of space
and control character, combining marks, joiners, full-width and compatibility
forms, right-to-left text, very long words, special tokens, digits, code.
--sweep adds every assigned character, in words and alone; --pipelines runs N
tokenizers of random components around real vocabularies.  A fifth of the
texts has a pair, and half of those, and some others, a limit.

Prints a line for each tokenizer: texts, texts with other ids, with other
offsets, with other type ids (or marks of special tokens); the first of each are shown.
Exits with 1 if there were any.  Not needed by any test.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import unicodedata

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

WORDS = """
river stone lantern quietly the a of and to in is was don't it's we've I'LL they'D computational
antidisestablishmentarianism naïve façade coöperate résumé Straße Übergröße İstanbul ğüşıöç ﬁne ﬃ Ǆ ǅ ẞ
niño corazón ¿dónde? ¡hola! não città perché cœur þorn Đặng Nguyễn tiếng Việt łódź žluťoučký ŉ
поезд вечером ёлка Київ їжак щЪ Ελλάδα ΣΊΣΥΦΟΣ ψυχή ΐ Ωμέγα հայերեն ქართული ᏣᎳᎩ አማርኛ
今天天气很好 我们 图书馆 龍鳳數據庫 東京 ありがとう がぎぐ か゚ コンピューター ｶﾞｷﾞ ㍿ ㌀ ㈱ 豈更 𠀀𪚥 안녕하세요 한국어 각
नमस्ते हिन्दी क्षत्रिय বাংলা தமிழ் తెలుగు ಕನ್ನಡ മലയാളം ગુજરાતી ਪੰਜਾਬੀ සිංහල ภาษาไทย น้ำ ພາສາລາວ ភាសាខ្មែរ မြန်မာ བོད་ཡིག ᠮᠣᠩᠭᠣᠯ
مرحبا كتاب سلام دنیا ﷺ ﻻ لا ـــ שלום עולם שָׁלוֹם ܫܠܡܐ ދިވެހި ٠١٢٣ ۴۵۶ १२३ ௧௨ Ⅷ ⅷ ½ ² ₂ ① ⑳ ㉑ 𝟙𝟚 𝔘𝔫𝔦 𝓪𝓫 Ａｂｃ１２３ ｆｕｌｌ　ｗｉｄｔｈ
😀 👩‍👩‍👧 👍🏽 🇫🇷🇩🇪🇯 ❤️ ☃ 1️⃣ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 → ≠ ∑ € £ ₹ ™ © ® … — – ‘quoted’ “double” «guillemets» ‹x› „low‟ · • ‰ № ℃ Å Ω ﬀ ǆ
x=(a+b)*2.5 foo_bar() http://example.org/path?q=1&r=2 user@example.com 3.14159 1,000,000 C++ #tag @name $x ``tick'' ''
... --- ___ !!! ??? %$#@ a/b/c \\n {json: [1,2]} <html></html> // /* */ -> => != == 0x1F 12345678901234567890 1st v2.0.1-rc
""".split()
SPECIAL = """[CLS] [SEP] [MASK] [UNK] [PAD] [unused5] <s> </s> <unk> <pad> <mask> <|endoftext|> <extra_id_0> <extra_id_99> <extra_id_1>
<|endoftext|><|endoftext|> [cls] <S> <0x0A> <0xFF> ##ing ▁ ▁the Ġ Ġthe Ċ <|padding|> <fim_prefix> <|user|> <|end|> </S> [MASK].""".split()
SPACES = [" "] * 12 + ["  ", "   ", "    ", "\t", "\n", "\r\n", "\r", "\n\n", " \n ", "\v", "\f", "\u0085", "\u00a0", "\u1680", "\u2000", "\u2003",
                       "\u2009", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", " \u3000 ", "\t\t "]
ODD = ["\u200b", "\u200c", "\u200d", "\u200e", "\u200f", "\u202a", "\u202e", "\u2060", "\ufeff", "\u00ad", "\u0300", "\u0301", "\u0327", "\u0323\u0307",
       "\u0345", "\u0483", "\u05b0", "\u064b", "\u0651", "\u093c", "\u0e49", "\u20dd", "\u20e3", "\u3099", "\u309a", "\ufe0f", "\ufe0e", "\u180b",
       "\ufffd", "\ufffc", "\ufff9", "\ufffe", "\uffff", "\ue000", "\uf8ff", "\U000f0000", "\U0010ffff", "\u0378", "\U0001f3fd", "\U000e0041",
       "\x01", "\x02", "\x07", "\x08", "\x0e", "\x1b", "\x1c", "\x1f", "\x7f", "\x80", "\x8f", "\x9f", "\u061c", "\u034f", "\u115f", "\u1160", "\u3164",
       "\u1100\u1161\u11a8", "\uac00\u11a8", "\u0958", "\u2126", "\u212b", "\u00c5", "A\u030a", "\u1e9b\u0323", "\u0344", "\u0f73", "\ufb1d", "\u2adc",
       "\u00e9", "e\u0301", "e\u0301\u0323", "i\u0307", "\u0130", "\u0149", "\ufb03", "\ufdfa", "\u3316", "\u33c2", "\u1f82", "\u03a3", "\u03c2"]


def assigned():
    """Every character but surrogates and private ones, and a few that are not assigned."""
    for code in list(range(1, 0x323B0)) + list(range(0xE0000, 0xE0200)):
        category = unicodedata.category(chr(code))
        if category not in ("Cs", "Co", "Cn") or (category == "Cn" and code % 97 == 0):
            yield chr(code)


def random_text(rng, pool):
    """Pieces of all kinds, one after the other."""
    parts = []
    for _ in range(rng.choice([1, 2, 3, 5, 8, 13, 21])):
        kind = rng.random()
        if kind < 0.55:
            parts.append(rng.choice(WORDS))
        elif kind < 0.62:
            parts.append(rng.choice(ODD))
        elif kind < 0.70:
            parts.append(rng.choice(SPECIAL))
        elif kind < 0.78:
            parts.append("".join(rng.choice(pool) for _ in range(rng.randrange(1, 5))))
        elif kind < 0.86:
            word = list(rng.choice(WORDS))
            word.insert(rng.randrange(len(word) + 1), rng.choice(ODD))
            parts.append("".join(word))
        elif kind < 0.90:
            word = rng.choice(WORDS)
            parts.append(rng.choice([word.upper(), word.title(), word.lower(), unicodedata.normalize("NFD", word), unicodedata.normalize("NFKC", word)]))
        elif kind < 0.93:
            parts.append(str(rng.randrange(10 ** rng.randrange(1, 12))))
        elif kind < 0.95:
            parts.append(rng.choice(ODD + list("abcé中😀-_.")) * rng.randrange(2, 30))
        else:
            parts.append("".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.randrange(1, 7))))
        if rng.random() < 0.75:
            parts.append(rng.choice(SPACES))
    return "".join(parts)


def make_cases(count, seed, sweep):
    rng = random.Random(seed)
    pool = list(assigned())
    texts = ["", " ", "  ", "\n", "\t \n", "a", " a", "a ", "  a  b  ", "\u3000", "\u200b", "\u0301", "e\u0301", "中", "😀", "▁", "'s", " 's"]
    texts += WORDS + SPECIAL + ODD
    texts += [a + b for a in SPECIAL for b in ("x", " x", ",", a)] + [a + b for a in ("x", "x ", " ", "  ", ",") for b in SPECIAL]
    texts += ["a" * n for n in (99, 100, 101, 300, 5000)] + ["é" * 100, "中" * 400, "ab" * 3000, "😀" * 300, "e" + "\u0301" * 300, "=" * 1000, " " * 300, "9" * 200]
    texts += ["a" + o + "b" for o in ODD + SPACES] + [o + "b" for o in ODD + SPACES] + ["a" + o for o in ODD + SPACES]
    while len(texts) < count:
        texts.append(random_text(rng, pool))
    cases = []
    for text in texts:
        case = {"text": text}
        if rng.random() < 0.2:
            case["pair"] = rng.choice(texts)
        if rng.random() < (0.5 if "pair" in case else 0.1):
            case["limit"] = rng.choice([4, 5, 6, 7, 9, 12, 16, 24, 33])
        if rng.random() < 0.1:
            case["special"] = False
        cases.append(case)
    if sweep:
        rng.shuffle(pool)
        for i in range(0, len(pool), 6):
            cases.append({"text": "".join("x%sy %s " % (c, c) for c in pool[i:i + 6])})
            cases.append({"text": "".join(pool[i:i + 6])})
    return cases


# ---- references ----

class HuggingFace:
    """The tokenizers library; a token is (id, type, start, stop, special, sequence), offsets in bytes."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.tokenizer.no_padding()

    def encode(self, cases):
        groups = {}
        for i, case in enumerate(cases):
            groups.setdefault((case.get("limit", 0), case.get("special", True)), []).append(i)
        result = [None] * len(cases)
        for (limit, special), members in groups.items():
            if limit > 0:
                self.tokenizer.enable_truncation(limit)
            else:
                self.tokenizer.no_truncation()
            inputs = [(cases[i]["text"], cases[i]["pair"]) if "pair" in cases[i] else cases[i]["text"] for i in members]
            for i, encoding in zip(members, self.tokenizer.encode_batch(inputs, add_special_tokens=special)):
                result[i] = self.tokens(cases[i], encoding)
        return result

    @staticmethod
    def tokens(case, encoding):
        places = []
        for text in (case["text"], case.get("pair", "")):
            at = [0]
            for c in text:
                at.append(at[-1] + len(c.encode("utf-8")))
            places.append(at)
        tokens = []
        for token, kind, (start, stop), special, sequence in zip(encoding.ids, encoding.type_ids, encoding.offsets,
                                                                 encoding.special_tokens_mask, encoding.sequence_ids):
            if sequence is None:
                tokens.append((token, kind, 0, 0, 1, 0))
            else:
                at = places[sequence]
                tokens.append((token, kind, at[start], at[stop], 0, sequence))
        return tokens


class LlamaCpp:
    """Ids alone."""

    def __init__(self, path):
        import llama_cpp
        self.llama = llama_cpp.Llama(path, vocab_only=True, verbose=False)

    def encode(self, cases):
        """It says on the standard error that a text begins as it does."""
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        ids = [self.llama.tokenize(case["text"].encode("utf-8"), add_bos=case.get("special", True), special=True) for case in cases]
        os.dup2(kept, 2)
        return ids


def split_merge(merge, vocab):
    """The two sides of "a b", which may have spaces themselves."""
    for i in range(1, len(merge) - 1):
        if merge[i] == " " and merge[:i] in vocab and merge[i + 1:] in vocab and merge[:i] + merge[i + 1:] in vocab:
            return [merge[:i], merge[i + 1:]]
    return merge.split(" ", 1)


def from_json(path, repair=None):
    """Old files write merges as strings, which newer libraries do not read where a token has a space."""
    from tokenizers import Tokenizer
    with open(path, encoding="utf-8") as f:
        tokenizer = json.load(f)
    model = tokenizer["model"]
    if "merges" in model:
        model["merges"] = [split_merge(m, model["vocab"]) if isinstance(m, str) else m for m in model["merges"]]
    if repair is not None:
        repair(tokenizer)
    return HuggingFace(Tokenizer.from_str(json.dumps(tokenizer)))


def repair_llama2(tokenizer):
    """
    In this copy no-break spaces have become spaces.  And special tokens were looked for in normalized text when it was
    written, so that they took a space before them; what is made of the .model today does not.
    """
    model = tokenizer["model"]
    model["vocab"] = {k.replace(" ", "\u00a0"): v for k, v in model["vocab"].items()}
    model["merges"] = [[side.replace(" ", "\u00a0") for side in merge] for merge in model["merges"]]
    for token in tokenizer["added_tokens"]:
        token["normalized"] = False


def llama2_not_legacy(tokenizer):
    repair_llama2(tokenizer)
    tokenizer["normalizer"] = None
    tokenizer["pre_tokenizer"] = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}


def from_folder(class_name, files, config):
    """
    What transformers makes of the files of a folder.  To it, user-defined pieces of Unigram models are added tokens; that is
    neither what SentencePiece does, with which such models were trained, nor what their published tokenizer.json has.
    """
    import transformers
    from tokenizers import Tokenizer
    folder = tempfile.mkdtemp()
    for name, path in files.items():
        shutil.copy(path, os.path.join(folder, name))
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump(dict(config, tokenizer_class=class_name), f)
    tokenizer = getattr(transformers, class_name).from_pretrained(folder).backend_tokenizer
    shutil.rmtree(folder)
    written = json.loads(tokenizer.to_str())
    if written["model"]["type"] == "Unigram":
        written["added_tokens"] = [t for t in written["added_tokens"] if t["special"]]
        for token in written["added_tokens"]:
            if token["content"] == config["mask_token"]["content"]:
                token["lstrip"] = config["mask_token"]["lstrip"]
        tokenizer = Tokenizer.from_str(json.dumps(written))
    return HuggingFace(tokenizer)


def write_model(path, tokenizer_json, xlm_roberta):
    """The SentencePiece .model that a tokenizer.json of T5 was made of; or one of the same words as XLM-R's begins."""
    import base64
    from sentencepiece import sentencepiece_model_pb2 as pb
    with open(tokenizer_json, encoding="utf-8") as f:
        tokenizer = json.load(f)
    model = pb.ModelProto()
    special = {"<unk>": 2, "<s>": 3, "</s>": 3} if xlm_roberta else {"<pad>": 3, "</s>": 3, "<unk>": 2}
    for piece, kind in special.items():
        model.pieces.add(piece=piece, score=0, type=kind)
    for piece, score in tokenizer["model"]["vocab"]:
        if not piece.startswith("<extra_id_") and piece not in ("<pad>", "</s>", "<unk>"):
            model.pieces.add(piece=piece, score=score, type=1)
    spec = model.trainer_spec
    spec.model_type = 1
    spec.unk_id, spec.bos_id, spec.eos_id, spec.pad_id = (0, 1, 2, -1) if xlm_roberta else (2, -1, 1, 0)
    model.normalizer_spec.precompiled_charsmap = base64.b64decode(tokenizer["normalizer"]["precompiled_charsmap"])
    with open(path, "wb") as f:
        f.write(model.SerializeToString())


def mask(content):
    """As the published configurations have it."""
    return {"__type": "AddedToken", "content": content, "lstrip": True, "rstrip": False, "single_word": False, "normalized": False, "special": True}


def table(data, work):
    """name: (arguments of the engine, what makes the reference)"""
    t = os.path.join(data, "tokenizers")
    g = os.path.join(data, "vocab-gguf")
    rows = {}

    def add_json(name, path):
        rows[name] = ([path], lambda: from_json(path))

    def add_files(name, class_name, model_type, files, config=None):
        paths = {k: os.path.join(t, v) for k, v in files.items()}
        path = os.path.join(work, name.replace(" ", "_") + ".config.json")
        with open(path, "w") as f:
            json.dump(dict(config or {}, tokenizer_class=class_name), f)
        arguments = ["-t", model_type, "-c", path]
        if "merges.txt" in paths:
            arguments += ["-m", paths["merges.txt"]]
        vocabulary = next(v for k, v in paths.items() if k != "merges.txt")
        rows[name] = (arguments + [vocabulary], lambda: from_folder(class_name, paths, config or {}))

    for name in sorted(os.listdir(t)):
        path = os.path.join(t, name, "tokenizer.json")
        if os.path.exists(path):
            add_json(name, path)
    add_json("MiniLM (repo)", os.path.join(t, "all-MiniLM-L6-v2/repo_tokenizer.json"))
    bert = {"cls_token": "[CLS]", "sep_token": "[SEP]", "bos_token": "[CLS]", "eos_token": "[SEP]", "pad_token": "[PAD]", "unk_token": "[UNK]"}
    chinese = {"vocab.txt": "bert-base-chinese/vocab.txt"}
    albert = "albert/30k-clean.model"
    add_files("bert-uncased vocab.txt", "BertTokenizer", "bert", {"vocab.txt": "bert-uncased/vocab.txt"})
    add_files("bert-chinese vocab.txt", "BertTokenizer", "bert", chinese)
    add_files("bert cased", "BertTokenizer", "bert", chinese, {"do_lower_case": False})
    add_files("bert strip", "BertTokenizer", "bert", chinese, {"do_lower_case": False, "strip_accents": True})
    add_files("bert accents", "BertTokenizer", "bert", chinese, {"strip_accents": False, "tokenize_chinese_chars": False})
    add_files("mpnet vocab.txt", "MPNetTokenizer", "mpnet", {"vocab.txt": "bert-uncased/vocab.txt"}, dict(bert, mask_token=mask("[MASK]")))
    gpt2 = {"vocab.json": "gpt2/vocab.json", "merges.txt": "gpt2/merges.txt"}
    roberta = {"vocab.json": "roberta-base/vocab.json", "merges.txt": "roberta-base/merges.txt"}
    add_files("gpt2 merges", "GPT2Tokenizer", "gpt2", gpt2)
    add_files("gpt2 prefix space", "GPT2Tokenizer", "gpt2", gpt2, {"add_prefix_space": True})
    add_files("roberta merges", "RobertaTokenizer", "roberta", roberta, {"mask_token": mask("<mask>")})
    add_files("roberta prefix space", "RobertaTokenizer", "roberta", roberta, {"add_prefix_space": True, "mask_token": mask("<mask>")})
    add_files("albert .model", "AlbertTokenizer", "albert", {"spiece.model": albert}, {"mask_token": mask("[MASK]")})
    add_files("albert cased", "AlbertTokenizer", "albert", {"spiece.model": albert},
              {"do_lower_case": False, "keep_accents": True, "mask_token": mask("[MASK]")})
    t5 = os.path.join(t, "t5-small/tokenizer.json")
    write_model(os.path.join(work, "t5.model"), t5, False)
    write_model(os.path.join(work, "xlm-r.model"), t5, True)
    rows["t5 .model"] = (["-t", "t5", os.path.join(work, "t5.model")], lambda: from_json(t5))
    add_files("xlm-r .model", "XLMRobertaTokenizer", "xlm-roberta", {"sentencepiece.bpe.model": os.path.join(work, "xlm-r.model")},
              {"mask_token": mask("<mask>")})
    rows["llama2 .model"] = (["-t", "llama", os.path.join(t, "llama2/tokenizer.model")],
                             lambda: from_json(os.path.join(t, "llama2/tokenizer.json"), repair_llama2))
    path = os.path.join(work, "llama2.config.json")
    with open(path, "w") as f:
        json.dump({"legacy": False}, f)
    rows["llama2 not legacy"] = (["-t", "llama", "-c", path, os.path.join(t, "llama2/tokenizer.model")],
                                 lambda: from_json(os.path.join(t, "llama2/tokenizer.json"), llama2_not_legacy))
    for name in sorted(os.listdir(g)):
        if name.endswith(".gguf"):
            path = os.path.join(g, name)
            rows["gguf " + name[len("ggml-vocab-"):-len(".gguf")]] = ([path], lambda path=path: LlamaCpp(path))
    # llama.cpp does not take Hangul apart nor drop all accents; the model was trained with this
    rows["gguf bert-bge"] = (rows["gguf bert-bge"][0], rows["bert-uncased vocab.txt"][1])
    return rows


# ---- pipelines that no model has: random components around real vocabularies ----

def random_normalizer(rng):
    parts = [{"type": rng.choice(["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt"])} for _ in range(rng.randrange(3))]
    parts += rng.choice([
        [],
        [{"type": "BertNormalizer", "clean_text": rng.random() < 0.5, "handle_chinese_chars": rng.random() < 0.5,
          "strip_accents": rng.choice([None, True, False]), "lowercase": rng.random() < 0.5}],
        [{"type": "Strip", "strip_left": rng.random() < 0.5, "strip_right": rng.random() < 0.7}],
        [{"type": "Replace", "pattern": {"Regex": rng.choice([" {2,}", "\\s+", "[0-9]", "(?<=a)b", "[^\\p{L}\\s]"])}, "content": rng.choice([" ", "", "xyz"])}],
        [{"type": "Replace", "pattern": {"String": rng.choice([" ", "e", "``", "..."])}, "content": rng.choice(["\u2581", "", "\"", "longer"])}],
        [{"type": "Prepend", "prepend": "\u2581"}]])
    rng.shuffle(parts)
    return {"type": "Sequence", "normalizers": parts} if parts else None


def random_pre_tokenizer(rng, byte_level):
    behavior = rng.choice(["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
    kinds = [
        {"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "BertPreTokenizer"}, {"type": "UnicodeScripts"},
        {"type": "Punctuation", "behavior": behavior}, {"type": "Digits", "individual_digits": rng.random() < 0.5},
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": rng.choice(["always", "first", "never"]), "split": rng.random() < 0.6},
        {"type": "CharDelimiterSplit", "delimiter": rng.choice(" a-")},
        {"type": "Split", "pattern": {"Regex": rng.choice(["\\s", "\\p{N}{1,3}", "[a-z]+", "\\p{P}"])}, "behavior": behavior, "invert": rng.random() < 0.3},
        {"type": "Split", "pattern": {"String": rng.choice([" ", "e", "--"])}, "behavior": behavior, "invert": rng.random() < 0.3}]
    parts = [rng.choice(kinds) for _ in range(rng.randrange(3))]
    if byte_level:
        parts.append({"type": "ByteLevel", "add_prefix_space": rng.random() < 0.5, "trim_offsets": True, "use_regex": rng.random() < 0.6})
    return {"type": "Sequence", "pretokenizers": parts} if parts else None


def random_post_processor(rng, tokenizer):
    ends = [(t["content"], t["id"]) for t in tokenizer["added_tokens"][:3]]
    a, b = rng.choice(ends), rng.choice(ends)
    roberta = {"type": "RobertaProcessing", "sep": b, "cls": a, "trim_offsets": rng.random() < 0.7, "add_prefix_space": rng.random() < 0.5}
    level = {"type": "ByteLevel", "add_prefix_space": rng.random() < 0.5, "trim_offsets": rng.random() < 0.7, "use_regex": True}

    def part(name, kind):
        return {"Sequence": {"id": name, "type_id": kind}} if name in "AB" else {"SpecialToken": {"id": name, "type_id": kind}}

    pair = [part("A", rng.randrange(3)), part("B", rng.randrange(3))] + [part(rng.choice(ends)[0], rng.randrange(3)) for _ in range(rng.randrange(5))]
    rng.shuffle(pair)
    template = {"type": "TemplateProcessing", "single": [part(a[0], 1), part("A", rng.randrange(2)), part(b[0], 0)], "pair": pair,
                "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in ends}}
    return rng.choice([None, {"type": "BertProcessing", "sep": b, "cls": a}, roberta, level, template,
                       {"type": "Sequence", "processors": [level, template]}, {"type": "Sequence", "processors": [level, roberta]}])


def compare_pipelines(count, cases, options):
    """Each on a part of the texts; one line for all."""
    from tokenizers import Tokenizer
    rng = random.Random(options.seed)
    same = True
    for number in range(count):
        name = rng.choice(["bert-uncased", "t5-small", "roberta-base", "llama2"])
        path = os.path.join(options.data, "tokenizers", name, "tokenizer.json")
        tokenizer = json.loads(from_json(path).tokenizer.to_str())
        tokenizer["normalizer"] = random_normalizer(rng)
        tokenizer["pre_tokenizer"] = random_pre_tokenizer(rng, name == "roberta-base")
        tokenizer["post_processor"] = random_post_processor(rng, tokenizer)
        for token in tokenizer["added_tokens"]:
            for flag in ("lstrip", "rstrip", "single_word", "normalized"):
                token[flag] = rng.random() < 0.3
        written = os.path.join(options.work, "pipeline.json")
        with open(written, "w") as f:
            json.dump(tokenizer, f)
        label = "%d %s" % (number, name)
        if not compare(label, [written], HuggingFace(Tokenizer.from_file(written)), rng.sample(cases, min(len(cases), 600)), options):
            shutil.copy(written, os.path.join(options.work, "pipeline.%d.json" % number))
            print("      %s" % json.dumps({k: tokenizer[k] for k in ("normalizer", "pre_tokenizer", "post_processor", "added_tokens")})[:1500])
            same = False
    return same


# ---- comparing ----

def read_line(line):
    if line.startswith("!"):
        return line
    tokens = []
    for field in line.split():
        mark = field.rstrip("0123456789:-")
        token, kind, start, stop = (int(x) for x in field[len(mark):].split(":"))
        tokens.append((token, kind, start, stop, int("s" in mark), 0 if "s" in mark else int("p" in mark)))
    return tokens


def run_engine(engine, arguments, cases, work):
    path = os.path.join(work, "cases")
    with open(path, "w") as f:
        for case in cases:
            f.write(json.dumps(case) + "\n")
    done = subprocess.run([engine] + arguments + [path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return done.stderr.strip()
    return [read_line(line) for line in done.stdout.split("\n")[:-1]]


def difference(ours, theirs):
    """What differs first: None, "ids", "offsets" or "types"."""
    if isinstance(ours, str):
        return "ids"
    if theirs and isinstance(theirs[0], int) or not theirs:
        return None if [t[0] for t in ours] == theirs else "ids"
    if [t[0] for t in ours] != [t[0] for t in theirs]:
        return "ids"
    if [t[2:4] for t in ours] != [t[2:4] for t in theirs]:
        return "offsets"
    return None if ours == theirs else "types"


def show(kind, case, ours, theirs):
    print("    %s: %s" % (kind, ascii(case)[:300]))
    if isinstance(ours, list):
        i = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if (a[0] if isinstance(b, int) else a) != b), min(len(ours), len(theirs)))
        print("      at %d of %d and %d: %s, reference %s" % (i, len(ours), len(theirs), ours[i:i + 6], theirs[i:i + 6]))
    else:
        print("      %s" % ours)


def compare(name, arguments, reference, cases, options):
    ours = run_engine(options.engine, arguments, cases, options.work)
    if isinstance(ours, str):
        print("%-24s %s" % (name, ours))
        return False
    theirs = reference.encode(cases)
    count = {"ids": 0, "offsets": 0, "types": 0}
    for case, a, b in zip(cases, ours, theirs):
        kind = difference(a, b)
        if kind is None:
            continue
        count[kind] += 1
        if count[kind] <= options.show:
            show(kind, case, a, b)
    print("%-24s %7d texts %8d tokens %6d other ids %6d other offsets %6d other types" % (
        name, len(cases), sum(len(x) for x in theirs), count["ids"], count["offsets"], count["types"]), flush=True)
    return not any(count.values())


def compare_out(name, arguments, options):
    """The texts and ids that lie beside a GGUF file."""
    path = arguments[-1]
    if not os.path.exists(path + ".out"):
        return True
    with open(path + ".inp", encoding="utf-8", newline="") as f:
        texts = f.read().split("\n__ggml_vocab_test__\n")
    with open(path + ".out") as f:
        expected = [[int(x) for x in line.split()] for line in f.read().split("\n")]
    cases = [{"text": text, "special": False} for text in texts]
    ours = run_engine(options.engine, arguments, cases, options.work)
    wrong = sum([t[0] for t in a] != b for a, b in zip(ours, expected))
    print("%-24s %7d texts of .inp, %d other ids than .out" % (name, len(cases), wrong), flush=True)
    return wrong == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--engine", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--only")
    parser.add_argument("--count", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--pipelines", type=int, default=0)
    parser.add_argument("--work", default=tempfile.mkdtemp())
    options = parser.parse_args()
    os.makedirs(options.work, exist_ok=True)
    cases = make_cases(options.count, options.seed, options.sweep)
    same = True
    for name, (arguments, make) in table(options.data, options.work).items():
        if options.only and not any(word in name for word in options.only.split(",")):
            continue
        try:
            reference = make()
        except ImportError as error:
            print("%-24s no reference: %s" % (name, error))
            reference = None
        if name.startswith("gguf"):
            same = compare_out(name, arguments, options) and same
            some = [{"text": c["text"]} for c in cases if "pair" not in c and c["text"] != ""]
            if "phi-3" in name:
                # Spaces behind its special tokens go; to llama.cpp only those of ASCII are spaces
                some = [c for c in some if not re.search("[>][ \\t-\\r]*[^\\S \\t-\\r]", c["text"])]
        else:
            some = cases
        if reference is not None:
            same = compare(name, arguments, reference, some, options) and same
    if options.pipelines > 0:
        same = compare_pipelines(options.pipelines, cases, options) and same
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
