#!/bin/sh
# Runs every fuzz target of the module, one after the other.
. "$(dirname "$0")/lib.sh"

found=0
for file in $(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do
	dir=$(dirname "$file")
	for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file"); do
		found=$((found + 1))
		say "$dir $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-10s}" "$dir"
	done
done
[ "$found" -gt 0 ] || die "no fuzz target found"
say "$found fuzz targets ran for ${FUZZTIME:-10s} each"
