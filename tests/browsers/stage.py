"""What the plays with browsers share: programs that are started and ended, and people who see what a page shows."""
import contextlib
import ctypes
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/slow_line"))
from browser import ENTER  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
WORK = ROOT / "target/browsers"
PATIENCE = 60  # seconds for whatever is waited for

SAID = """[...document.querySelectorAll('.log:not([hidden]) .msg')].map(row =>
    [row.querySelector('.who')?.textContent ?? 'me', row.querySelector('.bubble').textContent])"""
TOLD = "[...document.querySelectorAll('.log:not([hidden]) .sys')].map(row => row.textContent)"
PEOPLE = "[...document.querySelectorAll('#people bdi')].map(person => person.textContent).sort()"
STATE = "document.querySelector('#pill').dataset.state"


class Wrong(Exception):
    pass


def until(what, holds):
    """Asks again and again until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not (value := holds()):
        if time.monotonic() > deadline:
            raise Wrong(f"not within {PATIENCE} seconds: {what}")
        time.sleep(0.02)
    return value


class Processes:
    """All that were started: they are ended however this program ends."""

    def __init__(self):
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.started:
            self.kill(process)

    def start(self, name, command, **more):
        with open(WORK / f"{name}.log", "ab") as log:
            # A group of its own: browsers have children.
            process = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=end_with_parent, **more)
        self.started.append(process)
        return process

    def kill(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_with_parent():
    """Has the kernel kill a child where this program has no time to: when it is killed itself."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def find(program):
    """Like the test `engines`: the one that the environment names, an unpacked one, or the machine's."""
    named = os.environ.get(program.replace("-", "_").upper())
    unpacked = TARGET / "engines" / program
    return named or (str(unpacked) if unpacked.exists() else shutil.which(program))


def free_port():
    """A port below those from which connections take theirs: who is gone has to find it free again."""
    while listens(port := random.randrange(18_000, 30_000)):
        pass
    return port


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Person:
    """Somebody in the room, who sees what the page shows."""

    def __init__(self, name, browser, page):
        self.name, self.browser = name, browser
        browser.open(f"{page}/#lobby")
        browser.type("#name", name + ENTER)
        self.is_in()

    def is_in(self):
        self.comes_to("connected")

    def comes_to(self, state):
        until(f"{self.name} is {state}", lambda: self.browser.evaluate(STATE) == state)

    def told(self, what):
        until(f"{self.name} is told that {what}", lambda: any(what in line for line in self.browser.evaluate(TOLD)))
