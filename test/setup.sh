#!/bin/sh
#
# setup.sh
#	  Install what building, testing and the demo need, on Debian and its like.
#
# Usage: test/setup.sh test|demo|neon
#
# Says what is missing and what it will run, then runs it: as root directly,
# else through sudo.  Where nothing is missing it does nothing and needs
# nothing.  No PostgreSQL cluster is created, started or touched: installing the
# server package would create one, so that is switched off first, unless
# PostgreSQL is there already, in which case its configuration is left alone.
#
# For neon it only says what is missing: whether packages of another
# architecture come onto a machine is for its owner to decide.

set -eu

purpose=${1:-test}
PG_MAJOR=${PG_MAJOR:-15}

say()
{
	echo "setup: $*"
}

# Each line: a package, and how to see that what it brings is there.
needs()
{
	if [ "$purpose" = neon ]
	then
		cat <<-LIST
			gcc-aarch64-linux-gnu           command -v aarch64-linux-gnu-gcc
			libc6-dev-arm64-cross           test -e /usr/aarch64-linux-gnu/include/stdio.h
			qemu-user                       command -v qemu-aarch64
			libpcre2-dev                    test -e /usr/include/pcre2.h
			libpcre2-dev:arm64              test -e ${NEON_PCRE2:-/usr/lib/aarch64-linux-gnu/libpcre2-8.a}
		LIST
		return
	fi
	cat <<-LIST
		gcc                                 command -v gcc
		libc6-dev                           test -e /usr/include/stdio.h
		postgresql-common                   command -v pg_lsclusters
		postgresql-$PG_MAJOR                test -x $pg_bin/postgres
		postgresql-server-dev-$PG_MAJOR     test -e $pg_include/postgres.h
		libpcre2-dev                        test -e /usr/include/pcre2.h
		libopenblas0-pthread                /sbin/ldconfig -p | grep libopenblas
	LIST
	case $purpose in
		test)
			cat <<-LIST
				libipc-run-perl             perl -MIPC::Run -e 1
				perl                        command -v prove
				binutils                    command -v nm
			LIST
			;;
	esac
}

# A server of another packaging counts too, if pg_config and the headers are there (PGXS may come with the client).
find_server()
{
	pg_bin=/usr/lib/postgresql/$PG_MAJOR/bin
	pg_include=/usr/include/postgresql/$PG_MAJOR/server
	if [ -n "${PG_CONFIG:-}" ]
	then
		pg_bin=$("$PG_CONFIG" --bindir)
		pg_include=$("$PG_CONFIG" --includedir-server)
	fi
}

find_server
missing=$(needs | while read -r package check
do
	sh -c "$check" >/dev/null 2>&1 || printf ' %s' "$package"
done)

if [ -z "$missing" ]
then
	exit 0
fi

say "missing packages:$missing"

if [ "$purpose" = neon ]
then
	say "please have them installed; packages of :arm64 want dpkg --add-architecture arm64 before"
	exit 1
fi

if ! command -v apt-get >/dev/null 2>&1
then
	say "this is no Debian: please install their likes by hand, and set PG_CONFIG"
	exit 1
fi

as_root=
if [ "$(id -u)" != 0 ]
then
	if ! command -v sudo >/dev/null 2>&1
	then
		say "neither root nor sudo: please have them installed (apt-get install$missing)"
		exit 1
	fi
	as_root=sudo
fi

# Quiet, without questions; its output is shown only where it fails.
apt()
{
	say "running ${as_root:+$as_root }apt-get $*"
	# shellcheck disable=SC2086
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 "$@" </dev/null >"$log" 2>&1 ||
	{
		tail -20 "$log"
		return 1
	}
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT

apt update
case $missing in
	*postgresql-"$PG_MAJOR"*)
		if [ ! -e "$pg_bin/postgres" ]
		then
			apt install --no-install-recommends postgresql-common
			conf=/etc/postgresql-common/createcluster.conf
			if ! grep -q '^create_main_cluster *= *false' $conf
			then
				say "setting create_main_cluster = false in $conf, so that no cluster is created"
				echo 'create_main_cluster = false' | $as_root tee -a $conf >/dev/null
			fi
		fi
		;;
esac
# shellcheck disable=SC2086
apt install --no-install-recommends $missing
say "done"
