#!/bin/sh
#
# make.sh
#	  Make the models that come with the extension, by its own SQL: models/recipes/*.sql.
#
#	  models/make.sh DATA [NAME ...]		NAME: encoder, sentiment, intent, generator; all of them by default
#
# DATA is a folder with the data sets that models/README.md names, in the layout that data.sh expects.  A private
# PostgreSQL is started with the extension as it is built, the texts are loaded (recipes/data.sql), all-MiniLM-L6-v2 is
# imported as the teacher, and each recipe makes its model, says how good it is, and exports it; the file then replaces
# models/NAME.gguf.  The same seed and processor give the same file.  An hour on two cores makes all of them.

set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
[ $# -ge 1 ] || { echo "usage: models/make.sh DATA [NAME ...]" >&2; exit 2; }
texts=$(cd "$1" && pwd)
shift
[ $# -ge 1 ] || set -- encoder sentiment intent generator

. "$top/test/server.sh"
. "$top/test/model.sh"

"$top/test/setup.sh" demo
build
private_server
start_cluster "max_parallel_workers_per_gather = 0" "transformer.training_memory = '8GB'"
get_model "$work/teacher"

# Every set as a file of one kind that COPY reads.
sh "$top/models/recipes/data.sh" "$texts" "$work/texts"
mkdir "$work/out"
cp "$top"/models/*.gguf "$work/out" 2>/dev/null || true
chmod -R go+rX "$work"
[ "$(id -u)" = 0 ] && chown -R postgres: "$work/out"

run_sql()
{
	as_server "$bin/psql" -X -q -v ON_ERROR_STOP=1 -v texts="$work/texts" -v teacher="$work/teacher/$model_subfolder" \
		-v out="$work/out" <"$top/models/recipes/$1.sql"
}

run_sql data
for name
do
	echo "$name"
	rm -f "$work/out/$name.gguf"
	run_sql "$name"
	cp "$work/out/$name.gguf" "$top/models/$name.gguf"
done
