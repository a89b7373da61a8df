#!/bin/sh
# Shortens `go test -v`: keeps results, figures, skips and all of a failure.
# Its exit code is that of the tests it read.
awk '
/^=== / { next }
/^ *--- FAIL/ { failed = 1 }
/^FAIL|^panic:/ { failed = 1 }
{ print; fflush() }
END { exit failed }
'
