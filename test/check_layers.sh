#!/bin/sh
#
# check_layers.sh
#	  Who may include whom: the layering of DESIGN, enforced.
#
# Usage: test/check_layers.sh [root]
#
# Every #include "..." under src is written with its layer ("base/json.h") and
# the table below says which layers a layer may name.  Nothing under src/engine
# includes a header of PostgreSQL, stdio, unistd or threads: what it needs of the
# world is in port.h.  model/ names the architectures in one list, and that is
# its only upward reference.
#
# Without a root it first tests itself: in a copy with one violation of each
# kind planted, each has to be found.
#
# The last line is "N passed, N failed"; a check is one file, or one planted violation.

set -u

top=$(cd "$(dirname "$0")/.." && pwd)

check()
{
	find "$1/src" -name '*.[ch]' -o -name '*.def' | sort | xargs awk -v root="$1/src/" '
		BEGIN {
			# layer: what it may include, besides itself
			may["base"]    = "port"
			may["kernels"] = "base port"
			may["graph"]   = "kernels base port"
			may["file"]    = "base port"
			may["text"]    = "base port"
			may["model"]   = "graph file text base port engine"
			may["arch"]    = "model graph base port"
			may["train"]   = "model graph text base port engine"
			may["engine"]  = "base text file port train"
			may["port"]    = ""
			may["pg"]      = "engine host"
			may["host"]    = "port"			# src/port: threads and libraries, for the server and for the tests

			# system headers that the engine may use
			n = split("math.h string.h stdlib.h float.h limits.h stdarg.h stdbool.h stddef.h stdint.h stdatomic.h inttypes.h sanitizer/asan_interface.h immintrin.h arm_neon.h cpuid.h sys/auxv.h pcre2.h", list, " ")
			for (i = 1; i <= n; i++)
				system_ok[list[i]] = 1

			# files with a freedom of their own
			extra["pg/port_pg.c"] = "port"
		}

		function layer_of(path,		parts)
		{
			if (path ~ /^engine\/port\.h$/)
				return "port"
			if (path ~ /^engine\/engine\.h$/)
				return "engine"
			if (path ~ /^engine\//)
			{
				split(path, parts, "/")
				return parts[2]
			}
			if (path ~ /^pg\//)
				return "pg"
			if (path ~ /^port\//)
				return "host"
			return "?"
		}

		# the layer that an include names; "" where it is not written with one
		function layer_named(name, from)
		{
			if (name == "port.h" || name == "engine/port.h")
				return "port"
			if (name == "engine.h" || name == "engine/engine.h")
				return "engine"
			if (name ~ /^port\//)
				return "host"
			if (name ~ /^pg\//)
				return "pg"
			sub(/^engine\//, "", name)
			if (name ~ /^(base|kernels|graph|file|text|model|arch|train)\//)
			{
				sub(/\/.*/, "", name)
				return name
			}
			return ""
		}

		function bad(why)
		{
			printf "%s:%d: %s\n", path, FNR, why
			wrong[path] = 1
		}

		FNR == 1 {
			path = substr(FILENAME, length(root) + 1)
			layer = layer_of(path)
			seen[path] = 1
			if (!(layer in may))
				bad("a folder that the table of layers does not know")
			allowed = " " (layer in may ? may[layer] : "") " " (path in extra ? extra[path] : "") " "
		}

		/^[ \t]*#[ \t]*include[ \t]*</ {
			name = $0
			sub(/^[^<]*</, "", name)
			sub(/>.*/, "", name)
			if (path ~ /^engine\// && !(name in system_ok))
				bad("the engine includes <" name ">, which is the business of the host")
		}

		/^[ \t]*#[ \t]*include[ \t]*"/ {
			name = $0
			sub(/^[^"]*"/, "", name)
			sub(/".*/, "", name)
			target = layer_named(name)
			if (target == "")
			{
				# tables may be included by their bare name, within their own layer; pg includes PostgreSQL
				if (layer != "pg")
					bad("\"" name "\" is written without its layer")
			}
			else if (target != layer && index(allowed, " " target " ") == 0)
				bad(layer " may not include " target " (\"" name "\")")
		}

		END {
			good = count = 0
			for (path in seen)
				if (path in wrong)
					count++
				else
					good++
			printf "%d passed, %d failed\n", good, count
			exit count != 0
		}'
}

# plant FILE LINE: the line, put into a copy, has to be found
plant()
{
	rm -rf "$copy/src"
	cp -R "$top/src" "$copy/src"
	mkdir -p "$copy/src/$(dirname "$1")"
	printf '%s\n' "$2" >>"$copy/src/$1"
	if check "$copy" | grep -q "^$1:"
	then
		planted=$((planted + 1))
	else
		missed=$((missed + 1))
		echo "not found in a copy where it was planted: $1: $2"
	fi
}

if [ $# -gt 0 ]
then
	check "$1"
	exit
fi

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
planted=0
missed=0
plant engine/base/planted.c '#include "graph/graph.h"'
plant engine/kernels/planted.c '#include "text/text.h"'
plant engine/file/planted.c '#include "graph/graph.h"'
plant engine/text/planted.c '#include <stdio.h>'
plant engine/graph/planted.c '#include "postgres.h"'
plant engine/arch/planted.c '#include "file/file.h"'
plant engine/train/planted.c '#include "arch/rotary.h"'
plant engine/model/planted.c '#include <pthread.h>'
plant engine/model/planted.c '#include "model.h"'
plant pg/planted.c '#include "model/model.h"'
plant pg/planted.c '#include "engine/port.h"'
plant more/planted.c '/* a folder of its own */'

result=$(check "$top")
echo "$result" | sed '$d'
echo "$result" | tail -1 | {
	read -r good _ bad _
	echo "$((good + planted)) passed, $((bad + missed)) failed"
	[ $((bad + missed)) = 0 ]
}
