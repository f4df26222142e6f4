"""The Autobahn test suite against each server."""
import collections
import contextlib
import json
import subprocess

from servers import ROOT, WORK, Server, say

# Without section 9, whose messages are larger than most limits, and the long ones of 12 and 13.
CASES = {
    "echo": ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"],
    "shared": [f"12.{i}.{j}" for i in range(1, 6) for j in (1, 2, 3)] + [f"13.{i}.{j}" for i in range(1, 8) for j in (1, 2)],
}
CASES["dedicated"] = CASES["shared"]
GOOD = {"OK", "INFORMATIONAL"}
WORDS = {"lax": "not strict", "failed": "failed", "late": "not ended in a second", "none": "not offered"}


def run(servers):
    wstest = subprocess.run([ROOT / ".ci" / "wstest"], check=True, capture_output=True, text=True).stdout.strip()
    if not wstest:
        say("LEFT OUT: Autobahn (no CPython 2.7)")
        return
    wstest = wstest.splitlines()[-1]
    print("| server | mode | cases | OK | not strict | failed | not ended in a second | not offered | which |")
    print("|---" * 9 + "|")
    for mode in CASES:
        work = WORK / "autobahn" / mode
        work.mkdir(parents=True, exist_ok=True)
        for name, (modes, start) in servers.items():
            if mode not in modes:
                continue
            say(f"Autobahn: {name}, {mode}")
            with Server(start, mode) as server:
                spec = {
                    "outdir": str(work / name),
                    "servers": [{"agent": name, "url": f"ws://127.0.0.1:{server.port}/"}],
                    "cases": CASES[mode],
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                }
                (work / f"{name}.json").write_text(json.dumps(spec))
                command = ["timeout", "900", wstest, "-m", "fuzzingclient", "-s", f"{name}.json"]
                done = subprocess.run(command, cwd=work, capture_output=True)
                if done.returncode != 0:
                    say(done.stdout.decode()[-500:] + done.stderr.decode()[-500:])
            with contextlib.suppress(FileNotFoundError):
                report(name, mode, work / name)


def kind(result, folder):
    behaviors = {result["behavior"], result["behaviorClose"]}
    if result["behavior"] == "UNIMPLEMENTED":
        return "none"
    if behaviors <= GOOD:
        return "ok"
    if behaviors <= GOOD | {"NON-STRICT"}:
        return "lax"
    # All that was expected came, and then the suite waited a second for the end of TCP in vain.
    details = json.loads((folder / result["reportfile"]).read_text())
    right = details["result"].startswith("Actual events match at least one expected")
    return "late" if right and details["remoteCloseCode"] in (None, 1000) else "failed"


def report(name, mode, folder):
    cases = json.loads((folder / "index.json").read_text())[name]
    counts, sections = collections.Counter(), collections.Counter()
    for case, result in cases.items():
        counts[(what := kind(result, folder))] += 1
        if what in WORDS:
            section, number, *_ = case.split(".")
            sections[int(section), int(number), WORDS[what]] += 1
    which = ", ".join(f"{one}.{two}: {count} {word}" for (one, two, word), count in sorted(sections.items()))
    numbers = " | ".join(str(counts[what]) for what in ("ok", "lax", "failed", "late", "none"))
    print(f"| {name} | {mode} | {len(cases)} | {numbers} | {which} |", flush=True)
