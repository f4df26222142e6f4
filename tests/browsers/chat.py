"""Two people in the chat of the example `cluster`, each at a node of its own; `run` starts this."""
import contextlib
import ctypes
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests/slow_line"))
from browser import BROWSERS, ENTER  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
WORK = ROOT / "target/browsers"
ENGINES = {
    "redis": ("redis-server", ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]),
    "nats": ("nats-server", ["-a", "127.0.0.1", "-p"]),
}
# The nodes of one program, and those of two.
NODES = {"redis": [1, 1], "nats": [2]}
PATIENCE = 60  # seconds for whatever is waited for
MANY, AGAIN, ALONE = 50, 20, 5  # messages of each: at first, and once the engine is back; while it is gone

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


class Engine:
    def __init__(self, name, processes):
        self.name, self.processes, self.port = name, processes, free_port()
        self.url = f"{name}://127.0.0.1:{self.port}"

    def start(self):
        program, arguments = ENGINES[self.name]
        self.process = self.processes.start(self.name, [find(program), *arguments, self.port])
        until(f"{self.name} listens", lambda: self.process.poll() is not None or listens(self.port))
        if self.process.poll() is not None:
            raise Wrong(f"{self.name} does not start")

    def kill(self):
        self.processes.kill(self.process)


def find(program):
    """Like the test `engines`: the one that the environment names, an unpacked one, or the machine's."""
    named = os.environ.get(program.replace("-", "_").upper())
    unpacked = TARGET / "engines" / program
    return named or (str(unpacked) if unpacked.exists() else shutil.which(program))


def free_port():
    """A port below those from which connections take theirs: an engine that is gone has to find it free again."""
    while listens(port := random.randrange(18_000, 30_000)):
        pass
    return port


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def start_nodes(engine, processes):
    """Starts the example, and returns where its nodes are open."""
    pages = []
    for number, count in enumerate(NODES[engine.name]):
        name = f"nodes-{engine.name}-{number}"
        command = [TARGET / "debug/examples/cluster", engine.url, *["127.0.0.1:0"] * count]
        node = processes.start(name, command)

        def opened():
            if node.poll() is not None:
                raise Wrong(f"a node has ended: {node.returncode}")
            found = re.findall(r"open at (http://\S+)\.$", (WORK / f"{name}.log").read_text(), re.MULTILINE)
            return found if len(found) == count else None

        pages += until("the nodes are open", opened)
    return pages


class Person:
    """Somebody in the room, who sees what the page shows."""

    def __init__(self, name, browser, page):
        self.name, self.browser, self.wrote = name, browser, 0
        browser.open(f"{page}/#lobby")
        browser.type("#name", name + ENTER)
        self.is_in()

    def is_in(self):
        until(f"{self.name} is connected", lambda: self.browser.evaluate(STATE) == "connected")

    def write(self):
        self.wrote += 1
        self.browser.type("#text", f"{self.name} {self.wrote}{ENTER}")

    def saw(self, writer):
        """The numbers of what somebody has written, as they stand on the page."""
        name = "me" if writer is self else writer.name
        texts = [text for who, text in self.browser.evaluate(SAID) if who == name]
        strange = [text for text in texts if not re.fullmatch(f"{writer.name} [0-9]+", text)]
        if strange:
            raise Wrong(f"{self.name} sees of {writer.name}: {strange}")
        return [int(text.split()[1]) for text in texts]

    def saw_all(self, writer, first):
        """Waits for all that somebody has written from a number on: each once, and in order."""
        last = writer.wrote
        until(f"{self.name} sees {writer.name} {last}", lambda: last in self.saw(writer))
        saw, expected = self.saw(writer), list(range(first, last + 1))
        if [number for number in saw if number >= first] != expected or saw != sorted(set(saw)):
            raise Wrong(f"{self.name} saw of {writer.name}, who wrote {first} to {last}: {saw}")

    def told(self, what):
        until(f"{self.name} is told that {what}", lambda: any(what in line for line in self.browser.evaluate(TOLD)))


def meet(ada, ben):
    """Has both write until each has seen something new of the other: the nodes know of each other."""
    for writer, reader in [(ada, ben), (ben, ada)]:
        before = writer.wrote

        def met():
            writer.write()
            return any(number > before for number in reader.saw(writer))

        until(f"{reader.name} sees {writer.name}", met)


def talk(ada, ben, count):
    first = {person: person.wrote + 1 for person in (ada, ben)}
    for _ in range(count):
        ada.write()
        ben.write()
    for writer in (ada, ben):
        for reader in (ada, ben):
            reader.saw_all(writer, first[writer])


def play(engine, ada, ben):
    meet(ada, ben)
    talk(ada, ben, MANY)
    for person in (ada, ben):
        until(f"{person.name} sees both people", lambda: person.browser.evaluate(PEOPLE) == ["ada", "ben"])

    engine.kill()
    for person in (ada, ben):
        for _ in range(ALONE):
            person.write()
        person.saw_all(person, 1)
    engine.start()
    meet(ada, ben)
    talk(ada, ben, AGAIN)

    ben.browser.evaluate("document.querySelector('#leave').click()")
    ada.told("ben left")
    ben.browser.type("#name", ENTER)
    ben.is_in()
    ada.told("ben joined")
    # All that Ben has seen was on the page that he left: nothing may have come to Ada since.
    ada.saw_all(ben, ben.wrote)
    ada.saw_all(ada, 1)
    for person in (ada, ben):
        lost = [line for line in person.browser.evaluate(TOLD) if "onnected" in line]
        complaints = person.browser.errors()
        if lost or complaints:
            raise Wrong(f"{person.name}'s page: {lost + complaints}")


def run(engines, browsers):
    with Processes() as processes:
        opened = []
        for number, name in enumerate(browsers):
            start = partial(processes.start, f"{name}-{number}")
            opened.append(BROWSERS[name](WORK / f"profile-{number}", start))
        for name in engines:
            start = time.monotonic()
            engine = Engine(name, processes)
            engine.start()
            pages = start_nodes(engine, processes)
            play(engine, *(Person(*who) for who in zip(("ada", "ben"), opened, pages)))
            print(f"{name}: good, with {' and '.join(browsers)} ({time.monotonic() - start:.0f} s)", flush=True)


def main():
    only = sys.argv[1:] or list(ENGINES)
    if not set(only) <= set(ENGINES):
        sys.exit(f"usage: tests/browsers/run [{'|'.join(ENGINES)}]")
    programs = {name: find(ENGINES[name][0]) for name in only}
    engines = [name for name in programs if programs[name]]
    browsers = [name for name in BROWSERS if any(map(shutil.which, BROWSERS[name].programs))]
    skipped = [f"in {BROWSERS[name].programs[0]} (not installed)" for name in BROWSERS if name not in browsers]
    missing = [ENGINES[name][0] for name in programs if name not in engines]
    skipped += [f"over {program} (not found; .ci/engines fetches it)" for program in missing]
    for what in skipped:
        print(f"SKIPPED: the chat {what}", file=sys.stderr)
    if skipped and os.environ.get("BROWSERS") == "required":
        sys.exit(1)
    if not engines or not browsers:
        return
    built = subprocess.run(["cargo", "build", "--all-features", "--example", "cluster"], cwd=ROOT)
    if built.returncode:
        sys.exit(built.returncode)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    # Ended in order, so that the others are.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(1))
    try:
        run(engines, (browsers * 2)[:2])
    except Wrong as wrong:
        sys.exit(f"WRONG: {wrong}; logs are in {WORK}")


main()
