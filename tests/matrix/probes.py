"""Raw bytes against a running server of each library, and what comes back."""
import concurrent.futures
import time
import zlib

from servers import Server, say
from wire import BINARY, CLOSE, PING, PONG, TEXT, Client, frame

PATIENCE = 150
MIB = 1 << 20


def status(port, **how):
    with Client(port, **how) as client:
        return str(client.status or "TCP ends")


def after(port, data, seconds=3, **how):
    with Client(port, **how) as client:
        client.send(data)
        return client.outcome(seconds)


def fragments(port):
    """Empty fragments, a million at most, until the server objects."""
    with Client(port) as client:
        client.socket.settimeout(20)
        client.send(frame(BINARY, fin=False))
        client.send(frame(0, fin=False) * 1_000_000)
        client.send(frame(0, b"end"))
        return client.outcome(20)


def pings(port):
    """Ten thousand pings in one go, and how many of them are answered."""
    with Client(port) as client:
        client.send(frame(PING, b"x") * 10_000)
        client.send(frame(TEXT, b"end"))
        count, client_ends = 0, "answered"
        client.socket.settimeout(10)
        try:
            while True:
                opcode, payload = client.receive()
                if opcode == PONG:
                    count += 1
                elif opcode == CLOSE:
                    client_ends = str(int.from_bytes(payload[:2], "big"))
                    break
                elif opcode == TEXT:
                    break
        except TimeoutError:
            client_ends = "nothing"
        except OSError:
            client_ends = "TCP ends"
        return client_ends if client_ends != "answered" else f"{count} pongs"


def bomb(server):
    """Some KiB that become 256 MiB; what comes back, and by how much the process grows."""
    with Client(server.port, deflate=True) as client:
        if "permessage-deflate" not in client.head:
            return "–"
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        payload = b"".join(deflate.compress(bytes(MIB)) for _ in range(256)) + deflate.flush(zlib.Z_SYNC_FLUSH)
        begin = server.memory()
        client.send(frame(BINARY, payload[:-4], rsv1=True))
        with concurrent.futures.ThreadPoolExecutor() as pool:
            coming = pool.submit(client.outcome, 20)
            most = begin
            while not coming.done():
                most = max(most, server.memory())
                time.sleep(0.002)
        return f"{coming.result()}, +{(most - begin) / MIB:.0f} MiB"


def declared(server):
    """A frame that declares 2^40 bytes and sends ten."""
    with Client(server.port) as client:
        client.send(frame(BINARY, b"0123456789", declared=1 << 40))
        return client.outcome(3)


def endless(server):
    """A message in fragments of 64 KiB that does not end before it has 256 MiB."""
    with Client(server.port) as client:
        begin, sent, data = server.memory(), 0, frame(0, bytes(65536), fin=False)
        client.socket.settimeout(20)
        try:
            client.socket.sendall(frame(BINARY, fin=False))
            while sent < 256 * MIB:
                client.socket.sendall(data)
                sent += 65536
        except OSError:
            pass
        grown = (server.memory() - begin) / MIB
        ended = client.outcome(3)
        return f"all of it, +{grown:.0f} MiB" if ended == "nothing" else f"{ended}, +{grown:.0f} MiB"


def deaf(server):
    """A client that sends 64 KiB again and again, 512 MiB at most, and reads nothing of what is echoed."""
    with Client(server.port, receive_buffer=1 << 16) as client:
        begin, open_files = server.memory(), server.open_files()
        sent, most, data = 0, begin, frame(BINARY, bytes(65536))
        client.socket.settimeout(5)
        stopped = "takes all 512 MiB"
        try:
            while sent < 512 * MIB:
                client.socket.sendall(data)
                sent += 65536
                most = max(most, server.memory())
        except TimeoutError:
            stopped = "stops reading"
        except OSError:
            stopped = "ends it"
        grown = f"{stopped}, +{(most - begin) / MIB:.0f} MiB"
        since = time.monotonic()
        while time.monotonic() - since < PATIENCE:
            if server.open_files() < open_files:
                return f"{grown}, gone after {time.monotonic() - since:.0f} s"
            time.sleep(0.5)
        return f"{grown}, still open after {PATIENCE} s"


def silent(port):
    """A client that says nothing and answers no ping: the first ping, and the end."""
    with Client(port) as client:
        begin, first = time.monotonic(), None
        while (left := begin + PATIENCE - time.monotonic()) > 0:
            client.socket.settimeout(left)
            try:
                opcode, _ = client.receive()
                if opcode == PING and first is None:
                    first = time.monotonic() - begin
                if opcode == CLOSE:
                    break
            except TimeoutError:
                break
            except OSError:
                break
        seconds = time.monotonic() - begin
        pinged = f"{first:.0f} s" if first is not None else "no ping"
        return f"{pinged}, {f'ends {seconds:.0f} s' if seconds < PATIENCE - 1 else f'open after {PATIENCE} s'}"


QUICK = [
    ("a page of another origin", lambda s: status(s.port, origin="https://evil.example")),
    ("version 12", lambda s: status(s.port, version="12")),
    ("no `Sec-WebSocket-Key`", lambda s: status(s.port, key="")),
    ("a key of three letters", lambda s: status(s.port, key="abc")),
    ("an unmasked frame", lambda s: after(s.port, frame(TEXT, b"hello", mask=False))),
    ("a length in more bytes than needed", lambda s: after(s.port, frame(TEXT, b"hello", wide=True))),
    ("a ping of 126 bytes", lambda s: after(s.port, frame(PING, bytes(126)))),
    ("a pong of 126 bytes", lambda s: after(s.port, frame(PONG, bytes(126)) + frame(TEXT, b"hello"))),
    ("RSV1, nothing agreed on", lambda s: after(s.port, frame(TEXT, b"hello", rsv1=True))),
    ("bad UTF-8 in the first of two fragments", lambda s: after(s.port, frame(TEXT, b"\xff\xff\xff", fin=False))),
    ("a frame that declares 2^40 bytes", declared),
    ("a million empty fragments", lambda s: fragments(s.port)),
    ("a message that does not end, up to 256 MiB", endless),
    ("ten thousand pings at once", lambda s: pings(s.port)),
]
SLOW = [
    ("a client that is silent", lambda s: silent(s.port)),
    ("a client that never reads", deaf),
]


def run(servers):
    rows = {title: {} for title, _ in [*QUICK, ("256 MiB in a compressed message", None), *SLOW]}
    for name, (modes, start) in servers.items():
        say(f"probes: {name}")
        for title, probe in QUICK:
            with Server(start, "echo") as server:
                rows[title][name] = attempt(probe, server)
        if "dedicated" in modes:
            with Server(start, "dedicated") as server:
                rows["256 MiB in a compressed message"][name] = attempt(bomb, server)
    say(f"probes that wait, of all at once: up to {PATIENCE} s")
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        waiting = {
            (title, name): pool.submit(alone, probe, start)
            for title, probe in SLOW
            for name, (_, start) in servers.items()
        }
        for (title, name), future in waiting.items():
            rows[title][name] = future.result()
    print(f"| | {' | '.join(servers)} |\n|---{'|---' * len(servers)}|")
    for title, cells in rows.items():
        print(f"| {title} | {' | '.join(cells.get(name, '–') for name in servers)} |")


def alone(probe, start):
    with Server(start, "echo") as server:
        return attempt(probe, server)


def attempt(probe, server):
    try:
        return probe(server)
    except OSError as error:
        return f"? {error}"
