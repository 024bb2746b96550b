#!/usr/bin/env python3
"""The engine, SQL and the peers in turns, and what the figures say about the bars.

    bench.py --work DIR --model FOLDER --engine bench_engine [--parts "engine sql peers"] [--python PYTHON]
        [--psql COMMAND] [--rounds 3] [--seconds 0.25] [--cases 12,128] [--types f32,int8] [--threads 1,2]
        [--output FILE.tsv]
    bench.py --summary FILE.tsv

run.sh beside this file calls it.  Every contender is a program that keeps its models loaded (bench_engine -s,
peer_*.py) or a statement; in each round every one of them gives a sample of a case, and then the next case comes.
The best sample counts, since other work only slows down; the spread is (median - best) / best of the rounds.
Before a sample on several threads a loop of multiply-adds on as many must reach its whole peak: some virtual machines
run two threads on one core for seconds at a time.  Such moments are waited for to end, and counted.

Cases: texts of exactly 12, 32, 128, 400 tokens (special ones included), lengths mixed evenly from 5 to 250, and a single text
of 12 tokens.  Peers get token ids, so that the engine's "forward" time, without tokenization, is what compares with theirs;
sentence-transformers tokenizes itself.  With mixed lengths ONNX Runtime gets padded batches of 32, "sorted": every eighth batch of 1024
rows in order of length, and "unsorted".

The output is a line a case and contender, with tabs: part, contender, variant, threads, case, rounds, best and median seconds, rows,
tokens, seconds of forward and of linear ops.  Peaks are lines of part "peak", their rate in place of seconds.  Needs nothing beyond Python itself.
"""

import argparse
import csv
import json
import os
import random
import shlex
import shutil
import statistics
import subprocess
import sys
import time

UNIFORM = {"12": 256, "32": 128, "128": 32, "400": 10}
FIELDS = ["part", "contender", "variant", "threads", "case", "rounds", "best", "median", "rows", "tokens", "forward", "linear"]
TABLE_ROWS = 4000
PEER_BATCH = 32


class Failed(Exception):
    pass


class Process:
    """A contender that answers lines."""

    def __init__(self, name, command, log):
        self.name = name
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1)
        self.variants = []
        line = self.child.stdout.readline().split()
        self.alive = line[:1] == ["ready"]
        if self.alive:
            self.variants = line[1:]

    def ask(self, request):
        try:
            self.child.stdin.write(request + "\n")
            answer = self.child.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            self.alive = False
            raise Failed(f"{self.name} gave no answer to: {request}")
        return answer.split()

    def sample(self, variant, threads, path, seconds):
        answer = self.ask(f"run {variant} {threads} {path} {seconds}")
        numbers = [float(x) for x in answer if "=" not in x]
        return dict(zip(FIELDS[6:], numbers + [0.0] * (6 - len(numbers))))

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Engine(Process):
    def __init__(self, program, model, types, log):
        super().__init__("engine", [program, model, "-s", ",".join(types)], log)
        if not self.alive:
            sys.exit("bench_engine did not start")
        self.isa, self.variants = self.variants[0], types
        self.peaks = {}

    def sample(self, variant, threads, path, seconds):
        return super().sample(variant, threads, path + ".txt", seconds)

    def peak(self, kind, threads, seconds=0.003):
        return float(self.ask(f"peak {kind} {threads} {seconds}")[0])

    def measure_peaks(self, threads):
        for kind in ("f32", "int8", "bf16"):
            for n in threads:
                best = max([self.peaks.get((kind, n), 0)] + [self.peak(kind, n) for _ in range(5)])
                self.peaks[kind, n] = best


# ---- texts ----


def lift_limit(model, work):
    """The same model with as many tokens a text as it has positions: all-MiniLM-L6-v2 says 256."""
    copy = os.path.join(work, "model")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(model, copy)
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        positions = json.load(file)["max_position_embeddings"]
    path = os.path.join(copy, "sentence_bert_config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["max_seq_length"] = positions
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file)
    return copy


def draw_words(words, lengths, n_tokens, rng):
    """Words that make n_tokens tokens with the two special ones; the last are words of one token."""
    text, n = [], n_tokens - 2
    while n > 0:
        word = rng.choice(words)
        if lengths[word] > n:
            continue
        text.append(word)
        n -= lengths[word]
    return " ".join(text)


def token_ids(args, path):
    subprocess.run([args.engine, args.model, path + ".txt", "-q", "f32", "-t", path + ".ids"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(path + ".ids", encoding="ascii") as lines:
        return [line.split() for line in lines]


def write_texts(args, name, texts, wanted):
    path = os.path.join(args.work, name)
    with open(path + ".txt", "w", encoding="utf-8") as file:
        file.writelines(text + "\n" for text in texts)
    if [len(ids) for ids in token_ids(args, path)] != wanted:
        sys.exit(f"{path}.txt: a text has not as many tokens as it should")
    return path


def make_texts(args):
    rng = random.Random(11)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "..", "demo", "texts.tsv"), encoding="utf-8") as lines:
        words = sorted({word for line in lines for word in line.rstrip("\n").split("\t")[2].split() if word.isascii()})
    path = os.path.join(args.work, "words")
    with open(path + ".txt", "w", encoding="utf-8") as file:
        file.writelines(word + "\n" for word in words)
    lengths = {word: len(ids) - 2 for word, ids in zip(words, token_ids(args, path))}

    def make(name, counts):
        return write_texts(args, name, [draw_words(words, lengths, n, rng) for n in counts], counts)

    paths = {case: make(case, [int(case)] * rows) for case, rows in UNIFORM.items()}
    paths["single"] = make("single", [12])
    paths["table"] = make("table", [12] * TABLE_ROWS)
    # 1024 rows whose lengths cover 5 to 250 evenly, of which each contender gets 128
    counts = [5 + (246 * i) // 1024 for i in range(1024)]
    stratified = [n for first in range(4 * PEER_BATCH, 1024, 8 * PEER_BATCH) for n in counts[first : first + PEER_BATCH]]
    paths["sorted"] = make("sorted", stratified)
    mixed = counts[4::8]
    rng.shuffle(mixed)
    paths["mixed"] = make("mixed", mixed)
    paths["unsorted"] = make("unsorted", mixed)
    return paths


# ---- taking turns ----


class Bench:
    def __init__(self, args, engine):
        self.args = args
        self.engine = engine
        self.rows = {}
        self.waits = 0
        self.given_up = 0

    def wait_for_cores(self, threads):
        if threads == 1:
            return
        one = self.engine.peaks["f32", 1]
        for _ in range(100):
            if self.engine.peak("f32", threads) >= 0.85 * threads * one:
                return
            self.waits += 1
            time.sleep(0.02)
        self.given_up += 1

    def record(self, part, contender, variant, threads, case, sample):
        key = (part, contender, variant, threads, case)
        self.rows.setdefault(key, []).append(sample)

    def turn(self, part, contender, variant, threads, case, path, seconds):
        self.wait_for_cores(threads)
        try:
            self.record(part, contender.name, variant, threads, case, contender.sample(variant, threads, path, seconds))
        except Failed as error:
            print(f"  {error}", file=sys.stderr)

    def result(self, key):
        samples = self.rows[key]
        best = min(samples, key=lambda sample: sample["best"])
        forward = min(samples, key=lambda sample: sample["forward"])
        row = dict(zip(FIELDS, key))
        row.update(rounds=len(samples), best=best["best"], rows=int(best["rows"]), tokens=int(best["tokens"]))
        row.update(median=statistics.median(sample["best"] for sample in samples))
        row.update(forward=forward["forward"], linear=forward["linear"])
        return row

    def results(self):
        peaks = [dict(zip(FIELDS, ("peak", self.engine.isa, kind, threads, "", 1, rate, rate, 0, 0, 0, 0)))
                 for (kind, threads), rate in self.engine.peaks.items()]
        return peaks + [self.result(key) for key in self.rows]


def print_case(bench, part, case):
    for key in bench.rows:
        if key[0] != part or key[4] not in case:
            continue
        row = bench.result(key)
        print(f"  {case_name(key[4])}{describe(row)}", flush=True)


def case_name(case):
    return "" if case in UNIFORM else f"{case:9}"


def describe(row):
    text = f"{row['contender']:24} {row['variant']:10} {row['threads']} thr"
    best, tokens, rows = float(row["best"]), int(row["tokens"]), int(row["rows"])
    text += f"  {rows / best:9.1f} rows/s {tokens / best / 1e3:7.2f} ktok/s"
    if rows == 1:
        text += f"  {1e3 * best:.3f} ms"
    if float(row["forward"]) > 0:
        text += f"  forward {tokens / float(row['forward']) / 1e3:7.2f} ktok/s"
        text += f", linear {100 * float(row['linear']) / float(row['forward']):.0f} %"
    return text + f"  spread {100 * (float(row['median']) / best - 1):.0f} %"


def forms_of(contender, case):
    """The cases that a contender is asked for instead: ONNX Runtime pads, so that the order of rows matters."""
    if case == "mixed" and contender.name == "onnxruntime":
        return ["sorted", "unsorted"]
    return [case]


def run_cases(bench, contenders, paths, cases):
    args = bench.args
    for case in cases:
        print(f"{case} tokens" if case.isdigit() else case, flush=True)
        forms = sorted({form for contender in contenders for form in forms_of(contender, case)})
        rounds = args.rounds if case != "mixed" else max(1, args.rounds - 1)
        for _ in range(rounds):
            bench.engine.measure_peaks(args.threads)
            for threads in args.threads:
                for contender in contenders:
                    for variant in contender.variants:
                        for form in forms_of(contender, case):
                            if contender.alive:
                                bench.turn("engine", contender, variant, threads, form, paths[form], args.seconds)
        print_case(bench, "engine", forms)


# ---- SQL ----

SETUP = """
CREATE TABLE bench (id int GENERATED ALWAYS AS IDENTITY, body text, v real[]);
\\copy bench (body) from '{texts}'
CREATE TABLE bench_out (v real[]);
VACUUM ANALYZE bench;
"""
SERIAL = "SET max_parallel_workers_per_gather = 0;"
PARALLEL = """SET max_parallel_workers_per_gather = 2; SET parallel_leader_participation = off; SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;"""
STATEMENTS = {
    "update": (SERIAL, "UPDATE bench SET v = transformer.embed(body);"),
    "insert": (SERIAL, "INSERT INTO bench_out SELECT transformer.embed(body) FROM bench;"),
    "select": (SERIAL, "SELECT count(transformer.embed(body)) FROM bench;"),
    "parallel": (PARALLEL, "SELECT count(transformer.embed(body)) FROM bench;"),
}


class Sql:
    name = "SQL"
    alive = True

    def __init__(self, args, types):
        self.command = shlex.split(args.psql) + ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]
        self.variants = types

    def run(self, script):
        done = subprocess.run(self.command, input=script, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failed(f"psql: {done.stderr.strip()}")
        return done.stdout

    def timed(self, variant, threads, settings, statements):
        script = f"""SET client_min_messages = error; SET transformer.threads = {threads};
            SET transformer.embedding_model = 'bench_{variant}'; {settings}
            SELECT transformer.embed('warm ' || i) IS NULL FROM generate_series(1, 20) i;
            BEGIN;\n\\timing on\n\\o /dev/null\n{statements}\n\\timing off\n\\o\nROLLBACK;"""
        return [float(line.split()[1]) / 1e3 for line in self.run(script).splitlines() if line.startswith("Time:")]

    def sample(self, variant, threads, path, seconds):
        kind = os.path.basename(path)
        if kind == "single":
            with open(os.path.join(os.path.dirname(path), "table.txt"), encoding="utf-8") as lines:
                texts = [line.rstrip("\n").replace("'", "''") for line in lines][:200]
            times = self.timed(variant, threads, SERIAL, "\n".join(f"SELECT transformer.embed('{text}');" for text in texts))
            return {"best": statistics.median(times), "rows": 1, "tokens": 12, "forward": 0, "linear": 0}
        settings, statement = STATEMENTS[kind]
        return {"best": min(self.timed(variant, threads, settings, statement)), "rows": TABLE_ROWS, "tokens": 12 * TABLE_ROWS,
                "forward": 0, "linear": 0}


def run_sql(bench, paths, sql):
    """The engine and statements over the same 4000 texts of 12 tokens; "single" is the median of 200 statements."""
    args, files = bench.args, bench.args.server_files
    print(f"SQL, {TABLE_ROWS} texts of 12 tokens")
    sql.run("\n".join(f"SELECT transformer.import_model('bench_{name}', '{files}/model', quantization => '{name}');"
                      f"SELECT transformer.load_model('bench_{name}');" for name in sql.variants))
    texts = shutil.copy(paths["table"] + ".txt", files)
    os.chmod(texts, 0o644)
    sql.run(SETUP.format(texts=texts))
    for _ in range(args.rounds):
        for variant in sql.variants:
            for threads in args.threads:
                bench.turn("sql", bench.engine, variant, threads, "table", paths["table"], 0)
                for kind in ("update", "insert", "single"):
                    bench.turn("sql", sql, variant, threads, kind, kind if kind != "single" else paths["single"], 0)
            bench.turn("sql", sql, variant, 1, "select", "select", 0)
            bench.wait_for_cores(2)
            bench.turn("sql", sql, variant, 1, "parallel", "parallel", 0)
    print_sql(bench)


def print_sql(bench):
    for key in bench.rows:
        if key[0] == "sql":
            row = bench.result(key)
            print(f"  {key[4]:9}{describe(row)}", flush=True)


# ---- the bars ----


class Figures:
    def __init__(self, rows, flops_per_token):
        self.rows = {(r["part"], r["contender"], r["variant"], int(r["threads"]), r["case"]): r for r in rows if r["part"] != "peak"}
        self.peaks = {(r["variant"], int(r["threads"])): float(r["best"]) for r in rows if r["part"] == "peak"}
        self.flops = flops_per_token

    def rate(self, contender, variants, threads, case, part="engine", forward=False):
        """Tokens a second of the best of the variants; None where none was measured."""
        found = []
        for variant in variants:
            row = self.rows.get((part, contender, variant, threads, case))
            if row is not None:
                seconds = float(row["forward"]) if forward and float(row["forward"]) > 0 else float(row["best"])
                found.append(int(row["tokens"]) / seconds)
        return max(found, default=None)

    def gemm_share(self, variant, peak, threads, case):
        row = self.rows.get(("engine", "engine", variant, threads, case))
        limit = self.peaks.get((peak, 1), 0) * threads * 1e9
        if row is None or limit == 0 or float(row["linear"]) == 0:
            return None, None
        work = int(row["tokens"]) * self.flops / limit
        return work / float(row["linear"]), work / float(row["forward"])


EIGHT = ["int8", "q8_0"]
ORT8, ORT32 = ["int8", "int8_fused"], ["f32", "f32_fused"]


def ratio_bars(figures):
    """name, figure, bar; the engine without tokenization, as peers get ids."""

    def ratio(ours, threads, case, contender, theirs, their_case=None):
        a = figures.rate("engine", ours, threads, case, forward=True)
        b = figures.rate(contender, theirs, threads, their_case or case)
        return a / b if a and b else None

    for threads in (1, 2):
        yield f"128 tokens, 8 bit / llama.cpp q8_0, {threads} thr", ratio(EIGHT, threads, "128", "llama.cpp", ["q8_0"]), 2.5
        yield f"128 tokens, 8 bit / ONNX Runtime int8, {threads} thr", ratio(EIGHT, threads, "128", "onnxruntime", ORT8), 1.1 if threads == 1 else 1.3
    for threads in (1, 2):
        for form, eight, single in (("sorted", 1.3, 1.1), ("unsorted", 2.0, 1.5)):
            yield f"mixed, 8 bit / ONNX Runtime int8 {form}, {threads} thr", ratio(EIGHT, threads, "mixed", "onnxruntime", ORT8, form), eight
            yield f"mixed, f32 / ONNX Runtime f32 {form}, {threads} thr", ratio(["f32"], threads, "mixed", "onnxruntime", ORT32, form), single
        for case in UNIFORM:
            yield f"{case} tokens, f32 / ONNX Runtime f32, {threads} thr", ratio(["f32"], threads, case, "onnxruntime", ORT32), 1.05
            yield (f"{case} tokens, f32 / ONNX Runtime f32 fused, {threads} thr",
                   ratio(["f32"], threads, case, "onnxruntime", ["f32_fused"]), 1.05)


def sql_bars(figures):
    for threads in (1, 2):
        for variant in EIGHT:
            update = figures.rate("SQL", [variant], threads, "update", "sql")
            engine = figures.rate("engine", [variant], threads, "table", "sql")
            yield f"UPDATE, 12 tokens, {variant} / engine, {threads} thr", update / engine if update and engine else None, 0.85
    for variant in EIGHT:
        one, two = (figures.rate("SQL", [variant], 1, case, "sql") for case in ("select", "parallel"))
        yield f"2 parallel workers / 1 process, {variant}", two / one if one and two else None, 1.8


def print_bar(name, figure, bar, holds):
    if figure is None:
        print(f"  {name:58}        -   bar {bar:5.2f}   not measured")
    else:
        print(f"  {name:58} {figure:8.2f}   bar {bar:5.2f}   {'holds' if holds(figure) else 'MISSED'}")


def summarize(rows):
    flops = [float(r["best"]) for r in rows if r["part"] == "peak" and r["variant"] == "flops_per_token"]
    figures = Figures(rows, flops[0] if flops else 0)
    print("Peaks: " + ", ".join(f"{kind} {threads} thr {rate:.0f}" for (kind, threads), rate in figures.peaks.items() if threads > 0) + " GOP/s")
    print("Share of the peak of one thread times threads: in linear ops (their quantizing and epilogues included), whole forward pass")
    for threads in (1, 2):
        for variant, peak in (("f32", "f32"), ("bf16", "bf16"), ("int8", "int8"), ("q8_0", "int8"), ("q4_0", "int8")):
            shares = [figures.gemm_share(variant, peak, threads, case) for case in UNIFORM]
            if not any(a for a, _ in shares):
                continue
            print(f"  {variant:5} {threads} thr  " + "  ".join(
                f"{case}: {100 * a:.0f} %, {100 * b:.0f} %" if a else f"{case}: -" for case, (a, b) in zip(UNIFORM, shares)))
    print("Bars:")
    at_least = lambda bar: lambda figure: figure >= bar
    for threads in (1, 2):
        shares = [figures.gemm_share(variant, "int8", threads, "128")[0] for variant in EIGHT]
        print_bar(f"128 tokens, 8 bit, share of the int8 peak in GEMMs, {threads} thr", max(filter(None, shares), default=None), 0.7, at_least(0.7))
    for bars in (ratio_bars(figures), sql_bars(figures)):
        for name, figure, bar in bars:
            print_bar(name, figure, bar, at_least(bar))
    singles = [figures.rows.get(("sql", "SQL", variant, 2, "single")) for variant in EIGHT]
    times = [1e3 * float(row["best"]) for row in singles if row is not None]
    print_bar("one text of 12 tokens through SQL, 2 thr, ms", min(times, default=None), 0.9, lambda ms: ms <= 0.9)


def flops_per_token(model):
    with open(os.path.join(model, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    width, inner = config["hidden_size"], config["intermediate_size"]
    return 2 * config["num_hidden_layers"] * (4 * width * width + 2 * width * inner)


# ---- all of it ----


def start_peers(args, log):
    here = os.path.dirname(os.path.abspath(__file__))
    gguf = os.path.join(args.work, "model.gguf")
    path = os.path.join(args.work, "single.txt")
    subprocess.run([args.engine, args.model, path, "-q", "f32", "-x", gguf], check=True, stdout=log, stderr=log)
    peers = [Process(name, [args.python, os.path.join(here, script), *more], log) for name, script, *more in (
        ("onnxruntime", "peer_onnx.py", args.model, os.path.join(args.work, "onnx")),
        ("llama.cpp", "peer_llama.py", gguf, os.path.join(args.work, "llama")),
        ("sentence-transformers", "peer_embed.py", args.model))]
    for peer in peers:
        if not peer.alive:
            print(f"{peer.name}: not measured; its module is not there or failed: {log.name}")
    return [peer for peer in peers if peer.alive]


def write_rows(path, rows):
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commas = lambda text: text.replace(",", " ").split()
    parser.add_argument("--summary")
    parser.add_argument("--work")
    parser.add_argument("--model")
    parser.add_argument("--engine")
    parser.add_argument("--python")
    parser.add_argument("--psql", help="a command")
    parser.add_argument("--server-files", help="a folder that the server can read, with the model in it")
    parser.add_argument("--parts", type=commas, default=["engine"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.25)
    parser.add_argument("--cases", type=commas, default=[*UNIFORM, "mixed", "single"])
    parser.add_argument("--types", type=commas, default=["f32", "bf16", "q8_0", "int8", "q4_0"])
    parser.add_argument("--sql-types", type=commas, default=["int8"])
    parser.add_argument("--threads", type=lambda text: [int(n) for n in commas(text)], default=[1, 2])
    parser.add_argument("--output")
    return parser.parse_args()


def main():
    args = read_arguments()
    if args.summary:
        with open(args.summary, encoding="utf-8", newline="") as file:
            summarize(list(csv.DictReader(file, delimiter="\t")))
        return
    began = time.time()
    with open(os.path.join(args.work, "log"), "w", encoding="utf-8") as log:
        args.model = lift_limit(args.model, args.work)
        paths = make_texts(args)
        engine = Engine(args.engine, args.model, args.types, log)
        bench = Bench(args, engine)
        engine.measure_peaks([1, 2, *args.threads])
        peers = start_peers(args, log) if "peers" in args.parts and args.python else []
        if {"engine", "peers"} & set(args.parts):
            run_cases(bench, [engine, *peers], paths, args.cases)
        for peer in peers:
            peer.close()
        if "sql" in args.parts and args.psql:
            run_sql(bench, paths, Sql(args, args.sql_types))
        rows = bench.results()
        rows.append(dict(zip(FIELDS, ("peak", "", "flops_per_token", 0, "", 1, flops_per_token(args.model), 0, 0, 0, 0, 0))))
        if args.output:
            write_rows(args.output, rows)
        print(f"{time.time() - began:.0f} seconds; {bench.waits} times two threads ran as one and were waited for, {bench.given_up} times in vain")
        summarize(rows)


if __name__ == "__main__":
    main()
