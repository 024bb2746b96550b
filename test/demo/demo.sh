#!/bin/sh
#
# demo.sh
#	  From nothing to search, labels and a model that was trained on rows, in a throw-away cluster.
#
# Installs missing packages (says which), builds, installs into a private copy
# of PostgreSQL, starts a cluster of its own in a temporary folder, and runs
# demo.sql with the models that come with the extension; for each that is not in models/ a fixture
# stands in, which has learned nothing.  Leaves nothing running, unless KEEP=1.

set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
began=$(date +%s)

. "$top/test/server.sh"

step()
{
	printf '%3d s  %s\n' $(($(date +%s) - began)) "$*"
}

"$top/test/setup.sh" demo

step "building"
build
step "installing into a private copy of PostgreSQL"
private_server
step "starting a cluster of its own in $work"
start_cluster
step "ready"

as_server env DEMO_TEXTS="$work/src/test/demo/texts.tsv" "$bin/psql" -X -v fixtures="$work/src/models/fixtures" \
	<"$top/test/demo/demo.sql"

echo
if [ "${KEEP:-0}" = 1 ]
then
	keep=yes
	prefix=
	[ "$(id -u)" = 0 ] && prefix="runuser -u postgres -- "
	echo "The cluster is still running.  To go on:"
	echo "    ${prefix}psql -h $PGHOST -p $PGPORT -U postgres"
	echo "To end it and remove all of it:"
	echo "    ${prefix}$bin/pg_ctl -D $data -m fast stop; rm -rf $work"
else
	echo "KEEP=1 make demo leaves the cluster running and says how to connect."
fi
step "done"
