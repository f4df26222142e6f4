"""The page of the example `pages`: a socket that comes back, uploads, and users that type, in each browser."""
import os
import shutil
import signal
import time
from urllib.parse import urlencode

from stage import TARGET, WORK, Wrong, free_port, listens, until

SIZE = 3 << 20  # of what is uploaded


class Server:
    def __init__(self, processes, name):
        self.processes, self.name, self.port = processes, name, free_port()
        self.folder = WORK / f"uploads-{name}"
        self.start()

    def start(self):
        command = [TARGET / "debug/examples/pages", f"127.0.0.1:{self.port}", self.folder]
        self.process = self.processes.start(f"pages-{self.name}", command)
        until("the pages are open", lambda: self.process.poll() is not None or listens(self.port))
        if self.process.poll() is not None:
            raise Wrong(f"the pages do not start: {self.process.returncode}")

    def kill(self):
        self.processes.kill(self.process)


class Page:
    def __init__(self, browser, server, **options):
        self.browser, self.server = browser, server
        self.browser.open(f"http://127.0.0.1:{server.port}/?{urlencode(options)}")
        self.comes_to("open")

    def get(self, expression):
        return self.browser.evaluate(f"window.cookbook && ({expression})")

    def states(self, state=None):
        states = self.get("cookbook.states") or []
        return [it for it in states if state in (None, it["state"])]

    def comes_to(self, state, times=1):
        until(f"the socket is {state}", lambda: [it["state"] for it in self.states()[-1:]] == [state])

    def lost(self, times, reason=None):
        """Waits until connections were lost so often, and returns what is known of the last one."""
        lost = until("the connection is lost", lambda: len(self.states("waiting")) >= times and self.states("waiting"))
        if reason is not None and lost[times - 1]["reason"] != reason:
            raise Wrong(f"lost because of {lost[times - 1]}, not {reason}")
        return lost[times - 1]

    def hears(self, *expected):
        heard = until(f"the page hears {expected}", lambda: len(self.heard()) >= len(expected) and self.heard())
        equal(heard, list(expected), "heard")

    def heard(self):
        return self.get("cookbook.heard")

    def chance(self, value):
        """Has the page draw this instead of random numbers: so pauses are known."""
        self.get(f"void (window.Math.random = () => {value})")

    def say(self, text):
        return self.get(f"cookbook.socket.send({text!r})")


def equal(found, expected, what):
    if found != expected:
        raise Wrong(f"{what}: {found}, not {expected}")


def is_killed_and_comes_back(browser, server):
    page = Page(browser, server, firstPause=200, maxPause=1600, stable=3_600_000, heartbeat=0, maxQueue=2)
    page.hears("hello")
    page.chance(0.75)
    server.kill()
    page.lost(1)
    equal([page.say(text) for text in ("one", "two", "three")], [True, True, False], "what is taken of three")
    page.lost(6)
    server.start()
    page.comes_to("open")
    # Of the first connection, and of the second: what is sent first goes before what has waited.
    page.hears("hello", "hello", "one", "two")

    states = page.states()
    waits = [(it, after) for it, after in zip(states, states[1:]) if it["state"] == "waiting"]
    for number, (waiting, after) in enumerate(waits):
        equal(waiting["pause"], 0.75 * min(1600, 200 * 2**number), f"pause {number}")
        equal(after["state"], "connecting", "after a pause")
        # Timers of browsers count whole milliseconds.
        if after["at"] - waiting["at"] < waiting["pause"] - 2:
            raise Wrong(f"pause {number} was {after['at'] - waiting['at']}, not {waiting['pause']}")

    # It was not open for long: the pauses go on where they were.
    page.chance(0.25)
    count = len(page.states("waiting"))
    server.kill()
    equal(page.lost(count + 1)["pause"], 0.25 * 1600, "the pause after a short connection")
    server.start()
    page.comes_to("open")


def begins_anew_once_it_was_stable(browser, server):
    page = Page(browser, server, firstPause=200, maxPause=1600, stable=0, heartbeat=0)
    page.chance(0.5)
    server.kill()
    page.lost(3)
    server.start()
    page.comes_to("open")
    count = len(page.states("waiting"))
    server.kill()
    equal(page.lost(count + 1)["pause"], 100, "the pause after a stable connection")
    server.start()
    page.comes_to("open")


def stops(browser, server):
    for code in (1008, 4001):
        page = Page(browser, server, firstPause=20, maxPause=40, heartbeat=0, maxQueue=2)
        page.say("close 1011")
        page.lost(1, "as you say")
        page.comes_to("open")
        page.chance(0.5)
        page.say("close 1013")
        equal(page.lost(2, "as you say")["pause"], 30, "the pause after a server that has too many")
        page.comes_to("open")
        page.say(f"close {code}")
        page.comes_to("closed")
        end = page.states()[-1]
        equal([end["code"], end["reason"]], [code, "as you say"], "the end")
        page.get("dispatchEvent(new Event('online'))")
        # Longer than any pause.
        until("a moment is over", lambda: page.get("performance.now()") > end["at"] + 500)
        equal(page.states()[-1], end, "after the end")
        equal(page.say("hello?"), False, "whether a message is taken after the end")
    page = Page(browser, server, firstPause=20, maxPause=40)
    page.get("cookbook.socket.close(4000, 'bye')")
    page.comes_to("closed")
    end = page.states()[-1]
    until("a moment is over", lambda: page.get("performance.now()") > end["at"] + 500)
    equal(page.states()[-1], end, "after the application has closed")


def notices_a_silent_server(browser, server):
    page = Page(browser, server, firstPause=100, maxPause=200, heartbeat=300, patience=700, openTimeout=1000)
    # More than one heartbeat: they are answered, and not shown.
    until("heartbeats are over", lambda: page.get("performance.now()") > page.states("open")[0]["at"] + 2000)
    equal(len(page.states("waiting")), 0, "connections lost while the server answers")
    page.hears("hello")
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        page.lost(1, "does not answer")
        page.lost(2, "does not open")
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    page.comes_to("open")


def is_woken(browser, server):
    page = Page(browser, server, firstPause=3_600_000, maxPause=3_600_000, heartbeat=0)
    for wake in ("dispatchEvent(new Event('online'))", "document.dispatchEvent(new Event('visibilitychange'))"):
        count = len(page.states("waiting"))
        server.kill()
        page.lost(count + 1)
        server.start()
        page.get(wake)
        page.comes_to("open")


def keeps_no_connection_for_the_back_button(browser, server):
    page = Page(browser, server, firstPause=1, maxPause=1, heartbeat=0)
    page.get("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: false }))")
    equal(len(page.states("waiting")), 0, "connections closed by a page that is not kept")
    page.get("dispatchEvent(new PageTransitionEvent('pagehide', { persisted: true }))")
    page.lost(1, "the page is left")
    left = page.states()[-1]
    # Longer than any pause.
    until("a moment is over", lambda: page.get("performance.now()") > left["at"] + 500)
    equal(page.states()[-1], left, "after the page is left")
    page.get("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    page.comes_to("open")
    page.hears("hello", "hello")


def is_left_and_shown_again(browser, server):
    page = Page(browser, server, heartbeat=0, firstPause=100)
    page.get("void (cookbook.kept = true)")
    browser.open(f"http://127.0.0.1:{server.port}/typing.js")
    browser.evaluate("void history.back()")
    page.comes_to("open")
    if page.get("cookbook.kept"):  # a browser may load it again instead
        page.lost(1, "the page is left")


def uploads(browser, server):
    page = Page(browser, server)
    page.get(f"""(() => {{
        window.told = [];
        window.bytes = new Blob([new Uint8Array({SIZE}).fill(7)]);
        cookbook.upload(cookbook.base + '/upload', bytes, {{ progress: it => told.push(it) }})
            .then(name => window.storedAs = name, error => window.storedAs = String(error));
    }})()""")
    name = until("the file is stored", lambda: page.get("window.storedAs"))
    told = page.get("told")
    if len(told) < 5 or told != sorted(set(told)) or told[0] != 0:
        raise Wrong(f"progress: {told}")
    equal((server.folder / name).read_bytes(), bytes([7]) * SIZE, "the file that is stored")

    page.get("""(() => {
        const stop = new AbortController();
        const progress = it => it && stop.abort(new Error('enough'));
        cookbook.upload(cookbook.base + '/upload', bytes, { progress, signal: stop.signal })
            .then(name => window.cancelledBy = name, error => window.cancelledBy = error.message);
    })()""")
    equal(until("the upload is cancelled", lambda: page.get("window.cancelledBy")), "enough", "the cancelled upload")
    until("nothing is left of it", lambda: not list(server.folder.glob("*.part")))
    equal(len(list(server.folder.glob("*.file"))), 1, "files that are stored")

    page.get("""void cookbook.upload(cookbook.base + '/upload', bytes, { signal: AbortSignal.abort(new Error('too late')) })
        .catch(error => window.neverBegun = error.message)""")
    equal(until("it is cancelled before it begins", lambda: page.get("window.neverBegun")), "too late", "that upload")

    page.get(f"""void cookbook.upload(cookbook.base + '/upload', {{ size: {2 << 30} }})
        .catch(error => window.refusedAs = error.message)""")
    equal(until("it is refused", lambda: page.get("window.refusedAs")), f"more than {1 << 30} bytes", "a large file")


def types(browser, server):
    page = Page(browser, server, heartbeat=0)
    page.get("""(() => {
        window.said = 0;
        cookbook.typing.say = () => window.said++;
        cookbook.typing.expire = 200;
        for (let key = 0; key < 5; key++) cookbook.typing.input();
        cookbook.typing.heard('ben');
        cookbook.typing.heard('eve');
        cookbook.typing.stopped('eve');
        window.shown = document.querySelector('#typing').textContent;
    })()""")
    equal(page.get("[window.said, window.shown]"), [1, "ben"], "how often it was said, and which users are shown")
    until("ben is not typing any more", lambda: page.get("document.querySelector('#typing').textContent === ''"))
    page.get("cookbook.typing.every = 0, cookbook.typing.input()")
    equal(page.get("window.said"), 2, "how often it was said later")


PLAYS = [is_killed_and_comes_back, begins_anew_once_it_was_stable, stops, notices_a_silent_server, is_woken, keeps_no_connection_for_the_back_button,
    is_left_and_shown_again, uploads, types]


def run(processes, opened, names):
    for browser, name in dict(zip(names, zip(opened, names))).values():
        start = time.monotonic()
        server = Server(processes, name)
        for play in PLAYS:
            play(browser, server)
        # Otherwise the page goes on connecting, and complains while others play.
        browser.evaluate("window.cookbook.socket.close()")
        server.kill()
        shutil.rmtree(server.folder)
        browser.errors().clear()  # of connections that found no server
        print(f"reconnecting: good, with {name} ({time.monotonic() - start:.0f} s)", flush=True)
