#!/bin/sh
# Runs go generate and fails if that changed a tracked file.
. "$(dirname "$0")/lib.sh"

grep -rqs --include='*.go' '^//go:generate ' . || exit 0
list() { git ls-files -z | grep -zE '(^docs/reference/|_gen\.go$|_string\.go$)' | xargs -0r sha256sum; }
before=$(list)
go generate ./...
after=$(list)
[ "$before" = "$after" ] || die "generated files were stale; they are fresh now, commit them: $(git status --short)"
