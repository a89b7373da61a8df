#!/usr/bin/env python3
"""conform.py SUITE [BINARY]: runs the cases named in .ci/conformance.

The list of cases known to fail ("!group/name reason") may only shrink: a case
that fails and is not listed is an error; a listed one that passes is reported,
so that its line goes.
"""
import json, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    suite, binary = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "bin/sluice"
    words, known = [], {}
    for line in open(os.path.join(HERE, "conformance")):
        line = line.strip()
        if line.startswith("!"):
            name, _, why = line[1:].strip().partition(" ")
            known[name] = why
        elif line and not line.startswith("#"):
            words.append(line)
    if not words:
        sys.exit("no group in .ci/conformance")
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "out.json")
        env = dict(os.environ, CF_DEBATABLE="0", PYTHONDONTWRITEBYTECODE="1")
        argv = [sys.executable, os.path.join(suite, "conform.py"), "--binary", binary, "--cases", os.path.join(suite, "cases"),
                "-k", "/^(%s)/" % "|".join(re.escape(w) for w in words), "--jobs", os.environ.get("CI_JOBS", "4"), "--json", out]
        rc = subprocess.run(argv, env=env).returncode
        if not os.path.exists(out):
            sys.exit("the suite ended with code %d and without a result" % rc)
        results = json.load(open(out))
    if not results:
        sys.exit("no case ran")
    bad = {n for n, r in results.items() if r["result"] in ("fail", "error")}
    passed = {n for n, r in results.items() if r["result"] == "pass"}
    skipped = {n: (r["why"] or [""])[0] for n, r in results.items() if r["result"] == "skip"}
    for n in sorted(skipped):
        print("skipped %s: %s" % (n, skipped[n]))
    for n in sorted(bad & set(known)):
        print("known failure %s: %s" % (n, known[n]))
    for n in sorted(passed & set(known)):
        print("passes now, its line in .ci/conformance can go: %s" % n)
    for n in sorted(bad - set(known)):
        print("NEW FAILURE %s: %s" % (n, "; ".join(results[n]["why"])[:600]))
    print("conformance: %d passed, %d known failures, %d new failures, %d skipped" % (
        len(passed), len(bad & set(known)), len(bad - set(known)), len(skipped)))
    return 1 if bad - set(known) else 0


if __name__ == "__main__":
    sys.exit(main())
