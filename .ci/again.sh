#!/bin/bash
# again.sh LOG [unit|race]: what failed in the output of `make test` (or `make race`) runs
# once more, alone. A test that met a busy machine or a neighbour's port passes then, and is
# named; what fails twice, a data race, what does not compile and what ended its process stays
# a failure, and so do more than a few.
set -u
log=$1 target=${2:-unit} most=5
packages=$(sed -n 's/^FAIL\t\(github.com[^ \t]*\)\t.*s$/\1/p' "$log" | grep -v '/e2e$' | sort -u)
tests=$(sed -n '/-v -run .* \.\/e2e /,$s/^--- FAIL: \(Test[A-Za-z0-9_]*\) .*/\1/p' "$log" | sort -u)
n=$(printf '%s\n' $packages $tests | grep -c .)
if grep -qE 'build failed|setup failed|^panic: |DATA RACE' "$log" || [ "$n" = 0 ] || [ "$n" -gt "$most" ]; then
	echo "not run again: $n packages and tests failed, or it is no matter of chance"
	exit 1
fi
printf 'failed, once more, alone: %s\n' $packages $tests
if [ -n "$packages" ]; then
	make --no-print-directory "$target" PACKAGES="-count=1 -p 1 $(echo $packages)" || exit 1
fi
if [ -n "$tests" ]; then
	make --no-print-directory e2e RUN="^($(echo $tests | tr ' ' '|'))\$\$" || exit 1
fi
printf 'PASSED ONLY THE SECOND TIME %s\n' $packages $tests
