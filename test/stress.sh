#!/bin/sh
#
# stress.sh
#	  PostgreSQL's own regression tests with Batch nodes in most of their plans.
#
# Usage: test/stress.sh SOURCE RESULTS
#
# SOURCE is a source tree of PostgreSQL that was configured and built, with
# src/test/regress, and installed under its own prefix (best with --enable-cassert; the major version
# is that of the installation).  RESULTS is a folder to make: the tests' outputs with the library
# preloaded, transformer.batch on and off, and what differs between the two.
#
# The library is built with -DTR_BATCH_STRESS, which makes 21 very common
# built-in functions batchable.  Not part of `make test`.  What may differ: plans; WHERE CURRENT OF, which
# needs a plain scan; and the order of rows where none is asked for.

set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
source=$(cd "$1" && pwd)
results=$2
mkdir -p "$results"
results=$(cd "$results" && pwd)
prefix=$(sed -n 's/^prefix := //p' "$source/src/Makefile.global")
bin=$prefix/bin

mkdir -p "$results/obj"
make -s -C "$results/obj" -f "$top/Makefile" PG_CONFIG="$bin/pg_config" COPT=-DTR_BATCH_STRESS install

run()
{
	"$@"
}
if [ "$(id -u)" = 0 ]
then
	run()
	{
		runuser -u postgres -- "$@"
	}
fi

# one on|off: all tests of the parallel schedule, in a cluster of their own
one()
{
	printf '%s\n' "shared_preload_libraries = 'transformer'" "transformer.batch = $1" >"$results/$1.conf"
	mkdir -p "$results/$1"
	if [ "$(id -u)" = 0 ]
	then
		chown -R postgres: "$results/$1"
	fi
	(
		cd "$results/$1"
		run "$source/src/test/regress/pg_regress" --inputdir="$source/src/test/regress" --outputdir="$results/$1" \
			--temp-instance="$results/$1/instance" --temp-config="$results/$1.conf" --bindir="$bin" --no-locale \
			--dlpath="$source/src/test/regress" --schedule="$source/src/test/regress/parallel_schedule"
	) >"$results/$1.log" 2>&1 || true
	grep -c ' \.\.\. \+ok' "$results/$1.log" | sed "s/^/transformer.batch = $1: tests passed: /"
	grep -c ' \.\.\. FAILED' "$results/$1.log" | sed "s/^/transformer.batch = $1: tests with differences: /" || true
}

one off
one on
diff -ru "$results/off/results" "$results/on/results" >"$results/differences" || true
echo "files that differ: $(grep -c '^+++ ' "$results/differences" || true); see $results/differences"
if grep -h 'TRAP: \|terminated by signal' "$results"/o*/log/postmaster.log
then
	echo "the server crashed"
	exit 1
fi
