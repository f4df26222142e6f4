"""Browsers, told what to do: Chromium by its devtools, Firefox by marionette.

As a program it is one browser, which opens the server's page, whose title becomes what its WebSocket saw.
"""
import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
from functools import partial
from pathlib import Path

ENTER = "\ue007"  # as WebDriver spells it
PATIENCE = 300  # for one answer: a page may come over a slow line


class Chromium:
    """It ends by itself when the pipes to it are closed, and so when whoever has started it is gone."""

    programs = ["chromium"]

    def __init__(self, profile, start):
        profile.mkdir(parents=True)
        command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += ["--ignore-certificate-errors", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        command += ["--disable-background-networking", "--disable-component-update", "--no-first-run", "about:blank"]
        ends = [*os.pipe(), *os.pipe()]
        # Away from 3 and 4, which the browser has to have.
        theirs_in, self.orders, self.answers, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
        for end in ends:
            os.close(end)
        moved = ["bash", "-c", f'exec "$@" 3<&{theirs_in}- 4>&{theirs_out}-', "bash", *command]
        start(moved, pass_fds=(theirs_in, theirs_out))
        os.close(theirs_in)
        os.close(theirs_out)
        self.number, self.session, self.unread, self.complaints = 0, None, b"", []
        pages = until(lambda: [it for it in self.call("Target.getTargets")["targetInfos"] if it["type"] == "page"])
        attached = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        order = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            order["sessionId"] = self.session
        os.write(self.orders, json.dumps(order).encode() + b"\0")
        while (said := self.read()).get("id") != self.number:
            self.hear(said)
        if "error" in said:
            raise RuntimeError(f"chromium: {method}: {said['error']}")
        return said["result"]

    def read(self):
        while b"\0" not in self.unread:
            if not select.select([self.answers], [], [], PATIENCE)[0]:
                raise TimeoutError("chromium does not answer")
            if not (some := os.read(self.answers, 1 << 16)):
                raise EOFError("chromium has ended")
            self.unread += some
        said, _, self.unread = self.unread.partition(b"\0")
        return json.loads(said)

    def hear(self, event):
        """Keeps what a page complains of."""
        parameters = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif event.get("method") == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.complaints.append(parameters["entry"]["text"])

    def open(self, url):
        if failed := self.call("Page.navigate", url=url).get("errorText"):
            raise RuntimeError(f"chromium: {url}: {failed}")
        until(lambda: self.evaluate("document.readyState") == "complete")

    def evaluate(self, expression):
        said = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in said:
            raise RuntimeError(f"chromium: {expression}: {said['exceptionDetails']}")
        return said["result"].get("value")

    def type(self, selector, text):
        """Types into what a selector finds; Enter, for which `text` may have `ENTER`, is a key."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        lines = text.split(ENTER)
        for number, line in enumerate(lines):
            if number:
                key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
                self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
                self.call("Input.dispatchKeyEvent", type="keyUp", **key)
            if line:
                self.call("Input.insertText", text=line)

    def errors(self):
        """What the page has complained of so far."""
        self.evaluate("0")  # what was said before is read before its answer
        return self.complaints


class Firefox:
    programs = ["firefox-esr", "firefox"]

    def __init__(self, profile, start):
        profile.mkdir(parents=True)
        preferences = {
            "marionette.port": 0,
            # RFC 8441.
            "network.http.http2.websockets": True,
            "app.update.enabled": False,
            "network.captive-portal-service.enabled": False,
            "network.connectivity-service.enabled": False,
            "datareporting.policy.dataSubmissionEnabled": False,
        }
        lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items())
        (profile / "user.js").write_text("\n".join(lines))
        program = next(filter(None, map(shutil.which, self.programs)))
        command = [program, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
        # What it complains of is known to its own code alone.
        command.append("--remote-allow-system-access")
        home = profile / "home"
        home.mkdir()
        start(command, env={**os.environ, "HOME": str(home)})
        said = profile / "MarionetteActivePort"
        port = int(until(lambda: said.exists() and said.read_text()))
        self.stream = socket.create_connection(("127.0.0.1", port), PATIENCE).makefile("rwb")
        self.number, self.origin = 0, None
        self.read()
        self.call("WebDriver:NewSession", acceptInsecureCerts=True)

    def read(self):
        """JSON behind its length and a colon."""
        length = b""
        while (byte := self.stream.read(1)) != b":":
            if not byte:
                raise EOFError("firefox has ended")
            length += byte
        return json.loads(self.stream.read(int(length)))

    def call(self, name, **parameters):
        self.number += 1
        request = json.dumps([0, self.number, name, parameters]).encode()
        self.stream.write(b"%d:%s" % (len(request), request))
        self.stream.flush()
        _, _, error, result = self.read()
        if error:
            raise RuntimeError(f"firefox: {name}: {error}")
        return result

    def open(self, url):
        self.origin = "{0.scheme}://{0.netloc}".format(urllib.parse.urlsplit(url))
        self.call("WebDriver:Navigate", url=url)
        # Now and then it is the page before that has answered.
        until(lambda: self.evaluate("[location.origin, document.readyState]") == [self.origin, "complete"])

    def evaluate(self, expression):
        return self.call("WebDriver:ExecuteScript", script=f"return ({expression})", args=[])["value"]

    def type(self, selector, text):
        found = self.call("WebDriver:FindElement", using="css selector", value=selector)["value"]
        self.call("WebDriver:ElementSendKeys", id=next(iter(found.values())), text=text)

    def errors(self):
        said = """Services.console.getMessageArray()
            .filter(it => it instanceof Ci.nsIScriptError && !(it.flags & it.warningFlag) && !(it.flags & it.infoFlag))
            .map(it => [it.sourceName, `${it.category}: ${it.errorMessage}`])"""
        self.call("Marionette:SetContext", value="chrome")
        try:
            return [what for where, what in self.evaluate(said) if where.startswith(self.origin)]
        finally:
            self.call("Marionette:SetContext", value="content")


BROWSERS = {"chromium": Chromium, "firefox": Firefox}


def until(condition):
    """Waits for what a browser has to do, and returns it."""
    for _ in range(600):
        if value := condition():
            return value
        time.sleep(0.1)
    raise TimeoutError("the browser does not start")


def main():
    name, url, profile = sys.argv[1], urllib.parse.urlsplit(sys.argv[2]), Path(sys.argv[3])
    target = urllib.parse.quote(f"{url.path}?{url.query}")
    scheme = "https" if url.scheme == "wss" else "http"
    browser = BROWSERS[name](profile, partial(subprocess.Popen, stdout=sys.stderr, stderr=sys.stderr))
    browser.open(f"{scheme}://{url.netloc}/#{target}")
    while not (seen := browser.evaluate("document.title")).startswith("{"):
        time.sleep(0.2)
    print(seen, flush=True)
    # The browser is ended from outside.


if __name__ == "__main__":
    main()
