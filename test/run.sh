#!/bin/sh
#
# run.sh
#	  Run the tests: each stage that is named, or all; the last line is the sum of them.
#
# Usage: test/run.sh all | stage ...      stages: lint unit fuzz regress isolation tap
#
# Environment: PG_CONFIG or PG_MAJOR (which PostgreSQL), TESTS (TAP files, instead of all),
# TRANSFORMER_TEST_DATA (a folder with more texts and tokenizers), TRANSFORMER_MINILM (a folder with
# all-MiniLM-L6-v2); tests that need one of the last two skip themselves without it.
# KEEP_LOGS=folder keeps the logs, with what was measured, and the results of pg_regress and isolation tests.
#
# Each stage counts what passed and failed in its own way of saying so, and a
# stage that ends badly without having said so counts as one failure.

set -u

top=$(cd "$(dirname "$0")/.." && pwd)
passed=0
failed=0
began=$(date +%s)

. "$top/test/server.sh"

# tally NAME STATUS PASSED FAILED LOG: add up, and show the log where it went badly
tally()
{
	bad=$4
	if [ "$2" != 0 ] && [ "$bad" = 0 ]
	then
		bad=1
	fi
	passed=$((passed + $3))
	failed=$((failed + bad))
	printf '%-40s %4d passed, %d failed\n' "$1" "$3" "$bad"
	if [ "$bad" != 0 ]
	then
		grep -v '^  \(CC\|LD\) ' "$5" | tail -"${LOG_LINES:-80}" | sed 's/^/    | /'
	fi
	if [ -n "${KEEP_LOGS:-}" ]
	then
		mkdir -p "$KEEP_LOGS"
		cp "$5" "$KEEP_LOGS/$(echo "${1%% (*}" | tr ' /' '__').log"
	fi
}

# summed LOG: the last "N passed, N failed" of a log, as two words
summed()
{
	sed -n 's/.*\b\([0-9][0-9]*\) passed, \([0-9][0-9]*\) failed.*/\1 \2/p' "$1" | tail -1 | grep . || echo 0 0
}

# by_summary NAME COMMAND...: a stage that ends with such a line itself
by_summary()
{
	name=$1
	shift
	log=$logs/$name.log
	"$@" >"$log" 2>&1 </dev/null
	status=$?
	set -- $(summed "$log")
	tally "$name" $status "$1" "$2" "$log"
}

stage_lint()
{
	by_summary "lint layers" "$top/test/check_layers.sh"
	by_summary "lint sources" "$top/test/lint.sh" "$BUILD"
}

stage_unit()
{
	by_summary "unit" make -C "$top/test" -j"$(n_jobs)" unit
}

# Each input of the corpus is a test; a target ends at the first that fails.
stage_fuzz()
{
	log=$logs/fuzz.log
	make -C "$top/test" -j"$(n_jobs)" fuzz-replay >"$log" 2>&1 </dev/null
	tally "fuzz corpus" $? "$(awk '/ inputs replayed$/ { n += $(NF - 2) } END { print n + 0 }' "$log")" 0 "$log"
}

# pg_regress and its sister say "ok" and "FAILED" a line
by_regress()
{
	name=$1
	log=$logs/$name.log
	shift
	"$@" >"$log" 2>&1 </dev/null
	status=$?
	ok=$(grep -c '\.\.\. ok\|^ok ' "$log")
	bad=$(grep -c '\.\.\. FAILED\|^not ok ' "$log")
	if [ "$bad" != 0 ] && [ -e "$work/$name/regression.diffs" ]
	then
		cat "$work/$name/regression.diffs" >>"$log"
	fi
	if [ -n "${KEEP_LOGS:-}" ]
	then
		mkdir -p "$KEEP_LOGS"
		cp -R "$work/$name/results" "$KEEP_LOGS/$name"
	fi
	tally "$name" $status "$ok" "$bad" "$log"
}

# What `make installcheck` does, on the private server.
stage_regress()
{
	as_server mkdir -p "$work/regress"
	ln -s "$work/src/sql/regress" "$work/regress/sql"
	ln -s "$work/src/expected" "$work/regress/expected"
	ln -s "$work/src/models" "$work/regress/models"
	names=$(cd "$work/regress/sql" && for f in setup.sql *.sql; do [ -e "$f" ] && echo "${f%.sql}"; done | awk '!seen[$0]++')
	by_regress regress as_server env TRANSFORMER_TEST_DATA="${TRANSFORMER_TEST_DATA:-}" \
		"$("$pg_config" --pgxs | sed 's,/makefiles/pgxs.mk,,')/test/regress/pg_regress" \
		--inputdir="$work/regress" --outputdir="$work/regress" --bindir="$bin" \
		--dbname=contrib_regression_transformer --load-extension=transformer $names
}

stage_isolation()
{
	as_server mkdir -p "$work/isolation"
	ln -s "$work/src/test/isolation/specs" "$work/isolation/specs"
	ln -s "$work/src/test/isolation/expected" "$work/isolation/expected"
	as_server "$bin/psql" -q -X -d postgres -c 'CREATE DATABASE isolation_models' -c '\c isolation_models' \
		-c 'CREATE EXTENSION transformer' \
		-c "SELECT transformer.import_model('kept', '$work/src/models/fixtures/bert')" \
		-c "SELECT transformer.import_model('other', '$work/src/models/fixtures/distilbert')" >"$work/isolation/prepare.log" 2>&1 ||
		cat "$work/isolation/prepare.log"
	names=$(cd "$work/isolation/specs" && for f in *.spec; do echo "${f%.spec}"; done)
	by_regress isolation as_server \
		"$("$pg_config" --pgxs | sed 's,/makefiles/pgxs.mk,,')/test/isolation/pg_isolation_regress" \
		--inputdir="$work/isolation" --outputdir="$work/isolation" --bindir="$bin" \
		--use-existing --dbname=isolation_models $names
}

# Each file by itself, so that its time and its failures have its name.
stage_tap()
{
	pgxs=$("$pg_config" --pgxs | sed 's,/makefiles/pgxs.mk,,')
	for file in ${TESTS:-"$top"/test/t/*.pl}
	do
		name=$(basename "$file")
		log=$logs/$name.log
		start=$(date +%s)
		as_server mkdir -p "$work/tap/$name"
		as_server env TESTDIR="$work/tap/$name" PATH="$bin:$PATH" PG_REGRESS="$pgxs/test/regress/pg_regress" \
			PERL5LIB="$pgxs/test/perl:$work/src/test/t${PERL5LIB:+:$PERL5LIB}" TRANSFORMER_FIXTURES="$work/src/models/fixtures" \
			TRANSFORMER_MINILM="${TRANSFORMER_MINILM:-}" TRANSFORMER_TEST_DATA="${TRANSFORMER_TEST_DATA:-}" \
			perl "$work/src/test/t/$name" >"$log" 2>&1 </dev/null
		status=$?
		tally "tap $name ($(($(date +%s) - start)) s)" $status \
			"$(grep '^ok ' "$log" | grep -vc '# skip')" "$(grep -c '^not ok ' "$log")" "$log"
		if [ -n "${KEEP_LOGS:-}" ] && [ $status != 0 ]
		then
			cp "$work/tap/$name"/tmp_check/log/* "$KEEP_LOGS" 2>/dev/null
		fi
		as_server rm -rf "$work/tap/$name"
	done
}

case " $* " in
	*" all "*)
		set -- lint unit fuzz regress isolation tap
		;;
esac
if [ $# = 0 ]
then
	sed -n 's/^# Usage: //p' "$0"
	exit 2
fi

"$top/test/setup.sh" test || exit 1

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

case " $* " in
	*" lint "* | *" regress "* | *" isolation "* | *" tap "*)
		if ! build >"$logs/build" 2>&1
		then
			tally build 1 0 1 "$logs/build"
			echo "$passed passed, $failed failed"
			exit 1
		fi
		bad=$(grep -c 'warning:' "$logs/build")
		tally "build without a warning" 0 $((bad == 0)) "$bad" "$logs/build"
		;;
esac
case " $* " in
	*" regress "* | *" isolation "* | *" tap "*)
		private_server
		# What comes with the extension is no part of a test that does not say so: t/014_shipped.pl.
		rm -rf "$share/transformer"
		mv "$logs"/* "$work/" 2>/dev/null
		rmdir "$logs"
		logs=$work
		;;
esac
case " $* " in
	*" regress "* | *" isolation "*)
		start_cluster || failed=$((failed + 1))
		;;
esac

for stage
do
	"stage_$stage"
done

echo "in $(($(date +%s) - began)) seconds"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
