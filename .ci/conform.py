#!/usr/bin/env python3
"""conform.py SUITE [BINARY]: runs the cases named in .ci/conformance.

The list of cases known to fail ("!group/name reason") may only shrink: a case
that fails and is not listed is an error; a listed one that passes is reported,
so that its line goes. Cases run side by side and choose their ports themselves,
so a case that fails unexpectedly is run once more, alone: a port that a
neighbour took is no fault of the program. What passes only then is reported.
"""
import json, os, re, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BAD = ("fail", "error")
RERUN_AT_MOST = 12  # more unexpected failures than this are no accident


def run(suite, binary, pattern, jobs):
    """The result of each case whose group/name matches pattern, by name."""
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "out.json")
        env = dict(os.environ, CF_DEBATABLE="0", PYTHONDONTWRITEBYTECODE="1")
        argv = [sys.executable, os.path.join(suite, "conform.py"), "--binary", binary, "--cases", os.path.join(suite, "cases"),
                "-k", "/%s/" % pattern, "--jobs", str(jobs), "--json", out]
        rc = subprocess.run(argv, env=env).returncode
        if not os.path.exists(out):
            sys.exit("the suite ended with code %d and without a result" % rc)
        return json.load(open(out))


def read_list():
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
    return words, known


def unexpected(results, known):
    return sorted(n for n, r in results.items() if r["result"] in BAD and n not in known)


def why(result):
    return "; ".join(result["why"])[:600]


def main():
    suite, binary = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "bin/sluice"
    words, known = read_list()
    results = run(suite, binary, "^(%s)" % "|".join(re.escape(w) for w in words), os.environ.get("CI_JOBS", "4"))
    if not results:
        sys.exit("no case ran")
    again = unexpected(results, known)
    if 0 < len(again) <= RERUN_AT_MOST:
        print("\n%d unexpected failures, each once more, alone: %s" % (len(again), " ".join(again)))
        second = run(suite, binary, "^(%s)$" % "|".join(re.escape(n) for n in again), 1)
        for n in sorted(second):
            if second[n]["result"] == "pass":
                print("PASSED ONLY ALONE %s: at first %s" % (n, why(results[n])))
        results.update(second)
    new = unexpected(results, known)
    failed = {n for n in known if n in results and results[n]["result"] in BAD}
    passed = {n for n, r in results.items() if r["result"] == "pass"}
    skipped = {n: (r["why"] or [""])[0] for n, r in results.items() if r["result"] == "skip"}
    for n in sorted(skipped):
        print("skipped %s: %s" % (n, skipped[n]))
    for n in sorted(failed):
        print("known failure %s: %s" % (n, known[n]))
    for n in sorted(passed & set(known)):
        print("passes now, its line in .ci/conformance can go: %s" % n)
    for n in new:
        print("NEW FAILURE %s: %s" % (n, why(results[n])))
    print("conformance: %d passed, %d known failures, %d new failures, %d skipped" % (
        len(passed), len(failed), len(new), len(skipped)))
    return 1 if new else 0


if __name__ == "__main__":
    sys.exit(main())
