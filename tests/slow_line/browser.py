"""One browser: opens the server's page, whose title becomes what its WebSocket saw."""
import html
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path


def chromium(page, profile):
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += ["--ignore-certificate-errors", "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    command += ["--disable-background-networking", "--disable-component-update", "--no-first-run", page]
    subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr)
    said = profile / "DevToolsActivePort"
    until(said.exists)
    port = said.read_text().split()[0]

    def title():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as listed:
            pages = [target for target in json.load(listed) if target["type"] == "page"]
        return html.unescape(pages[0]["title"]) if pages else ""

    return title


def firefox(page, profile):
    profile.mkdir(parents=True)
    preferences = {
        "marionette.port": 2828,
        # RFC 8441.
        "network.http.http2.websockets": True,
        "app.update.enabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
    }
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items())
    (profile / "user.js").write_text("\n".join(lines))
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    command = [program, "--headless", "--marionette", "--no-remote", "--profile", str(profile)]
    home = profile / "home"
    home.mkdir()
    subprocess.Popen(command, stdout=sys.stderr, stderr=sys.stderr, env={**os.environ, "HOME": str(home)})
    until(lambda: socket.socket().connect_ex(("127.0.0.1", 2828)) == 0)
    marionette = Marionette()
    marionette.call("WebDriver:NewSession", {"acceptInsecureCerts": True})
    marionette.call("WebDriver:Navigate", {"url": page})
    return lambda: marionette.call("WebDriver:GetTitle", {})["value"]


class Marionette:
    """Firefox's remote control: JSON behind its length and a colon."""

    def __init__(self):
        self.stream = socket.create_connection(("127.0.0.1", 2828)).makefile("rwb")
        self.number = 0
        self.read()

    def read(self):
        length = b""
        while (byte := self.stream.read(1)) != b":":
            length += byte
        return json.loads(self.stream.read(int(length)))

    def call(self, name, parameters):
        self.number += 1
        request = json.dumps([0, self.number, name, parameters]).encode()
        self.stream.write(b"%d:%s" % (len(request), request))
        self.stream.flush()
        _, _, error, result = self.read()
        assert error is None, error
        return result


def until(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError("the browser does not start")


def main():
    name, url, profile = sys.argv[1], urllib.parse.urlsplit(sys.argv[2]), Path(sys.argv[3])
    target = urllib.parse.quote(f"{url.path}?{url.query}")
    scheme = "https" if url.scheme == "wss" else "http"
    page = f"{scheme}://{url.netloc}/#{target}"
    title = {"chromium": chromium, "firefox": firefox}[name](page, profile)
    while not (seen := title()).startswith("{"):
        time.sleep(0.2)
    print(seen, flush=True)
    # The browser is ended from outside.


main()
