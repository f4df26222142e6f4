"""Two people in the chat of the examples: of `cluster`, each at a node of its own, and of `chat`; `run` starts this."""
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import coming_back
import reconnecting
from stage import (
    ENTER, PEOPLE, ROOT, SAID, TARGET, TOLD, WORK, Person, Processes, Wrong, find, free_port, listens, until,
)
from browser import BROWSERS  # found by `stage`

ENGINES = {
    "redis": ("redis-server", ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]),
    "nats": ("nats-server", ["-a", "127.0.0.1", "-p"]),
}
# The nodes of one program, and those of two.
NODES = {"redis": [1, 1], "nats": [2]}
# The plays without an engine: what runs them, and the example that they need.
ALONE_PLAYS = {"coming-back": (coming_back.run, "chat"), "reconnecting": (reconnecting.run, "pages")}
MANY, AGAIN, ALONE = 50, 20, 5  # messages of each: at first, and once the engine is back; while it is gone


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


class Writer(Person):
    """Somebody who numbers what they write."""

    def __init__(self, name, browser, page):
        super().__init__(name, browser, page)
        self.wrote = 0

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


def run(plays, browsers):
    with Processes() as processes:
        opened = []
        for number, name in enumerate(browsers):
            start = partial(processes.start, f"{name}-{number}")
            opened.append(BROWSERS[name](WORK / f"profile-{number}", start))
        for name in plays:
            if name in ALONE_PLAYS:
                ALONE_PLAYS[name][0](processes, opened, browsers)
                continue
            start = time.monotonic()
            engine = Engine(name, processes)
            engine.start()
            pages = start_nodes(engine, processes)
            play(engine, *(Writer(*who) for who in zip(("ada", "ben"), opened, pages)))
            print(f"{name}: good, with {' and '.join(browsers)} ({time.monotonic() - start:.0f} s)", flush=True)


def main():
    known = [*ALONE_PLAYS, *ENGINES]
    only = sys.argv[1:] or known
    if not set(only) <= {*known}:
        sys.exit(f"usage: tests/browsers/run [{'|'.join(known)}]")
    programs = {name: find(ENGINES[name][0]) for name in only if name in ENGINES}
    plays = [name for name in only if name in ALONE_PLAYS or programs[name]]
    browsers = [name for name in BROWSERS if any(map(shutil.which, BROWSERS[name].programs))]
    skipped = [f"in {BROWSERS[name].programs[0]} (not installed)" for name in BROWSERS if name not in browsers]
    missing = [ENGINES[name][0] for name in programs if name not in plays]
    skipped += [f"over {program} (not found; .ci/engines fetches it)" for program in missing]
    for what in skipped:
        print(f"SKIPPED: the chat {what}", file=sys.stderr)
    if skipped and os.environ.get("BROWSERS") == "required":
        sys.exit(1)
    if not plays or not browsers:
        return
    examples = {ALONE_PLAYS[name][1] if name in ALONE_PLAYS else "cluster" for name in plays}
    command = ["cargo", "build", "--all-features", *(f"--example={name}" for name in examples)]
    built = subprocess.run(command, cwd=ROOT)
    if built.returncode:
        sys.exit(built.returncode)
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    # Ended in order, so that the others are.
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(1))
    try:
        run(plays, (browsers * 2)[:2])
    except Wrong as wrong:
        sys.exit(f"WRONG: {wrong}; logs are in {WORK}")


main()
