"""The chat of the example `chat`, whose server is stopped by Ctrl-C and started again under two people in a room."""
import re
import signal
import time

from stage import ENTER, SAID, TARGET, TOLD, WORK, Person, Wrong, free_port, listens, until

# How far the end of what was said is below the edge of the window, in pixels.
BELOW = """(log => Math.round(log.scrollHeight - log.scrollTop - log.clientHeight))(
    document.querySelector('.log:not([hidden])'))"""
DRAFT = "(box => [box.value, box.disabled, document.activeElement === box])(document.querySelector('#text'))"
BANNER = "document.querySelector('#notice').hidden ? null : document.querySelector('#why').textContent"
LINES = 60  # more than a window shows


class Server:
    def __init__(self, processes):
        self.processes, self.port = processes, free_port()
        self.page = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        command = [TARGET / "debug/examples/chat", f"127.0.0.1:{self.port}", "127.0.0.1:0"]
        self.process = self.processes.start("chat", command)
        until("the chat is open", lambda: self.process.poll() is not None or listens(self.port))
        if self.process.poll() is not None:
            raise Wrong(f"the chat does not start: {self.process.returncode}")

    def stop(self):
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        until("the chat ends", lambda: self.process.poll() is not None)
        if self.process.returncode != 0:
            raise Wrong(f"the chat has ended with {self.process.returncode}")


def frames(person):
    """Waits until the browser has drawn the page a few times: until then scrolling is not told to it."""
    drawn = """(window.drawn ??= (count => { const draw = () => { count.now++; requestAnimationFrame(draw); }; draw();
        return count; })({ now: 0 })).now"""
    before = person.browser.evaluate(drawn)
    until(f"{person.name}'s page is drawn", lambda: person.browser.evaluate(drawn) > before + 3)


def is_at_the_end(person, when):
    frames(person)
    below = person.browser.evaluate(BELOW)
    if below > 1:
        raise Wrong(f"{person.name}'s log ends {below} pixels below the window {when}")


def has_draft(person, text, when):
    draft = person.browser.evaluate(DRAFT)
    if draft != [text, False, True]:
        raise Wrong(f"{person.name}'s draft {when}, whether it is disabled and focused: {draft}")


def texts(person):
    return [text for _, text in person.browser.evaluate(SAID)]


def play(server, ada, ben):
    ben.told("The name “ada” is taken")
    for number in range(LINES):
        ada.browser.type("#text", f"line {number}{ENTER}")
    for person in (ada, ben):
        until(f"{person.name} has seen all", lambda: texts(person)[-1:] == [f"line {LINES - 1}"])
        is_at_the_end(person, "before anything has happened")
    ada.browser.type("#text", "half a ")

    server.stop()
    for person in (ada, ben):
        until(f"{person.name} sees the banner", lambda: person.browser.evaluate(BANNER))
        banner = person.browser.evaluate(BANNER)
        if not re.match(r"The server is shutting down\. Trying again in", banner):
            raise Wrong(f"{person.name}'s banner: {banner}")
        is_at_the_end(person, "while the server is gone")
    has_draft(ada, "half a ", "as the server has gone")
    ada.browser.type("#text", f"sentence{ENTER}")
    has_draft(ada, "half a sentence", "while the server is gone")

    server.start()
    for person in (ada, ben):
        person.is_in()
        person.told("Connected again")
        is_at_the_end(person, "after coming back")
    has_draft(ada, "half a sentence", "after coming back")
    ada.browser.type("#text", f", and its end{ENTER}")
    sentence = "half a sentence, and its end"
    for person in (ada, ben):
        until(f"{person.name} sees the sentence", lambda: texts(person)[-1:] == [sentence])
        is_at_the_end(person, "once somebody has written")
        if len(texts(person)) != LINES + 1:
            raise Wrong(f"{person.name} sees {len(texts(person))} messages, not {LINES + 1}")

    # Who has scrolled up stays there.
    ben.browser.evaluate("document.querySelector('.log:not([hidden])').scrollTop = 100")
    frames(ben)
    ada.browser.type("#text", f"one more{ENTER}")
    until("ben has one unread", lambda: ben.browser.evaluate("document.querySelector('#more').textContent[2]") == "1")
    if ben.browser.evaluate(BELOW) < 100:
        raise Wrong("ben's log has moved under him")
    complaints = [it for person in (ada, ben) for it in person.browser.errors() if "WebSocket" not in it and "ws:/" not in it]
    if complaints:
        raise Wrong(f"the pages complain: {complaints}")


def run(processes, browsers, names):
    start = time.monotonic()
    server = Server(processes)
    # Two of the same name, which the server tells apart.
    ada, ben = (Person("ada", browser, server.page) for browser in browsers)
    ben.name = "ben"
    play(server, ada, ben)
    for browser in browsers:
        browser.errors().clear()  # of connections that found nobody
    print(f"coming back: good, with {' and '.join(names)} ({time.monotonic() - start:.0f} s)", flush=True)
