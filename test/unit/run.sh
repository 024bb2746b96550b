#!/bin/sh
# Run unit test programs, as many at a time as there are processors; one line each, in their order, and a line with the sum at the end.
# RUN: what runs a program, where the machine does not by itself.
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
export RUN results
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} sh -c '${RUN:-} "{}" >"$results/$(basename "{}")"'
passed=0
failed=0
for program in "$@"
do
	name=$(basename "$program")
	line=$(tail -n 1 "$results/$name")
	case $line in
		*" passed, "*" failed, "*)
			p=${line%% passed*}
			f=${line#* passed, }
			f=${f%% failed*}
			;;
		*)
			p=0
			f=1
			line="crashed"
			;;
	esac
	passed=$((passed + p))
	failed=$((failed + f))
	printf '%-24s %s\n' "$name" "$line"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
