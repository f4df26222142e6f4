"""Python's peers, as `peers.py PEER client URL ENDING` and `peers.py PEER server PORT`: see record."""
import asyncio
import os
import socket
import sys
from urllib.parse import urlsplit


def messages(url):
    state, noise = 1, bytearray()
    for _ in range(2000):
        state = (state * 1103515245 + 12345) % 2**32
        noise.append(state >> 16 & 255)
    long = 70_000 if url.endswith("/deflate") else 10_000
    return [
        "hello, κόσμε",
        bytes(number * 7 % 256 for number in range(300)),
        "",
        "in three fragments, κόσμε",
        ("0123456789 the same again, " * (long // 20))[:long],
        bytes(noise),
        b"",
    ]


def pieces(text):
    return [text[:9], text[9:20], text[20:]]


async def websockets_client(url, ending):
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed

    async with connect(url, ping_interval=None) as connection:
        for number, message in enumerate(messages(url)):
            if number == 2:
                await connection.ping("are you there")
            await connection.send(pieces(message) if number == 3 else message)
            assert await connection.recv() == message
        if ending == "peer":
            return await connection.close(4321, "bye")
        await connection.send("abort now" if ending == "abort" else "close me")
        try:
            await connection.recv()
        except ConnectionClosed as closed:
            return print(closed)

        async def endless():
            yield "never "
            yield "finished"
            await asyncio.sleep(0.2)
            connection.transport.abort()
            await asyncio.sleep(0.1)

        try:
            await connection.send(endless())
        except ConnectionClosed:
            pass


async def websockets_server(port):
    from websockets.asyncio.server import serve

    async def echo(connection):
        count = 0
        async for message in connection:
            count += 1
            if count == 3:
                await connection.ping("are you there")
            if message == "close me":
                return await connection.close(4000, "as asked")
            await connection.send(pieces(message) if count == 4 else message)
            if message == "abort now":
                await asyncio.sleep(0.2)
                connection.transport.abort()

    async with serve(echo, "127.0.0.1", port, ping_interval=None):
        await asyncio.sleep(3600)


def wsproto_client(url, ending):
    """HTTP/2 by `h2`, WebSocket in its stream by `wsproto`'s frames."""
    import h2.config
    import h2.connection
    import h2.events
    from wsproto.connection import Connection, ConnectionType
    from wsproto.events import BytesMessage, CloseConnection, Message, Ping, TextMessage
    from wsproto.extensions import PerMessageDeflate

    target = urlsplit(url)
    line = socket.create_connection((target.hostname, target.port))
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
    http.initiate_connection()
    line.sendall(http.data_to_send())
    state = {"open": False, "frames": None}

    def read():
        data = line.recv(65536)
        if not data:
            raise EOFError
        for event in http.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                headers = dict(event.headers)
                assert headers[":status"] == "200", headers
                chosen = headers.get("sec-websocket-extensions")
                extensions = []
                if chosen:
                    deflate.finalize(chosen)
                    extensions = [deflate]
                state["frames"] = Connection(ConnectionType.CLIENT, extensions)
            elif isinstance(event, h2.events.DataReceived):
                http.acknowledge_received_data(event.flow_controlled_length, 1)
                state["frames"].receive_data(event.data)
            elif isinstance(event, h2.events.StreamEnded):
                state["frames"].receive_data(None)
            elif isinstance(event, h2.events.RemoteSettingsChanged):
                state["open"] = True
        line.sendall(http.data_to_send())

    deflate = PerMessageDeflate()
    while not state["open"]:
        read()
    headers = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", target.path)]
    headers += [(":authority", target.netloc), ("sec-websocket-version", "13")]
    headers += [("sec-websocket-extensions", f"permessage-deflate; {deflate.offer()}".rstrip("; "))]
    http.send_headers(1, headers)
    line.sendall(http.data_to_send())
    while state["frames"] is None:
        read()
    frames = state["frames"]

    def send(event):
        data = frames.send(event)
        while data:
            room = min(http.local_flow_control_window(1), http.max_outbound_frame_size, len(data))
            if room == 0:
                read()
                continue
            http.send_data(1, data[:room])
            data = data[room:]
            line.sendall(http.data_to_send())

    waiting = []

    def receive():
        whole = None
        while True:
            for event in waiting[:] or frames.events():
                if waiting:
                    waiting.pop(0)
                if isinstance(event, Message):
                    whole = event.data if whole is None else whole + event.data
                    if event.message_finished:
                        return whole
                elif isinstance(event, CloseConnection):
                    return event
            read()

    for number, message in enumerate(messages(url)):
        kind = TextMessage if isinstance(message, str) else BytesMessage
        if number == 2:
            send(Ping(payload=b"are you there"))
        parts = pieces(message) if number == 3 else [message]
        for part in parts[:-1]:
            send(kind(data=part, message_finished=False))
        send(kind(data=parts[-1]))
        assert receive() == message
    if ending == "peer":
        send(CloseConnection(code=4321, reason="bye"))
        receive()
    elif ending == "ours":
        send(TextMessage(data="close me"))
        closed = receive()
        send(closed.response())
    else:
        send(TextMessage(data="abort now"))
        receive()
        send(TextMessage(data="never finished", message_finished=False))
        http.reset_stream(1, 8)
        line.sendall(http.data_to_send())
        return
    http.end_stream(1)
    line.sendall(http.data_to_send())
    try:
        while True:
            line.settimeout(0.5)
            read()
    except (EOFError, TimeoutError):
        http.close_connection()
        line.sendall(http.data_to_send())
    line.close()


async def hypercorn_server(port):
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    async def echo(scope, receive, send):
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            if event.get("text") == "close me":
                return await send({"type": "websocket.close", "code": 4000, "reason": "as asked"})
            content = {key: event[key] for key in ("text", "bytes") if event.get(key) is not None}
            await send({"type": "websocket.send", **content})
            if event.get("text") == "abort now":
                await asyncio.sleep(0.2)
                os.kill(os.getpid(), 9)

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    await serve(echo, config)


def main():
    peer, role, *rest = sys.argv[1:]
    if (peer, role) == ("wsproto", "client"):
        wsproto_client(*rest)
    elif (peer, role) == ("websockets", "client"):
        asyncio.run(websockets_client(*rest))
    elif (peer, role) == ("websockets", "server"):
        asyncio.run(websockets_server(int(rest[0])))
    else:
        asyncio.run(hypercorn_server(int(rest[0])))


main()
