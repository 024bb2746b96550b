#!/usr/bin/env python3
"""Generate unicode_table.c: character properties as the reference tokenizers see them.

The reference library mixes several Unicode versions (its normalization crate,
its category crate, its regular expression libraries and its standard library
each have their own), so no version of the Unicode Character Database gives the same
ids.  Every property is therefore asked of the library itself, one code point
at a time, through the components that use it.  Python's unicodedata only
proposes candidates (pairs that may compose, combining classes), each of which is then
checked against the library.

    python make_unicode_table.py > unicode_table.c

Needs the packages `tokenizers` and `regex` (the latter for grapheme break classes).
"""
import base64
import json
import struct
import sys
import unicodedata

import regex
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

LAST = 0x110000
POINTS = [c for c in range(LAST) if not 0xD800 <= c <= 0xDFFF]
ALL = "".join(map(chr, POINTS))
HANGUL = range(0xAC00, 0xD7A4)


def members(pattern):
    """Code points that a pattern (one character class) matches, by the library's Oniguruma."""
    kept = normalizers.Replace(Regex("(?!" + pattern + ")(?m:.)"), "").normalize_str(ALL)
    return set(map(ord, kept))


def expansions(normalizer):
    """Code points that a normalizer changes -> what they become."""
    result = {}
    for c in POINTS:
        to = normalizer.normalize_str(chr(c))
        if to != chr(c):
            result[c] = tuple(map(ord, to))
    return result


def cut(pre, before, after):
    """How many pieces a pre-tokenizer makes of before + character + after, and whether the character is kept."""
    result = {}
    for c in POINTS:
        pieces = [p for p, _ in pre.pre_tokenize_str(before + chr(c) + after)]
        result[c] = (len(pieces), any(chr(c) in p.replace(before, "", 1) if before else chr(c) in p for p in pieces))
    return result


def bert(**options):
    settings = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    settings.update(options)
    return normalizers.BertNormalizer(**settings)


def combining_classes(nfd):
    """Canonical combining classes: order is all that matters, and it is asked by pairs."""
    by_class = {}
    for c in POINTS:
        k = unicodedata.combining(chr(c))
        if k and nfd.normalize_str(chr(c)) == chr(c) and unicodedata.unidata_version:
            by_class.setdefault(k, []).append(c)
    low, high = 0x0334, 0x0345
    moves = lambda a, b: a != b and nfd.normalize_str(chr(a) + chr(b)) == chr(b) + chr(a)
    # One representative of each class that the library knows
    reps = {}
    for k, chars in sorted(by_class.items()):
        for c in chars:
            if c in (low, high) or moves(c, low) or moves(high, c):
                reps[k] = c
                break
    result = {}
    decomposed = expansions(nfd)
    for c in POINTS:
        if c in decomposed or c < 0x80 or c in HANGUL:
            continue
        if not (c in (low, high) or moves(c, low) or moves(high, c)):
            continue
        below = [k for k, r in reps.items() if moves(c, r)]
        above = [k for k, r in reps.items() if moves(r, c)]
        equal = [k for k in reps if k not in below and k not in above]
        assert len(equal) == 1, (hex(c), equal)
        result[c] = equal[0]
    return result


def compositions(nfd, nfc):
    pairs = {}
    for c in POINTS:
        if c in HANGUL:
            continue
        d = unicodedata.decomposition(chr(c))
        if not d or d.startswith("<") or " " not in d:
            continue
        a, b = (int(x, 16) for x in d.split())
        if nfc.normalize_str(chr(a) + chr(b)) == chr(c):
            pairs[(a, b)] = c
    return pairs


def scripts():
    """Script classes by the library's own pre-tokenizer: two characters are of one class where nothing is cut."""
    pre = pre_tokenizers.UnicodeScripts()
    together = lambda a, b: len(pre.pre_tokenize_str(chr(a) + chr(b))) == 1
    reps = []
    result = {}
    # A character that joins with two different scripts is of the class that joins with all
    latin, greek = 0x61, 0x3B1
    last = None
    for c in POINTS:
        if together(latin, c) and together(greek, c):
            result[c] = 0
            continue
        if last is not None and together(reps[last], c):
            result[c] = last + 1
            continue
        for i, r in enumerate(reps):
            if together(r, c):
                last = i
                break
        else:
            reps.append(c)
            last = len(reps) - 1
        result[c] = last + 1
    return result


GCB = ["Other", "CR", "LF", "Control", "Extend", "ZWJ", "Regional_Indicator", "Prepend", "SpacingMark", "L", "V", "T",
       "LV", "LVT", "Extended_Pictographic"]


def grapheme_classes():
    result = {}
    for name in GCB[1:14]:
        for m in regex.finditer(r"\p{GCB=" + name + "}", ALL):
            result[ord(m.group())] = GCB.index(name)
    for m in regex.finditer(r"\p{Extended_Pictographic}", ALL):
        result.setdefault(ord(m.group()), GCB.index("Extended_Pictographic"))
    return result


def double_array(key, value):
    """A SentencePiece character map with one key (bytes) that becomes value."""
    size = 256 * (len(key) + 2)
    units = [0] * size
    place = 0
    base = 256
    units[0] = base << 10
    place ^= base
    for i, b in enumerate(key):
        place ^= b
        leaf = i == len(key) - 1
        base = 256 * (i + 2) if i + 2 < len(key) + 2 else 256
        offset = place ^ base
        units[place] = b | (offset << 10) | ((1 << 8) if leaf else 0)
        place ^= offset
        if leaf:
            units[place] = 1 << 31
    blob = struct.pack("<I", 4 * size) + struct.pack("<%dI" % size, *units) + value + b"\0"
    return normalizers.Precompiled(blob)


def check_graphemes(classes):
    """Correct the classes by the library: does a character join the letter before it, or the one after it?"""
    # A lone key "a": a cluster that begins with it and is short is replaced as a whole
    joins_previous = double_array(b"a", b"Z")
    extend = GCB.index("Extend")
    joining = {GCB.index(n) for n in ("Extend", "ZWJ", "SpacingMark")}
    changed = 0
    for c in POINTS:
        if c == 0:
            continue
        joined = joins_previous.normalize_str("a" + chr(c)) == "Z"
        if joined != (classes.get(c, 0) in joining):
            changed += 1
            if joined:
                classes[c] = extend
            else:
                classes.pop(c, None)
    print("grapheme classes corrected:", changed, file=sys.stderr)
    return classes


FLAGS = ["WHITE", "BERT_SPACE", "BERT_CONTROL", "BERT_MARK", "BERT_PUNCT", "MARK", "NUMERIC", "RE_WORD", "RE_SPACE",
         "ON_SPACE", "ON_WORD", "L", "LU", "LL", "LT", "LM", "LO", "M", "N", "ND", "P", "S", "COMPOSE", "NEW"]
CATEGORIES = ("L", "LU", "LL", "LT", "LM", "LO", "M", "N", "ND", "P", "S")


def two_stage(values, shift):
    blocks, stage1, stage2 = {}, [], []
    size = 1 << shift
    for start in range(0, LAST, size):
        block = tuple(values[start:start + size])
        if block not in blocks:
            blocks[block] = len(blocks)
            stage2.extend(block)
        stage1.append(blocks[block])
    return stage1, stage2


def array(kind, name, values, width=24):
    print("const %s %s[%d] =\n{" % (kind, name, len(values)))
    for i in range(0, len(values), width):
        print("\t" + ", ".join(map(str, values[i:i + width])) + ",")
    print("};\n")


def main():
    nfd, nfc = normalizers.NFD(), normalizers.NFC()
    flags = {name: set() for name in FLAGS}
    canonical = expansions(nfd)
    compatible = expansions(normalizers.NFKD())
    lower = expansions(normalizers.Lowercase())
    for c in HANGUL:
        i = c - 0xAC00
        want = (0x1100 + i // 588, 0x1161 + i % 588 // 28) + ((0x11A7 + i % 28,) if i % 28 else ())
        assert canonical.pop(c) == want and compatible.pop(c) == want
    classes = combining_classes(nfd)
    pairs = compositions(nfd, nfc)
    flags["COMPOSE"] = {b for _, b in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))

    clean, marks, accents = bert(clean_text=True), bert(strip_accents=True), normalizers.StripAccents()
    for c in POINTS:
        s = chr(c)
        t = clean.normalize_str("a" + s + "a")
        if t == "aa":
            flags["BERT_CONTROL"].add(c)
        elif t == "a a":
            flags["BERT_SPACE"].add(c)
        if c not in canonical and c not in HANGUL and marks.normalize_str(s) == "":
            flags["BERT_MARK"].add(c)
        if accents.normalize_str(s) == "":
            flags["MARK"].add(c)
    bert_pre, punct = pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Punctuation()
    white, words, digits = pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Whitespace(), pre_tokenizers.Digits()
    for c in POINTS:
        s = "\u0391" + chr(c) + "\u0391"
        n = len(bert_pre.pre_tokenize_str(s))
        is_punct = len(punct.pre_tokenize_str(s)) == 3
        is_white = len(white.pre_tokenize_str(s)) == 2
        if is_punct:
            flags["BERT_PUNCT"].add(c)
        if is_white:
            flags["WHITE"].add(c)
        assert n == (2 if is_white else 3 if is_punct else 1), hex(c)
        n = len(words.pre_tokenize_str(s))
        if n == 1:
            flags["RE_WORD"].add(c)
        elif n == 2:
            flags["RE_SPACE"].add(c)
        if len(digits.pre_tokenize_str(s)) == 3:
            flags["NUMERIC"].add(c)
    flags["ON_SPACE"] = members(r"\s")
    flags["ON_WORD"] = members(r"\w")
    for name in CATEGORIES:
        flags[name] = members(r"\p{%s}" % (name[0] + name[1:].lower()))
    # What changed since the Unicode of the oldest PCRE2 that is supported (10.40 to 10.42)
    assert unicodedata.unidata_version == "14.0.0", "run this with Python 3.11"
    for c in POINTS:
        category = unicodedata.category(chr(c)).upper()
        if any((c in flags[name]) != category.startswith(name) for name in CATEGORIES):
            flags["NEW"].add(c)
    script = scripts()
    graphemes = check_graphemes(grapheme_classes())

    records, record_of = {}, [0] * LAST
    pool, pool_at = [0], {(): 0}
    maps, map_of = {(0, 0, 0): 0}, [0] * LAST
    masks = [0] * LAST
    for bit, name in enumerate(FLAGS):
        for c in flags[name]:
            masks[c] |= 1 << bit
    for c in range(LAST):
        key = (masks[c], classes.get(c, 0), graphemes.get(c, 0), script.get(c, 0))
        record_of[c] = records.setdefault(key, len(records))
        key = []
        for table in (lower, canonical, compatible):
            to = table.get(c, ())
            if c in table and not to:
                raise ValueError("empty expansion of %x" % c)
            if to not in pool_at:
                pool_at[to] = len(pool)
                pool.append(len(to))
                pool.extend(to)
            key.append(pool_at[to])
        map_of[c] = maps.setdefault(tuple(key), len(maps))

    print("/*-------------------------------------------------------------------------")
    print(" * unicode_table.c")
    print(" *\t  Character properties, generated by make_unicode_table.py; do not edit.")
    print(" *-------------------------------------------------------------------------\n */")
    print('#include "text/unicode.h"\n')
    if "--names" in sys.argv:
        print(FLAGS, file=sys.stderr)
    stage1, stage2 = two_stage(record_of, 7)
    array("uint16_t", "te_uc_class_stage1", stage1)
    array("uint16_t", "te_uc_class_stage2", stage2)
    print("const TeCharClass te_uc_classes[%d] =\n{" % len(records))
    for key in records:
        print("\t{0x%x, %d, %d, %d}," % key)
    print("};\n")
    stage1, stage2 = two_stage(map_of, 6)
    array("uint16_t", "te_uc_map_stage1", stage1)
    array("uint16_t", "te_uc_map_stage2", stage2)
    print("const TeCharMap te_uc_maps[%d] =\n{" % len(maps))
    for key in maps:
        print("\t{%d, %d, %d}," % key)
    print("};\n")
    array("uint32_t", "te_uc_pool", pool, 16)
    print("const size_t te_uc_n_pairs = %d;\n" % len(pairs))
    print("const TeCharPair te_uc_pairs[%d] =\n{" % len(pairs))
    for (a, b), c in sorted(pairs.items()):
        print("\t{0x%x, 0x%x, 0x%x}," % (a, b, c))
    print("};")
    print("records", len(records), "maps", len(maps), "pool", len(pool), file=sys.stderr)


main()
