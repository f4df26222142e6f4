"""Runs cases, each in network namespaces of its own; `run` prepares and starts this."""
import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
RATES = [128, 256, 400]  # kbit/s
SERVER, CLIENT = "10.99.0.1", "10.99.0.2"
SIZE = 16 << 10  # of a message
FLOOD, SILENCE = 30, 50  # seconds; 50 are longer than ping interval and ping timeout together
ARGUMENTS = {
    "flood": f"/flood?seconds={FLOOD}",
    "silence": f"/silence?bytes={160 * SIZE}&seconds={SILENCE}",  # 2.5 MiB
    "return": f"/return?bytes={384 * SIZE}",  # 6 MiB
    # To a client that reads nothing: it has to be ended.
    "deaf": "/flood?seconds=3600",
}
EXPECTED = {"silence": 160, "return": 384}
# What may wait below a session at most: the kernel's buffer (4 MiB) at the floor rate of 16 KiB/s,
# and the write timeout.
DEAF = 300


@dataclass(frozen=True)
class Case:
    scenario: str
    client: str
    transport: str  # ws, wss, h2 (with TLS) or h2c (without)
    rate: int  # kbit/s; 0 is as fast as it goes

    @property
    def name(self):
        line = f"{self.rate}kbit" if self.rate else "fast"
        return f"{self.scenario}-{self.client}-{self.transport}-{line}"

    @property
    def patience(self):
        if self.scenario == "deaf":
            return DEAF
        if self.client == "steady":
            rate = 40_000
        else:
            rate = self.rate * 1000 / 8 * 0.85  # headers and losses
        size = EXPECTED.get(self.scenario, 0) * SIZE
        if self.scenario == "flood":
            # What the session and the kernel hold when it is over.
            size = FLOOD * rate + (1 << 20) + (4 << 20)
        return size / rate + (SILENCE if self.scenario == "silence" else 0) + 60


def cases(full):
    programs = [("websockets", "ws"), ("websockets", "wss"), ("python-h2", "h2"), ("python-h2", "h2c")]
    programs += [("npm-ws", "ws"), ("npm-ws", "wss")]
    browsers = [(browser, transport) for browser in ("chromium", "firefox") for transport in ("ws", "h2")]
    for transport in ("ws", "wss", "h2c"):
        yield Case("deaf", "deaf", transport, 0)
    for scenario in ("flood", "silence", "return"):
        # Not the line is slow, but whoever reads.
        for transport in ("ws", "wss"):
            yield Case(scenario, "steady", transport, 0)
        for rate in RATES:
            for client, transport in programs:
                # 6 MiB take seven minutes at 128 kbit/s.
                if full or not (scenario == "return" and rate == 128):
                    if full or client != "npm-ws" or rate == 256:
                        yield Case(scenario, client, transport, rate)
            for client, transport in browsers:
                if full or (rate == 400 and (transport == "h2") != (scenario == "silence")):
                    yield Case(scenario, client, transport, rate)


def sh(command):
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)


class Run:
    """One case: two namespaces, the line between them, a server and a client."""

    def __init__(self, case, index, options):
        self.case, self.options = case, options
        self.spaces = [f"tw{os.getpid()}{side}{index}" for side in "sc"]
        self.children = []
        self.log = options.work / "logs" / f"{case.name}.log"

    def __enter__(self):
        server, client = self.spaces
        for space in self.spaces:
            sh(f"ip netns add {space}")
            sh(f"ip -n {space} link set lo up")
        sh(f"ip -n {server} link add line type veth peer name line netns {client}")
        for space, address in zip(self.spaces, (SERVER, CLIENT)):
            # An address of IPv6, a second later, is a network that has changed: Chromium ends its connections.
            sh(f"ip -n {space} link set line addrgenmode none")
            sh(f"ip -n {space} address add {address}/24 dev line")
            sh(f"ip -n {space} link set line up")
            if self.case.rate:
                line = f"rate {self.case.rate}kbit burst 4kb latency {self.options.latency}"
                sh(f"tc -n {space} qdisc add dev line root tbf {line}")
        return self

    def __exit__(self, *_):
        for space in self.spaces:
            # All that was started there, and nothing else: a browser has children in sessions of their own.
            while pids := subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True).stdout.split():
                for pid in pids:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(pid), signal.SIGKILL)
                time.sleep(0.05)
            subprocess.run(["ip", "netns", "del", space], check=False)
        for child in self.children:
            child.wait()

    def start(self, space, command, output):
        command = ["ip", "netns", "exec", space, *map(str, command)]
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        self.children.append(child)
        return child

    def client_command(self, url):
        client, work = self.case.client, self.options.work
        if client == "npm-ws":
            return ["node", HERE / "client.cjs", work / "node_modules", url]
        if client in ("chromium", "firefox"):
            return [sys.executable, HERE / "browser.py", client, url, work / "profiles" / self.case.name]
        return [sys.executable, HERE / "client.py", client, url]

    def verdict(self):
        case, server, client = self.case, *self.spaces
        target = ARGUMENTS[case.scenario]
        tls = case.transport in ("wss", "h2")
        url = f"{'wss' if tls else 'ws'}://{SERVER}:{9002 if tls else 9001}{target}"
        if case.client == "python-h2" or case.transport == "h2c":
            url += "#h2"
        with open(self.log, "wb") as log, open(f"{self.log}.client", "wb") as seen:
            self.start(server, [self.options.server, f"{SERVER}:9001", f"{SERVER}:9002"], log)
            time.sleep(1)
            start = time.monotonic()
            child = self.start(client, self.client_command(url), seen)
            # A client that reads nothing does not see the end.
            deaf = case.scenario == "deaf"
            while "ended by" not in self.told() if deaf else child.poll() is None:
                if time.monotonic() - start > case.patience:
                    return f"not over after {case.patience:.0f} s; {self.told()}", None
                time.sleep(0.2)
            elapsed = time.monotonic() - start
            time.sleep(0.5)  # for the server's last line
        if deaf:
            return self.judge({"messages": None}), elapsed
        lines = Path(f"{self.log}.client").read_text().splitlines()
        try:
            # Behind it a browser may complain that nobody is there any more.
            return self.judge(json.loads([line for line in lines if line.startswith("{")][-1])), elapsed
        except (IndexError, ValueError):
            return f"the client failed: {lines[-1:]}", elapsed

    def told(self):
        lines = [line for line in self.log.read_text().splitlines() if not line.startswith("http:")]
        return "server: " + "; ".join(lines)

    def judge(self, seen):
        """What is wrong, if anything."""
        case, told = self.case, self.told()
        if case.scenario == "deaf":
            wrong = []
        else:
            expected = EXPECTED.get(case.scenario)
            if case.scenario == "flood":
                flooded = re.search(r"flooded with (\d+) messages", told)
                expected = int(flooded[1]) if flooded else None
            wrong = [seen["wrong"]] if seen["wrong"] else []
            if seen["messages"] != expected:
                wrong.append(f"{seen['messages']} messages of {expected}")
            if (seen["code"], seen["clean"]) != (1000, True):
                wrong.append(f"closed with {seen['code']}, clean: {seen['clean']} {seen.get('error', '')}")
        over = "HTTP/2" if case.transport in ("h2", "h2c") else "HTTP/1.1"
        if f"over {over}" not in told:
            wrong.append(f"it was not opened over {over}")
        return f"{', '.join(wrong)}; {told}" if wrong else None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--latency", default="1s", help="how much may wait in the line (tc tbf)")
    parser.add_argument("--browsers", type=int, default=6, help="how many may run at a time")
    options = parser.parse_args()
    options.work, options.server = options.work.resolve(), options.server.resolve()
    for folder in ("logs", "profiles"):
        shutil.rmtree(options.work / folder, ignore_errors=True)
        (options.work / folder).mkdir(parents=True)
    # Ended in order, so that the namespaces are taken away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    chosen = [case for case in cases(options.full) if all(part in case.name for part in options.only)]
    for program, package in [("chromium", "chromium"), ("firefox", "firefox-esr"), ("npm-ws", "nodejs")]:
        command = {"firefox": "firefox-esr", "npm-ws": "node"}.get(program, program)
        found = shutil.which(command) or (program == "firefox" and shutil.which("firefox"))
        if not found and any(case.client == program for case in chosen):
            print(f"NOT RUN: nothing with {program}, which is missing (Debian: {package})")
            chosen = [case for case in chosen if case.client != program]
    browsers, results, lock = threading.Semaphore(options.browsers), {}, threading.Lock()

    def one(index, case):
        is_browser = case.client in ("chromium", "firefox")
        with browsers if is_browser else threading.Lock():
            try:
                with Run(case, index, options) as run:
                    wrong, elapsed = run.verdict()
            except Exception as error:  # the others go on, and their namespaces are taken away
                wrong, elapsed = repr(error), None
        with lock:
            results[case] = wrong
            time_taken = "" if elapsed is None else f" ({elapsed:.0f} s)"
            print(f"{'FAILED' if wrong else 'ok'} {case.name}{time_taken}{': ' + wrong if wrong else ''}", flush=True)

    print(f"{len(chosen)} cases", flush=True)
    threads = [threading.Thread(target=one, args=item) for item in enumerate(chosen)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    failed = sum(wrong is not None for wrong in results.values())
    print(f"{len(chosen) - failed} of {len(chosen)} cases are good; logs are in {options.work / 'logs'}")
    sys.exit(bool(failed) or not chosen)


main()
