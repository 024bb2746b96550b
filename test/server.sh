#
# server.sh
#	  A private PostgreSQL with this extension, for tests and demo.  Sourced, not run.
#
# What it owns: one folder under $TMPDIR ($work), in which there is a copy of
# the program files of the PostgreSQL that pg_config names (the server finds its
# libraries relative to its own place, so a copy with the extension installed
# into it is a complete installation), the data folder of a cluster, its
# socket, and a copy of what the tests read.  Neither the installed
# PostgreSQL nor any cluster of the machine is touched, and the folder goes when the
# script ends, however it ends.
#
# A server does not run as root.  For root everything that has to do with a
# server runs as user postgres, which is why nothing of it stays in the checkout:
# that may lie where postgres cannot look.
#
# Before: $top is the checkout.  After private_server: $bin, $work, $share;
# after start_cluster: PGHOST, PGPORT, PGUSER, PGDATABASE.

BUILD=${BUILD:-$top/build/obj}
unset MAKEFLAGS MAKELEVEL MFLAGS
# Nothing of the caller's connection settings reaches a test.
unset PGHOST PGPORT PGUSER PGDATABASE PGDATA PGPASSWORD PGSERVICE PGOPTIONS PGHOSTADDR PSQLRC
export PSQL_PAGER=

pg_config=${PG_CONFIG:-}
if [ -z "$pg_config" ]
then
	pg_config=/usr/lib/postgresql/${PG_MAJOR:-15}/bin/pg_config
	[ -x "$pg_config" ] || pg_config=pg_config
fi

if [ "$(id -u)" = 0 ]
then
	as_server()
	{
		(cd "$work" && exec runuser -u postgres -- "$@")
	}
else
	as_server()
	{
		(cd "$work" && exec "$@")
	}
fi

n_jobs()
{
	nproc 2>/dev/null || echo 1
}

# Build outside the tree; says so only where it fails.
build()
{
	mkdir -p "$BUILD"
	make -s -C "$BUILD" -f "$top/Makefile" PG_CONFIG="$pg_config" -j"$(n_jobs)" all
}

leave()
{
	status=$?
	trap - EXIT INT TERM HUP
	if [ -n "${keep:-}" ]
	then
		exit $status
	fi
	stop_cluster
	if [ -n "${work:-}" ]
	then
		rm -rf "$work"
	fi
	exit $status
}

# Copy the program files and install the extension into the copy.
private_server()
{
	work=$(mktemp -d "${TMPDIR:-/tmp}/transformer.XXXXXX")
	trap leave EXIT
	trap 'exit 130' INT TERM HUP
	chmod 755 "$work"

	root=$work/root
	for dir in $("$pg_config" --bindir) $("$pg_config" --pkglibdir) $("$pg_config" --sharedir)
	do
		mkdir -p "$root$dir"
		tar -C "$dir" -cf - --exclude ./bitcode --exclude ./pgxs --exclude ./man . | tar -C "$root$dir" -xf -
	done
	bin=$root$("$pg_config" --bindir)
	share=$root$("$pg_config" --sharedir)
	make -s -C "$BUILD" -f "$top/Makefile" PG_CONFIG="$pg_config" DESTDIR="$root" install >/dev/null

	mkdir "$work/src"
	tar -C "$top" -cf - sql expected models test/isolation test/t test/demo | tar -C "$work/src" -xf -
	if [ "$(id -u)" = 0 ]
	then
		chown -R postgres: "$work"
	fi
	chmod -R go+rX "$work"
}

# start_cluster [setting=value ...]
start_cluster()
{
	data=$work/data
	as_server "$bin/initdb" -D "$data" -U postgres -A trust -N -E UTF8 --locale=C.UTF-8 >"$work/initdb.log" 2>&1 ||
	{
		cat "$work/initdb.log"
		return 1
	}
	as_server mkdir -p "$work/socket"
	PGHOST=$work/socket PGPORT=54320 PGUSER=postgres PGDATABASE=postgres
	export PGHOST PGPORT PGUSER PGDATABASE
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$PGHOST'"
		echo "port = $PGPORT"
		echo "fsync = off"
		echo "max_wal_size = 4GB"
		for setting
		do
			echo "$setting"
		done
	} | as_server tee -a "$data/postgresql.conf" >/dev/null
	as_server "$bin/pg_ctl" -D "$data" -l "$work/server.log" -w -s start ||
	{
		tail -20 "$work/server.log"
		return 1
	}
	cluster=yes
}

stop_cluster()
{
	if [ -n "${cluster:-}" ]
	then
		as_server "$bin/pg_ctl" -D "$data" -m immediate -w -s stop || true
		cluster=
	fi
}
