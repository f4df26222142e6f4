"""A WebSocket client that does as it is told, right or wrong."""
import base64
import os
import socket
import struct
import time

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode, payload=b"", fin=True, rsv1=False, mask=True, declared=None, wide=False):
    """`declared` is a length other than the payload's; `wide` writes it in 16 bits where 7 would do."""
    length = len(payload) if declared is None else declared
    head = bytes([fin << 7 | rsv1 << 6 | opcode])
    bit = mask << 7
    if length < 126 and not wide:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += struct.pack("!BH", bit | 126, length)
    else:
        head += struct.pack("!BQ", bit | 127, length)
    # A key of zeros leaves the payload as it is.
    return head + bytes(4) * mask + payload


class Client:
    def __init__(self, port, path="/", origin=None, version="13", key=None, deflate=False, timeout=5, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(("127.0.0.1", port))
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}"]
        key = base64.b64encode(os.urandom(16)).decode() if key is None else key
        lines += ["Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Version: {version}"]
        lines += [f"Sec-WebSocket-Key: {key}"] if key else []
        lines += [f"Origin: {origin}"] if origin else []
        lines += ["Sec-WebSocket-Extensions: permessage-deflate"] if deflate else []
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.rest = b""
        while b"\r\n\r\n" not in self.rest:
            try:
                more = self.socket.recv(65536)
            except OSError:
                more = b""
            if not more:
                self.status, self.head = None, ""
                return
            self.rest += more
        head, self.rest = self.rest.split(b"\r\n\r\n", 1)
        self.head = head.decode("latin-1")
        self.status = int(self.head.split(" ")[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """Sends what the server still takes."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def fill(self, size):
        while len(self.rest) < size:
            more = self.socket.recv(1 << 16)
            if not more:
                raise ConnectionError
            self.rest += more

    def receive(self):
        """Opcode and payload of the next frame."""
        self.fill(2)
        first, second = self.rest[0], self.rest[1] & 127
        extra = {126: 2, 127: 8}.get(second, 0)
        self.fill(2 + extra)
        length = int.from_bytes(self.rest[2 : 2 + extra], "big") if extra else second
        self.fill(2 + extra + length)
        payload = self.rest[2 + extra : 2 + extra + length]
        self.rest = self.rest[2 + extra + length :]
        return first & 15, payload

    def outcome(self, seconds=3):
        """What comes within that time: a message, a Close with its code, the end of TCP, or nothing. Pings are passed over."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                opcode, payload = self.receive()
            except TimeoutError:
                break
            except OSError:
                return "TCP ends"
            if opcode == CLOSE:
                return str(int.from_bytes(payload[:2], "big")) if len(payload) > 1 else "Close, no code"
            if opcode == PONG:
                return "answered"
            if opcode in (TEXT, BINARY):
                return "taken"
        return "nothing"
