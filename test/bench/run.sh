#!/bin/sh
#
# run.sh
#	  How fast: kernels, the engine alone, and SQL beside sentence-transformers.
#
# Usage: [PYTHON=python] [ROWS=5000] [ROUNDS=2] [THREADS=2] test/bench/run.sh [kernels] [engine] [sql]
#
# The texts are made of the words of the demo's: one set of about 32 tokens each, one of
# lengths mixed from 5 to 250.  The model is all-MiniLM-L6-v2, f32, on both sides.
#
# PYTHON is an interpreter with sentence-transformers (pip install sentence-transformers==3.*
# in a virtual environment); without one only this extension is measured.  Both sides take turns,
# and the best of ROUNDS of each counts: other work on the machine can only slow down.  Quote
# the ratios, not the times: they are of one run on one machine.  test/SPEED.md is the log.

set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
ROWS=${ROWS:-5000}
ROUNDS=${ROUNDS:-2}
THREADS=${THREADS:-2}
PYTHON=${PYTHON:-}
[ $# -gt 0 ] || set -- kernels engine sql

. "$top/test/server.sh"
. "$top/test/model.sh"

# texts SHORTEST LONGEST: a text a line; words are drawn by a fixed rule.  A word is 1.25 tokens or so.
texts()
{
	cut -f 3 "$top/test/demo/texts.tsv" | head -160 | tr -s ' ' '\n' | awk -v rows="$ROWS" -v shortest="$1" -v longest="$2" '
		{ word[NR] = $0 }
		function draw(n) { seed = (seed * 16807) % 2147483647; return seed % n }
		END {
			seed = 42
			for (i = 0; i < rows; i++)
			{
				n = int((shortest + draw(longest - shortest + 1)) / 1.25)
				line = word[1 + draw(NR)]
				for (j = 1; j < n; j++)
					line = line " " word[1 + draw(NR)]
				print line
			}
		}'
}

# sql_seconds FILE FORM: embed the rows of a file in one statement; seconds of the statement alone
sql_seconds()
{
	case $2 in
		array)
			statement="SELECT count(*) FROM transformer.embed((SELECT array_agg(body ORDER BY id) FROM bench));"
			;;
		table)
			statement="CALL transformer.embed_table('bench', 'body', 'vector', batch_size => 5000);"
			;;
	esac
	as_server "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 <<-SQL | sed -n 's/^Time: \([0-9.]*\) ms.*/\1/p' | tail -1 | awk '{ print $1 / 1000 }'
		SET client_min_messages = error;
		SET transformer.threads = $THREADS;
		SET transformer.embedding_model = 'minilm';
		CREATE TEMP TABLE bench (id int GENERATED ALWAYS AS IDENTITY, body text, vector real[]);
		\\copy bench (body) FROM '$1'
		SELECT transformer.embed('warm') IS NULL;
		\\timing on
		$statement
	SQL
}

best()
{
	sort -n | head -1
}

bench_kernels()
{
	make -s -C "$top/test" bench-build BUILD="$BUILD" CC=gcc >/dev/null
	"$BUILD"/bench/gcc/bench_kernels threads="$THREADS"
}

bench_engine()
{
	make -s -C "$top/test" bench-build BUILD="$BUILD" CC=gcc >/dev/null
	for set in short mixed
	do
		echo "engine alone, $set texts:"
		"$BUILD"/bench/gcc/bench_engine "$model" "$files/$set" -w "$THREADS" -r "$ROUNDS"
	done
}

bench_sql()
{
	for set in short mixed
	do
		: >"$files/array.$set" >"$files/table.$set" >"$files/peer.$set"
		for round in $(seq "$ROUNDS")
		do
			sql_seconds "$files/$set" array >>"$files/array.$set"
			sql_seconds "$files/$set" table >>"$files/table.$set"
			if [ -n "$PYTHON" ]
			then
				"$PYTHON" "$top/test/bench/peer_embed.py" "$model" "$files/$set" "$THREADS" >>"$files/peer.$set" 2>/dev/null
			fi
		done
		for form in array table peer
		do
			seconds=$(best <"$files/$form.$set")
			[ -n "$seconds" ] || continue
			peer=$(best <"$files/peer.$set")
			echo "$set $form $seconds ${peer:-0}" | awk -v rows="$ROWS" '{
				name["array"] = "embed(text[])"; name["table"] = "CALL embed_table"; name["peer"] = "sentence-transformers"
				printf "%-6s %-22s %8.1f rows/s", $1, name[$2], rows / $3
				if ($4 > 0) printf "   %.2f times sentence-transformers", $4 / $3
				printf "\n" }'
		done
	done
}

files=$(mktemp -d)
trap 'rm -rf "$files"' EXIT
chmod 755 "$files"
case " $* " in
	*" sql "* | *" engine "*)
		"$top/test/setup.sh" demo
		get_model "$files"
		model=$files/$model_subfolder
		texts 32 32 >"$files/short"
		texts 5 250 >"$files/mixed"
		chmod -R go+rX "$files"
		;;
esac
case " $* " in
	*" sql "*)
		build
		private_server
		mv "$files" "$work/bench"
		files=$work/bench
		model=$files/$model_subfolder
		start_cluster
		as_server "$bin/psql" -X -q -o /dev/null -c 'CREATE EXTENSION transformer' \
			-c "SELECT transformer.import_model('minilm', '$model')" -c "SELECT transformer.load_model('minilm')"
		;;
esac
echo "$ROWS texts, $THREADS threads, best of $ROUNDS; $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1)"
for part
do
	"bench_$part"
done
