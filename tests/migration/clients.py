"""The same server against clients that are to do the same: lines of the input become messages, and messages lines.

    clients.py NAME=COMMAND...    a command is one argument, and gets a URL as its last
"""

import asyncio
import base64
import hashlib
import shlex
import sys

from websockets.asyncio.server import serve

PATIENCE = 10


class Client:
    def __init__(self, process):
        self.process = process

    async def line(self):
        return (await asyncio.wait_for(self.process.stdout.readline(), PATIENCE)).decode().rstrip()

    def type(self, line):
        self.process.stdin.write(f"{line}\n".encode())

    async def end(self):
        """Returns how it ended, and what it had not yet said."""
        self.process.stdin.close()
        rest, _ = await asyncio.wait_for(self.process.communicate(), PATIENCE)
        return self.process.returncode == 0, [line.rstrip() for line in rest.decode().splitlines()]


async def run(command, handler, talk):
    await run_with(command, await serve(handler, "127.0.0.1", 0), talk)


async def run_with(command, server, talk):
    async with server:
        port = server.sockets[0].getsockname()[1]
        arguments = [*shlex.split(command), f"ws://127.0.0.1:{port}/"]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*arguments, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
        try:
            return await talk(Client(process))
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def conversation(command):
    seen = {}

    async def handler(socket):
        seen["token"] = socket.request.headers.get("authorization")
        async for message in socket:
            await socket.send(message.upper())
        seen["code"] = socket.close_code

    async def talk(client):
        client.type("hello")
        assert await client.line() == "HELLO"
        client.type("again")
        assert await client.line() == "AGAIN"
        assert await client.end() == (True, ["closed: 1000"]), "its own Close is answered"

    await run(command, handler, talk)
    assert seen == {"token": "Bearer secret", "code": 1000}, seen


async def closed_by_server(command):
    async def handler(socket):
        await socket.recv()
        await socket.close(4002, "restart")

    async def talk(client):
        client.type("hello")
        assert await client.line() == "closed: 4002 restart"
        await client.end()  # well, or with an error if it has tried to close what was closed

    await run(command, handler, talk)


async def reset(command):
    async def handler(socket):
        await socket.recv()
        socket.transport.abort()

    async def talk(client):
        client.type("hello")
        assert await client.line() == "", "its output has ended"
        assert await client.end() == (False, [])

    await run(command, handler, talk)


async def late(command, side):
    """What a server sends that has the client's Close already, as one may that has not looked yet."""

    async def handler(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        [key] = [line.split(": ")[1] for line in head.decode().split("\r\n") if line.lower().startswith("sec-websocket-key")]
        accept = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: " + base64.b64encode(accept) + b"\r\n\r\n"
        )
        assert await reader.readexactly(1) == b"\x88", "it has nothing to send but a Close"
        writer.write(b"\x81\x04late\x88\x02\x03\xe8")
        writer.close()

    async def talk(client):
        expected = ["late", "closed: 1000"] if side == "before" else ["closed: 1000"]
        assert await client.end() == (True, expected), "what comes after an own Close"

    await run_with(command, await asyncio.start_server(handler, "127.0.0.1", 0), talk)


async def main():
    for name, command in (argument.split("=", 1) for argument in sys.argv[1:]):
        for check in (conversation, closed_by_server, reset):
            await check(command)
            print(f"{name}: {check.__name__}: ok")
        await late(command, name.split("/")[0])
        print(f"{name}: late: as the page says")


asyncio.run(main())
