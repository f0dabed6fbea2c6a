# SPDX-License-Identifier: GPL-2.0-only
"""The runner of bundles for tests of a fleet: it speaks the verbs, and measures nothing.

This machine loads no module. A detached run "lasts" until /run/hold is gone, and its result is one
that was recorded. What else it does follows from files in /run: refuse, fail, dirty, slow, and
nocompiler, with which --build-on-target ends as in a real one.
"""

from __future__ import annotations

from pathlib import Path

SOURCE = """
import gzip, json, os, sys, time

KEPT = "/run/made-up.json"

def marked(name):
    return os.path.exists("/run/" + name)

def main():
    words = sys.argv[1:]
    if words[:1] == ["--extract"]:
        from page_alloc_bench.runner.bundle_file import archive, verbs
        return verbs.run_verb("extract", archive.open_archive(), words[1])
    if "--preflight" in words:
        findings = [{"name": "made-up", "severity": "refuse"}] if marked("refuse") else []
        print(json.dumps({"verdict": "none", "findings": findings}))
        time.sleep(3600 if marked("slow") else 0)
        return 3 if findings else 0
    if "--detach" in words:
        if "--build-on-target" in words and marked("nocompiler"):
            from page_alloc_bench.runner.bundle_file import target_build
            sys.stderr.write("page-alloc-bench: error: %s: made up\\n" % target_build.CANNOT)
            return 3
        open("/run/times", "a").write("x")
        output = words[words.index("--output-path") + 1]
        json.dump({"output": output, "options": words}, open(KEPT, "w"))
        return 0
    return {"--status": status, "--attach": attach, "--stop": stop}[words[0]]()

def status():
    there = os.path.exists(KEPT)
    state = ("running" if marked("hold") else "ended") if there else "none"
    clean = not marked("dirty") and state != "running"
    print(json.dumps({"state": state, "phase": "measuring", "host_is_clean": clean}, indent=1))
    return {"running": 0, "ended": 10, "none": 12}[state]

def attach():
    if not os.path.exists(KEPT):
        return 12
    kept = json.load(open(KEPT))
    sys.stderr.write("made-up: options %s\\n" % " ".join(kept["options"]))
    os.unlink(KEPT)
    if marked("fail"):
        sys.stderr.write("page-alloc-bench: error: made up to fail\\n")
        return 1
    number = next(n for n in range(99) if marked("result-%d" % n))
    data = gzip.open("RESULTS/%02d.json.gz" % number).read()
    open(kept["output"], "wb").write(data)
    return 0

def stop():
    if marked("hold"):
        os.unlink("/run/hold")
    open("/run/fail", "w")
    return 0
"""


def source(results: Path) -> str:
    """Return the runner, which takes the results in that directory."""
    return SOURCE.replace("RESULTS", str(results))
