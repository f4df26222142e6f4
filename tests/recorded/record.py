"""Lets every peer hold its conversations, and writes what it sent: see record, and README.md."""
import asyncio
import importlib.metadata
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
OURS, WORK = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
ONLY = sys.argv[3:]
PATHS, ENDINGS = ("plain", "deflate"), ("peer", "ours", "abort")


class Tap:
    """Passes bytes on, and keeps those of one direction as they were cut."""

    def __init__(self, upstream, tls=None, keep_answers=False):
        self.upstream, self.tls, self.keep_answers = upstream, tls, keep_answers
        self.connections = []

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.connection, "localhost", 0, family=socket.AF_INET, ssl=self.tls)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def connection(self, reader, writer):
        kept = {"chunks": [], "end": None}
        self.connections.append(kept)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            return writer.close()
        ways = [(reader, back, not self.keep_answers), (there, writer, self.keep_answers)]
        await asyncio.gather(*(self.pass_on(*way, kept) for way in ways))
        writer.close()
        back.close()

    async def pass_on(self, reader, writer, keep, kept):
        end = "end"
        try:
            while data := await reader.read(65536):
                if keep:
                    kept["chunks"].append(data)
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            end = "reset"
        if keep:
            kept["end"] = end
        try:
            # asyncio's TLS has no half-closed streams.
            if end == "reset":
                writer.transport.abort()
            elif writer.can_write_eof():
                writer.write_eof()
            else:
                writer.close()
        except OSError:
            pass

    def best(self):
        """The connection with the WebSocket: a browser makes others for its page."""
        return max(self.connections, key=lambda kept: sum(map(len, kept["chunks"])))


def save(peer, role, http, path, ending, version, kept):
    name = f"{peer}-http{http}-{path}-{ending}"
    head = f"peer: {version}\nrole: {role}\nhttp: {http}\npath: {path}\nending: {ending}\nend: {kept['end']}\n\n"
    body = b"".join(len(chunk).to_bytes(4, "big") + chunk for chunk in kept["chunks"])
    (HERE / f"{name}.rec").write_bytes(head.encode() + body)
    print(f"{name}: {len(kept['chunks'])} pieces, {sum(map(len, kept['chunks']))} bytes, {kept['end']}", flush=True)


def start(*command, **settings):
    return subprocess.Popen([str(part) for part in command], start_new_session=True, **settings)


def stop(process):
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def listening(port):
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            return writer.close()
        except OSError:
            await asyncio.sleep(0.05)
    raise TimeoutError("a server does not start")


async def until(condition, seconds=40):
    for _ in range(seconds * 10):
        if condition():
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("it does not end")


async def wait(process, seconds=30):
    await until(lambda: process.poll() is not None, seconds)


async def client(command, port, peer, http, version):
    """A foreign client, as a program that ends with its conversation."""
    for path in PATHS:
        for ending in ENDINGS:
            async with Tap(port) as tap:
                process = start(*command, "client", f"ws://localhost:{tap.port}/{path}", ending)
                await wait(process)
                await until(lambda: tap.connections and tap.best()["end"])
                save(peer, "client", http, path, ending, version, tap.best())


async def server(command, peer, http, version):
    """A foreign server, which is told by its port where to listen."""
    for path in PATHS:
        for ending in ENDINGS:
            port = free_port()
            process = start(*command, "server", port)
            await listening(port)
            async with Tap(port, keep_answers=True) as tap:
                ours = start(OURS, "client", tap.port, http, path, ending)
                await wait(ours)
                await asyncio.sleep(0.5)
                stop(process)
                await until(lambda: tap.connections and tap.best()["end"])
                save(peer, "server", http, path, ending, version, tap.best())


async def browser(open_page, port, peer, http, version):
    tls = None
    if http == 2:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(WORK / "certificate.pem", WORK / "key.pem")
        tls.set_alpn_protocols(["h2"])
    for path in PATHS:
        for ending in ENDINGS:
            profile = WORK / f"profile-{peer}-{http}"
            shutil.rmtree(profile, ignore_errors=True)
            profile.mkdir()
            async with Tap(port, tls) as tap:
                scheme = "https" if tls else "http"
                page = f"{scheme}://localhost:{tap.port}/#/{path},{ending}"
                process, title = await open_page(page, profile)
                try:
                    seen = ""
                    for _ in range(300):
                        seen = await title()
                        if seen not in ("", "waiting"):
                            break
                        await asyncio.sleep(0.1)
                    print(f"  {seen}", flush=True)
                    # What is said behind the Close: on HTTP/2 the end of the stream.
                    await asyncio.sleep(0.5)
                finally:
                    stop(process)
                await until(lambda: tap.connections and tap.best()["end"])
                save(peer, "client", http, path, ending, version, tap.best())


async def chromium(page, profile):
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"]
    command += ["--ignore-certificate-errors", "--remote-debugging-port=0", f"--user-data-dir={profile}", "--disable-sync"]
    command += ["--disable-background-networking", "--disable-component-update", "--no-first-run", page]
    process = start(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    said = profile / "DevToolsActivePort"
    await until(said.exists)
    await asyncio.sleep(0.3)
    port = int(said.read_text().split()[0])

    def listed():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
            return json.load(answer)

    async def title():
        pages = [target for target in await asyncio.to_thread(listed) if target["type"] == "page" and "localhost" in target["url"]]
        return pages[0]["title"] if pages and not pages[0]["title"].startswith("localhost") else ""

    return process, title


async def firefox(page, profile):
    port = free_port()
    preferences = {
        "marionette.port": port,
        # RFC 8441.
        "network.http.http2.websockets": True,
        "app.update.enabled": False,
        "network.captive-portal-service.enabled": False,
        "network.connectivity-service.enabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
    }
    lines = (f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in preferences.items())
    (profile / "user.js").write_text("\n".join(lines))
    home = profile / "home"
    home.mkdir()
    command = ["firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", profile]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = start(*command, **quiet, env={**os.environ, "HOME": str(home)})
    await listening(port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def read():
        length = await reader.readuntil(b":")
        return json.loads(await reader.readexactly(int(length[:-1])))

    async def call(name, parameters):
        request = json.dumps([0, 1, name, parameters]).encode()
        writer.write(b"%d:%s" % (len(request), request))
        _, _, error, result = await read()
        assert error is None, error
        return result

    await read()
    await call("WebDriver:NewSession", {"acceptInsecureCerts": True})
    await call("WebDriver:Navigate", {"url": page})

    async def title():
        return (await call("WebDriver:GetTitle", {}))["value"]

    return process, title


def said(*command):
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return lines[0].strip()


async def main():
    python = [sys.executable, HERE / "peers.py"]
    node = ["node", HERE / "peers.cjs", WORK / "node_modules"]
    package = json.loads((WORK / "node_modules/ws/package.json").read_text())["version"]
    ws = f"ws {package}, Node.js {said('node', '--version')}"
    version = {name: f"{name} {importlib.metadata.version(name)}" for name in ("websockets", "h2", "wsproto", "hypercorn")}
    port = free_port()
    ours = start(OURS, "server", port)
    await listening(port)
    peers = {
        "ws-client": lambda: client(node, port, "ws-client", 1, ws),
        "ws-server": lambda: server(node, "ws-server", 1, ws),
        "websockets-client": lambda: client([*python, "websockets"], port, "websockets-client", 1, version["websockets"]),
        "websockets-server": lambda: server([*python, "websockets"], "websockets-server", 1, version["websockets"]),
        "wsproto-client": lambda: client(
            [*python, "wsproto"], port, "wsproto-client", 2, f"{version['h2']}, {version['wsproto']}"
        ),
        "hypercorn-server": lambda: server(
            [*python, "hypercorn"], "hypercorn-server", 2, f"{version['hypercorn']}, {version['h2']}, {version['wsproto']}"
        ),
        "chromium-1": lambda: browser(chromium, port, "chromium", 1, said("chromium", "--version")),
        "chromium-2": lambda: browser(chromium, port, "chromium", 2, said("chromium", "--version")),
        "firefox-1": lambda: browser(firefox, port, "firefox", 1, said("firefox-esr", "--version")),
        "firefox-2": lambda: browser(firefox, port, "firefox", 2, said("firefox-esr", "--version")),
    }
    try:
        for name, record in peers.items():
            if not ONLY or any(part in name for part in ONLY):
                await record()
    finally:
        stop(ours)


asyncio.run(main())
