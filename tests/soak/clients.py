"""Clients with Python's libraries, and browsers: they come and go for a while, and print what they saw.

    clients.py websockets|aiohttp|h2|chromium|firefox PLAIN_PORT TLS_PORT SECONDS
"""
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from pathlib import Path

PATHS = ["/soaked", "/soaked-deflate"]
AT_A_TIME = 6
# What every client is to survive: the server is stopped and started again.
GONE = (OSError, EOFError, asyncio.TimeoutError)


class Gone(Exception):
    """The connection is over, not by this side."""


class Seen:
    def __init__(self, seconds):
        self.end = time.monotonic() + seconds
        self.opened, self.messages, self.wrong = 0, 0, []

    @property
    def over(self):
        return time.monotonic() > self.end

    def report(self):
        print(json.dumps({"opened": self.opened, "messages": self.messages, "wrong": self.wrong[:5]}), flush=True)


def message():
    size = random.randrange(1 << random.randrange(17))
    return random.choice("abcdefgh") * size if random.random() < 0.5 else os.urandom(size)


async def talk(seen, send, receive):
    """Says things and hears them again, for up to ten seconds."""
    seen.opened += 1
    end = min(seen.end, time.monotonic() + random.uniform(0.05, 10))
    while time.monotonic() < end:
        waiting = deque(message() for _ in range(random.randint(1, 4)))
        for said in waiting:
            await send(said)
        while waiting:
            heard = await asyncio.wait_for(receive(), 30)
            if isinstance(heard, str) and heard.startswith("room "):
                continue
            if heard != waiting.popleft():
                seen.wrong.append(f"no echo: {len(heard)} {type(heard).__name__}")
                raise Gone
            seen.messages += 1
        await asyncio.sleep(random.uniform(0, 0.4))


async def websockets(seen, plain, tls):
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, InvalidHandshake

    url = f"ws://127.0.0.1:{plain}{random.choice(PATHS)}"
    try:
        connection = await connect(url, open_timeout=30, close_timeout=10)
        try:
            await talk(seen, connection.send, connection.recv)
        finally:
            if random.random() < 0.3:
                connection.transport.abort()
            await connection.close(random.choice([1000, 1001, 4000]))
    except (ConnectionClosed, InvalidHandshake) as gone:
        raise Gone from gone


async def aiohttp(seen, plain, tls):
    from aiohttp import ClientError, ClientSession, WSMsgType

    async with ClientSession() as session:
        url = f"http://127.0.0.1:{plain}{random.choice(PATHS)}"
        try:
            connection = await session.ws_connect(url, compress=random.choice([0, 15]))

            async def send(said):
                await (connection.send_str(said) if isinstance(said, str) else connection.send_bytes(said))

            async def receive():
                heard = await connection.receive()
                if heard.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    raise Gone
                return heard.data

            await talk(seen, send, receive)
            # Without it the session cuts the connection.
            if random.random() < 0.7:
                await connection.close()
        except ClientError as gone:
            raise Gone from gone


async def h2(seen, plain, tls):
    """Several WebSockets on a connection, with `wsproto` in the streams of `h2`."""
    connection = Http2(plain)
    await connection.start()
    reading = asyncio.create_task(connection.read())
    try:
        async with contextlib.AsyncExitStack() as stack:
            streams = [await connection.open() for _ in range(random.randint(1, 5))]
            stack.push_async_callback(connection.flush)
            results = await asyncio.gather(*(stream.live(seen) for stream in streams), return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, (*GONE, Gone)):
                raise result
    finally:
        if random.random() < 0.3:
            connection.writer.transport.abort()
        connection.writer.close()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, *GONE, Gone):
            await reading


class Http2:
    def __init__(self, port):
        self.port, self.streams = port, {}
        self.allowed = asyncio.Event()
        # A window was opened, or something else has changed.
        self.changed = asyncio.Condition()
        self.over = False

    async def start(self):
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.http2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http2.initiate_connection()
        await self.flush()

    async def flush(self):
        self.writer.write(self.http2.data_to_send())
        await self.writer.drain()

    async def read(self):
        from h2 import events
        from h2.exceptions import ProtocolError

        try:
            while data := await self.reader.read(65536):
                try:
                    received = self.http2.receive_data(data)
                except ProtocolError as error:
                    # After GOAWAY, which the server sends when it stops, `h2` takes nothing any more, not
                    # even what came with it.
                    if "in state ConnectionState.CLOSED" not in str(error):
                        raise
                    return
                for event in received:
                    # RFC 8441 §3: not before the server has said that it takes it.
                    if isinstance(event, events.RemoteSettingsChanged) and 8 in event.changed_settings:
                        self.allowed.set()
                    stream = self.streams.get(getattr(event, "stream_id", None))
                    if isinstance(event, events.DataReceived):
                        self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    if stream is None:
                        continue
                    if isinstance(event, events.ResponseReceived):
                        stream.answered.set_result(dict(event.headers)[":status"])
                    elif isinstance(event, events.DataReceived) and event.data:
                        stream.hear(event.data)
                    elif isinstance(event, (events.StreamEnded, events.StreamReset)):
                        stream.heard.put_nowait(None)
                        stream.over = True
                await self.flush()
                async with self.changed:
                    self.changed.notify_all()
        finally:
            self.over = True
            for stream in self.streams.values():
                stream.heard.put_nowait(None)
                stream.over = True
                if not stream.answered.done():
                    stream.answered.set_exception(Gone())
                    stream.answered.exception()
            self.allowed.set()
            async with self.changed:
                self.changed.notify_all()

    async def open(self):
        from h2.exceptions import ProtocolError

        await self.allowed.wait()
        if self.over:
            raise Gone
        try:
            number = self.http2.get_next_available_stream_id()
            stream = self.streams[number] = Stream(self, number)
            self.http2.send_headers(number, [
                (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"),
                (":authority", "localhost"), (":path", "/soaked"), ("sec-websocket-version", "13"),
            ])
        except ProtocolError as gone:
            raise Gone from gone
        await self.flush()
        return stream


class Stream:
    def __init__(self, connection, number):
        from wsproto.connection import Connection, ConnectionType

        self.connection, self.number = connection, number
        self.answered = asyncio.get_running_loop().create_future()
        self.heard, self.parts, self.over = asyncio.Queue(), [], False
        self.protocol = Connection(ConnectionType.CLIENT)

    def hear(self, data):
        from wsproto import events

        self.protocol.receive_data(data)
        for event in self.protocol.events():
            if isinstance(event, (events.TextMessage, events.BytesMessage)):
                self.parts.append(event.data)
                if event.message_finished:
                    self.heard.put_nowait((self.parts[0][:0]).join(self.parts))
                    self.parts = []
            elif isinstance(event, events.Ping):
                asyncio.ensure_future(self.quietly(self.write(self.protocol.send(event.response()))))
            elif isinstance(event, events.CloseConnection):
                self.heard.put_nowait(None)

    async def quietly(self, doing):
        with contextlib.suppress(Gone, *GONE):
            await doing

    async def write(self, data):
        from h2.exceptions import ProtocolError

        http2 = self.connection.http2
        while data:
            try:
                if self.over or self.connection.over:
                    raise Gone
                room = min(http2.local_flow_control_window(self.number), http2.max_outbound_frame_size)
                if room == 0:
                    async with self.connection.changed:
                        await asyncio.wait_for(self.connection.changed.wait(), 30)
                    continue
                http2.send_data(self.number, data[:room])
            except ProtocolError as gone:
                raise Gone from gone
            data = data[room:]
            await self.connection.flush()

    async def live(self, seen):
        from h2.exceptions import ProtocolError
        from wsproto import events
        from wsproto.utilities import LocalProtocolError

        status = await asyncio.wait_for(self.answered, 30)
        if status != "200":
            raise Gone

        async def send(said):
            kind = events.TextMessage if isinstance(said, str) else events.BytesMessage
            try:
                await self.write(self.protocol.send(kind(data=said)))
            except LocalProtocolError as gone:
                raise Gone from gone

        async def receive():
            heard = await self.heard.get()
            if heard is None:
                raise Gone
            return heard if isinstance(heard, str) else bytes(heard)

        await talk(seen, send, receive)
        how = random.random()
        try:
            if how < 0.5:
                await self.write(self.protocol.send(events.CloseConnection(code=1000)))
                while await asyncio.wait_for(self.heard.get(), 30) is not None:
                    pass
            elif how < 0.8:
                self.connection.http2.reset_stream(self.number, 8)
            else:
                self.connection.http2.end_stream(self.number)
        except ProtocolError as gone:
            raise Gone from gone


async def churn(client, seen, plain, tls):
    async def one():
        while not seen.over:
            try:
                await client(seen, plain, tls)
            except (Gone, *GONE):
                pass
            await asyncio.sleep(random.uniform(0, 0.5))

    await asyncio.gather(*(one() for _ in range(AT_A_TIME)))


def browser(name, tls, seconds):
    """The page does the talking, and its title becomes what it has seen."""
    script = Path(__file__).parent.parent / "slow_line" / "browser.py"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        url = f"wss://127.0.0.1:{tls}/soaked?seconds={seconds}"
        command = [sys.executable, script, name, url, Path(folder) / "profile"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True)
        # The program that waits for this one would leave the browser behind.
        late = threading.Timer(seconds + 50, child.kill)
        late.start()
        try:
            said = child.stdout.readline()
        finally:
            late.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    print(said, end="", flush=True)


def main():
    name, plain, tls, seconds = sys.argv[1], *map(int, sys.argv[2:])
    if name in ("chromium", "firefox"):
        return browser(name, tls, seconds)
    seen = Seen(seconds)
    try:
        client = {"websockets": websockets, "aiohttp": aiohttp, "h2": h2}[name]
        asyncio.run(churn(client, seen, plain, tls))
    except Exception as error:
        seen.wrong.append(repr(error))
    seen.report()


main()
