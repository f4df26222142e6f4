"""The same client against servers that are to do the same: rooms by path, as the programs in `before` and `after` have them.

    rooms.py NAME=COMMAND...    a command is one argument, and gets an address as its last

Prints what each server did, and fails where that is not what the page `migration` says of it.
"""

import asyncio
import contextlib
import os
import random
import shlex
import socket
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

PATIENCE = 10  # seconds for what should come at once
SILENCE = 50  # and for what comes after 40: a ping after 20, and 20 more for its pong

OURS = {
    "a message": "to all of the room, and to no other",
    "text that is not UTF-8": "1007",
    "quit": "4001 as you wish",
    "a close with 4002": "4002, left",
    "a reset": "left",
    "a page of another host": "403",
    "2 MiB": "1009",
    "one that does not read": "1000 messages echoed, left",
    "one that is silent": "left",
}
# What is not as with ours, and is on the page.
TUNGSTENITE = {
    "text that is not UTF-8": "1006",
    "a page of another host": "101",
    "2 MiB": "echoed",
    "one that does not read": "1000 messages echoed, stays, all of them kept",
    "one that is silent": "stays",
}
OTHERS = {
    "tungstenite_server": TUNGSTENITE,
    "warp": TUNGSTENITE,
    "actix_ws": {
        "text that is not UTF-8": "1005",
        "a page of another host": "101",
        "2 MiB": "1005",
        "one that does not read": "stuck",
        "one that is silent": "stays",
    },
    "ratchet": {
        "a page of another host": "101",
        "2 MiB": "echoed",
        "one that does not read": "1000 messages echoed, stays, all of them kept",
        "one that is silent": "stays",
    },
    "swoole": {
        "text that is not UTF-8": "1006",
        "a page of another host": "101",
        "2 MiB": "1006",
        "one that does not read": "stuck",
        "one that is silent": "stays",
    },
}


class Server:
    def __init__(self, port, pid):
        self.port = port
        self.pid = pid

    def resident(self):
        """How much memory the server has, in MB."""
        with open(f"/proc/{self.pid}/statm") as sizes:
            return int(sizes.read().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6

    def join(self, room, **settings):
        url = f"ws://127.0.0.1:{self.port}/rooms/{room}"
        return connect(url, proxy=None, compression=None, ping_interval=None, max_size=None, **settings)

    async def join_raw(self, room, limit=2**16):
        """Joins by a socket that answers nothing by itself."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=limit)
        writer.write(
            f"GET /rooms/{room} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert b" 101 " in head.split(b"\r\n")[0], head
        return reader, writer


async def said(member, patience=PATIENCE):
    """What the member receives next, or its close code."""
    try:
        return await asyncio.wait_for(member.recv(), patience)
    except ConnectionClosed:
        return f"{member.close_code} {member.close_reason}".strip()
    except TimeoutError:
        return "stays"


async def message(server):
    async with server.join("m1") as a, server.join("m1") as b, server.join("m2") as other:
        await other.send("here")
        assert await said(other) == "here"
        await b.send("b is here")
        assert [await said(a), await said(b)] == ["b is here"] * 2
        await a.send("hello")
        assert [await said(a), await said(b)] == ["hello"] * 2
        await other.send("and nothing else")
        assert await said(other) == "and nothing else"
        return "to all of the room, and to no other"


async def not_utf8(server):
    async with server.join("u") as member:
        await member.send(b"\xff", text=True)
        return (await said(member)).split()[0]


async def quit_(server):
    async with server.join("q") as member:
        await member.send("quit")
        return await said(member)


async def close(server):
    async with server.join("c") as stays:
        member = await server.join("c")
        await member.send("here")
        assert await said(stays) == "here"
        await member.close(4002, "bye")
        return f"{member.close_code}, {await said(stays)}"


async def reset(server):
    async with server.join("r") as stays:
        member = await server.join("r")
        await member.send("here")
        assert await said(stays) == "here"
        member.transport.abort()
        return await said(stays)


async def origin(server):
    try:
        async with server.join("o", origin="https://elsewhere.example"):
            return "101"
    except InvalidStatus as refused:
        return str(refused.response.status_code)


async def large(server):
    async with server.join("l") as member:
        with contextlib.suppress(ConnectionClosed):
            await member.send("x" * (2 << 20))
        answer = await said(member)
        return "echoed" if len(answer) == 2 << 20 else answer.split()[0]


async def slow(server):
    async with server.join("s") as member:
        reader, writer = await server.join_raw("s", limit=1024)
        before = server.resident()
        left = False
        for _ in range(1000):
            await member.send("x" * 60_000)
            answer = await said(member)
            if answer == "left":
                left = True
                answer = await said(member)
            if answer == "stays":
                writer.close()
                return "stuck"
        if not left:
            left = await said(member, patience=15) == "left"
        kept = server.resident() - before > 30
        writer.close()
        return f"1000 messages echoed, {'left' if left else 'stays'}{', all of them kept' if kept else ''}"


async def silent(server):
    async with server.join("d") as stays:
        _, writer = await server.join_raw("d")
        pings = asyncio.create_task(keep_pinging(stays))
        answer = await said(stays, SILENCE)
        pings.cancel()
        writer.close()
        return answer


async def keep_pinging(member):
    while True:
        await asyncio.sleep(1)
        await member.ping()


CHECKS = {
    "a message": message,
    "text that is not UTF-8": not_utf8,
    "quit": quit_,
    "a close with 4002": close,
    "a reset": reset,
    "a page of another host": origin,
    "2 MiB": large,
    "one that does not read": slow,
    "one that is silent": silent,
}


def free_port():
    """Returns one that the system does not hand out: a client that tries while nothing listens there would connect to itself."""
    for _ in range(100):
        port = random.randrange(20_000, 30_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


async def start(command):
    port = free_port()
    process = await asyncio.create_subprocess_exec(*shlex.split(command), f"127.0.0.1:{port}")
    for _ in range(100):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return process, Server(port, process.pid)
        await asyncio.sleep(0.1)
    raise TimeoutError(f"{command} does not listen")


async def check(name, command):
    """Runs all checks of a server, and returns how many went otherwise than the page says."""
    side, program = name.split("/")
    expected = OURS | (OTHERS[program] if side == "before" else {})
    process, server = await start(command)
    try:
        results = await asyncio.gather(*(do(server) for do in CHECKS.values()), return_exceptions=True)
    finally:
        process.terminate()
        await process.wait()
    wrong = 0
    for what, result in zip(CHECKS, results, strict=True):
        result = result if isinstance(result, str) else repr(result)
        as_said = result == expected[what]
        wrong += not as_said
        print(f"{name}: {what}: {result}" + ("" if as_said else f"  BUT THE PAGE SAYS: {expected[what]}"))
    return wrong


async def main():
    servers = [argument.split("=", 1) for argument in sys.argv[1:]]
    wrong = sum(await asyncio.gather(*(check(name, command) for name, command in servers)))
    print(f"{len(servers)} servers, {len(servers) * len(CHECKS)} checks, {wrong} not as the page says")
    return wrong > 0 or not servers


if __name__ == "__main__":
    os.environ.pop("http_proxy", None)
    sys.exit(asyncio.run(main()))
