"""One client: connects, checks what comes, and prints what it saw as a line of JSON."""
import asyncio
import json
import ssl
import sys
import time
from urllib.parse import parse_qs, urlsplit

SIZE = 16 << 10
STEADY = 40_000  # bytes per second
WINDOW = 8 << 20  # of HTTP/2


class Seen:
    """What came so far; `expected` messages are answered with a text."""

    def __init__(self, target):
        query = parse_qs(target.query)
        self.silence = target.path == "/silence"
        self.expected = int(query["bytes"][0]) // SIZE if "bytes" in query else None
        self.messages, self.wrong = 0, None
        self.code, self.clean, self.error = None, False, ""
        self.start = time.monotonic()

    def message(self, message):
        """Takes a message; tells whether an answer is due."""
        number = self.messages
        if bytes(message) != number.to_bytes(8, "big") + bytes([number % 256]) * (SIZE - 8):
            self.wrong = self.wrong or f"message {number} is not what was sent"
        self.messages += 1
        return self.silence and self.messages == self.expected

    def report(self):
        seconds = time.monotonic() - self.start
        shown = ("messages", "wrong", "code", "clean", "error")
        print(json.dumps({**{name: getattr(self, name) for name in shown}, "seconds": seconds}), flush=True)


def trusting(*protocols):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


async def websockets(target, seen):
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    # Its own pings would be answered behind megabytes, and it would cut the connection itself.
    settings = dict(ping_interval=None, compression=None, max_size=None, close_timeout=600, open_timeout=60)
    if target.scheme == "wss":
        settings["ssl"] = trusting("http/1.1")
    async with connect(target.geturl(), **settings) as connection:
        beating = asyncio.create_task(heartbeat(target, connection.pong))
        try:
            while True:
                if seen.message(await connection.recv()):
                    await connection.send("all of it")
        except ConnectionClosed as closed:
            seen.code = closed.rcvd.code if closed.rcvd else 1006
            seen.clean = bool(closed.rcvd and closed.sent)
            seen.error = "" if seen.clean else repr(closed.__cause__ or closed)
        finally:
            beating.cancel()


async def heartbeat(target, beat):
    """Says something now and then where the server has closed long before its last bytes are here.

    Had it left the connection to its kernel, that would answer with a reset, and the bytes be lost.
    Elsewhere what is said would count as a sign of life, which only answers to pings are to be.
    """
    while target.path == "/return":
        await beat()
        await asyncio.sleep(2)


async def dial(target, *protocols):
    tls = {"ssl": trusting(*protocols), "server_hostname": "localhost"} if target.scheme == "wss" else {}
    return await asyncio.open_connection(target.hostname, target.port, **tls)


async def python_h2(target, seen):
    from h2.config import H2Configuration
    from h2.connection import H2Connection
    from h2.events import ConnectionTerminated, DataReceived, RemoteSettingsChanged, ResponseReceived
    from h2.events import StreamEnded, StreamReset
    from h2.settings import SettingCodes

    reader, writer = await dial(target, "h2")
    http2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
    # As large as browsers have them: it is the line that is to hold the server up.
    http2.initiate_connection()
    http2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: WINDOW})
    http2.increment_flow_control_window(WINDOW)
    frames, stream = Frames(seen), None
    while True:
        writer.write(http2.data_to_send())
        await writer.drain()
        data = await reader.read(65536)
        if not data:
            seen.error = "the connection ended"
            return
        for event in http2.receive_data(data):
            if isinstance(event, RemoteSettingsChanged) and stream is None:
                # RFC 8441 §3: not before the server has said that it takes it.
                if 8 in event.changed_settings:
                    stream = http2.get_next_available_stream_id()
                    http2.send_headers(stream, [
                        (":method", "CONNECT"), (":protocol", "websocket"),
                        (":scheme", "https" if target.scheme == "wss" else "http"),
                        (":authority", target.netloc), (":path", f"{target.path}?{target.query}"),
                        ("sec-websocket-version", "13"),
                    ])
            elif isinstance(event, ResponseReceived):
                status = dict(event.headers)[":status"]
                assert status == "200", status
            elif isinstance(event, DataReceived):
                http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                # An empty DATA frame for each would be a flood.
                if event.data and (answer := frames.receive(event.data)):
                    http2.send_data(stream, answer)
            elif isinstance(event, StreamEnded):
                seen.clean = seen.code is not None
                http2.end_stream(stream)
                writer.write(http2.data_to_send())
                await writer.drain()
                return
            elif isinstance(event, (StreamReset, ConnectionTerminated)):
                seen.error = repr(event)
                return


class Frames:
    """WebSocket over whatever carries it."""

    def __init__(self, seen):
        from wsproto.connection import Connection, ConnectionType

        self.seen, self.protocol, self.message = seen, Connection(ConnectionType.CLIENT), b""

    def receive(self, data):
        """Takes bytes, and gives those to answer with."""
        from wsproto.events import BytesMessage, CloseConnection, Ping, TextMessage

        answer = b""
        self.protocol.receive_data(data)
        for event in self.protocol.events():
            if isinstance(event, BytesMessage):
                self.message += event.data
                if event.message_finished:
                    message, self.message = self.message, b""
                    if self.seen.message(message):
                        answer += self.protocol.send(TextMessage(data="all of it"))
            elif isinstance(event, Ping):
                answer += self.protocol.send(event.response())
            elif isinstance(event, CloseConnection):
                self.seen.code = int(event.code)
                answer += self.protocol.send(event.response())
        return answer


def handshake(target):
    return (
        f"GET {target.path}?{target.query} HTTP/1.1\r\nHost: {target.netloc}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


async def head(reader):
    response = await reader.readuntil(b"\r\n\r\n")
    assert response.startswith(b"HTTP/1.1 101 "), response


async def steady(target, seen):
    """The line is fast, and this reads slowly: the rest waits in the kernels."""
    reader, writer = await dial(target, "http/1.1")
    writer.write(handshake(target))
    await head(reader)
    frames, read, start = Frames(seen), 0, time.monotonic()

    async def pong():
        writer.write(b"\x8a\x80\0\0\0\0")

    beating = asyncio.create_task(heartbeat(target, pong))
    while data := await reader.read(4096):
        writer.write(frames.receive(data))
        read += len(data)
        await asyncio.sleep(max(0, read / STEADY - (time.monotonic() - start)))
    beating.cancel()
    seen.clean = seen.code is not None
    seen.error = "" if seen.clean else "the connection ended"


async def deaf(target, seen):
    """Reads nothing once the connection is open, and is told of nothing: it is ended from outside."""
    reader, writer = await dial(target, "http/1.1")
    if target.fragment == "h2":
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        http2 = H2Connection(H2Configuration(client_side=True))
        http2.initiate_connection()
        writer.write(http2.data_to_send())
        http2.receive_data(await reader.read(65536))
        http2.increment_flow_control_window(WINDOW)
        http2.send_headers(1, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", target.netloc),
            (":path", f"{target.path}?{target.query}"), ("sec-websocket-version", "13"),
        ])
        http2.increment_flow_control_window(WINDOW, 1)
        writer.write(http2.data_to_send())
    else:
        writer.write(handshake(target))
        await head(reader)
    writer.transport.pause_reading()
    await asyncio.sleep(3600)


def main():
    kind, url = sys.argv[1:]
    target = urlsplit(url)
    seen = Seen(target)
    client = {"websockets": websockets, "python-h2": python_h2, "steady": steady, "deaf": deaf}[kind]
    try:
        asyncio.run(client(target._replace(fragment="") if kind != "deaf" else target, seen))
    except Exception as error:
        seen.error = repr(error)
    seen.report()


main()
