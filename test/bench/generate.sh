#!/bin/sh
#
# generate.sh
#	  How fast a decoder generates, beside llama.cpp, in one run and in turns.
#
# Usage: VOCABULARY=ggml-vocab-gpt-2.gguf LLAMA=folder [PYTHON=python3] [TYPES="q8_0 q4_0"] [ROUNDS=2] [THREADS=2] [WORK=folder]
#		 test/bench/generate.sh
#
# The model has the shape of Qwen2.5-0.5B and random weights (make_decoder.py; PYTHON has gguf and numpy).  LLAMA has llama-bench,
# llama-batched-bench and llama-quantize, built on this machine; both sides read the same files.  Measured are prompts of 128 and 512 tokens, one
# text after a short prompt, 16 texts together, and 100 prompts of 50 words of their own after 400 that all have, with and
# without what they share.  For each the best of ROUNDS, and the bytes of weights a second that one text is made with, beside what memory
# gives (bench_kernels peak).  Not part of `make bench`: the model has a gigabyte.

set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
PYTHON=${PYTHON:-python3}
TYPES=${TYPES:-"q8_0 q4_0"}
ROUNDS=${ROUNDS:-2}
THREADS=${THREADS:-2}
WORK=${WORK:-$top/build/bench}
BUILD=${BUILD:-$top/build}

make -s -C "$top/test" bench-build BUILD="$BUILD" CC=gcc >/dev/null
ours=$BUILD/bench/gcc/bench_generate
mkdir -p "$WORK"
[ -f "$WORK/f16.gguf" ] || "$PYTHON" "$top/test/bench/make_decoder.py" "$VOCABULARY" "$WORK/f16.gguf"

# the best of the numbers on standard input
best()
{
	sort -g | tail -1
}

for type in $TYPES
do
	file=$WORK/$type.gguf
	[ -f "$file" ] || "$LLAMA/llama-quantize" "$WORK/f16.gguf" "$file" "$type" 2 >/dev/null 2>&1
	for round in $(seq "$ROUNDS")
	do
		for n in 128 512
		do
			echo "ours prompt_$n $("$ours" "$file" -w "$THREADS" -p $n -n 2 | sed -n 's|.*prompts [0-9]* tokens \([0-9.]*\)/s.*|\1|p' | best)"
			echo "llama prompt_$n $("$LLAMA/llama-bench" -m "$file" -t "$THREADS" -r 2 -p $n -n 0 -o csv 2>/dev/null | tail -1 | awk -F, '{gsub("\"", ""); print $(NF-1)}')"
		done
		echo "ours one $("$ours" "$file" -w "$THREADS" -p 16 -n 48 | sed -n 's|.*made [0-9]* tokens \([0-9.]*\)/s.*|\1|p' | best)"
		echo "llama one $("$LLAMA/llama-bench" -m "$file" -t "$THREADS" -r 2 -p 0 -n 48 -o csv 2>/dev/null | tail -1 | awk -F, '{gsub("\"", ""); print $(NF-1)}')"
		echo "ours sixteen $("$ours" "$file" -w "$THREADS" -r 16 -p 128 -n 24 | sed -n 's|.*made [0-9]* tokens \([0-9.]*\)/s.*|\1|p' | best)"
		echo "llama sixteen $("$LLAMA/llama-batched-bench" -m "$file" -t "$THREADS" -c 4096 -npp 128 -ntg 24 -npl 16 2>/dev/null | awk -F'|' '$4 + 0 == 16 {print $9 + 0}')"
	done | awk -v type="$type" '
		$3 + 0 > best[$1 " " $2] { best[$1 " " $2] = $3 + 0 }
		END {
			n = split("prompt_128 prompt_512 one sixteen", cases, " ")
			for (i = 1; i <= n; i++) {
				a = best["ours " cases[i]]; b = best["llama " cases[i]]
				printf "%-8s %-12s %8.1f tokens/s, llama.cpp %8.1f: %.2f x\n", type, cases[i], a, b, (b > 0 ? a / b : 0)
			}
			printf "%-8s sixteen texts together %.2f x one\n", type, best["ours sixteen"] / best["ours one"]
		}'
	echo "$type     image $("$ours" "$file" -w "$THREADS" -p 4 -n 1 | sed -n 's/^image \(.*\), isa.*/\1/p')"
	for shared in "" -x
	do
		echo "$type     100 prompts of 400 + 50 words, 8 tokens each${shared:+, nothing shared}: $("$ours" "$file" -w "$THREADS" -s 400 -p 50 -r 100 -n 8 -R 1 $shared | sed -n 's/.*all in //p')"
	done
done
"$BUILD/bench/gcc/bench_kernels" peak threads="$THREADS"
