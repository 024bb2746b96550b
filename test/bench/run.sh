#!/bin/sh
#
# run.sh
#	  How fast: kernels, the engine alone, SQL, and the peers, in one run and in turns.
#
# Usage: [PYTHON=python] [ROUNDS=3] [CASES=12,128] [TYPES=f32,int8] [THREADS=1,2] [OUTPUT=file.tsv]
#		 test/bench/run.sh [kernels] [engine] [peers] [sql]
#
# The model is all-MiniLM-L6-v2.  Texts are made of the words of the demo's, of exactly 12, 32, 128 and 400
# tokens, and of lengths mixed from 5 to 250.  bench.py takes the samples, prints what the figures say about the bars, and
# writes them down in OUTPUT, build/bench.tsv (bench.py --summary FILE prints that again).
#
# PYTHON is an interpreter with what is to be compared: onnxruntime, onnx, sentence-transformers and
# llama-cpp-python (built on this machine, GGML_NATIVE=ON), each where it is installed.  What they need
# of the model is made once, under build/bench.  Quote the ratios, not the times: they are of one run on one
# machine.  test/SPEED.md is the log.

set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
PYTHON=${PYTHON:-}
OUTPUT=${OUTPUT:-$top/build/bench.tsv}
[ $# -gt 0 ] || set -- kernels engine peers sql

. "$top/test/server.sh"
. "$top/test/model.sh"

bench_kernels()
{
	"$BUILD"/bench/gcc/bench_kernels linear bytes bf16 attention layer seconds=0.05
}

# A server with the extension; the model where it can read it.
start_server()
{
	build
	private_server
	start_cluster max_parallel_workers=4 max_worker_processes=8
	as_server "$bin/psql" -X -q -c 'CREATE EXTENSION transformer'
	psql="$bin/psql"
	if [ "$(id -u)" = 0 ]
	then
		psql="runuser -u postgres -- $psql"
	fi
}

work=
files=$top/build/bench
mkdir -p "$files"
case " $* " in
	*" engine "* | *" peers "* | *" sql "*)
		"$top/test/setup.sh" demo
		get_model "$files"
		;;
esac
make -s -C "$top/test" bench-build BUILD="$BUILD" CC=gcc >/dev/null
echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(nproc) processors"
parts=
psql=
for part
do
	case $part in
		kernels) bench_kernels ;;
		sql)
			start_server
			parts="$parts sql"
			;;
		*) parts="$parts $part" ;;
	esac
done
if [ -n "$parts" ]
then
	if [ -n "$work" ]
	then
		# the server reads the texts and the model where its user may
		mkdir -p "$work/bench"
		cp -r "$files/$model_subfolder" "$work/bench/model"
		chmod -R go+rX "$work/bench"
	fi
	python3 "$top/test/bench/bench.py" --parts "$parts" --work "$files" --model "$files/$model_subfolder" \
		--engine "$BUILD/bench/gcc/bench_engine" --output "$OUTPUT" ${PYTHON:+--python "$PYTHON"} ${psql:+--psql "$psql"} \
		${work:+--server-files "$work/bench"} ${ROUNDS:+--rounds "$ROUNDS"} ${CASES:+--cases "$CASES"} ${TYPES:+--types "$TYPES"} \
		${SQL_TYPES:+--sql-types "$SQL_TYPES"} ${THREADS:+--threads "$THREADS"}
fi
