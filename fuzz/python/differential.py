"""Streams of frames, read by this crate's decoder and by that of Python's `websockets`.

    differential.py BINARY [--seed N] [--seconds N] [--input N]

Both must tell the same events, and fail with the same close code at the same place. Where they may
differ, the reference is changed, or the answer let pass, at a line that begins with "Differs:", with
the sentence that decides. `--input` replays one input of a seed.
"""

import argparse
import codecs
import logging
import random
import struct
import subprocess
import sys
import time
import zlib

from websockets import protocol as theirs
from websockets.client import ClientProtocol
from websockets.exceptions import PayloadTooBig, ProtocolError
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

TAIL = b"\x00\x00\xff\xff"
BATCH = 250
URI = parse_uri("ws://localhost/")
CONTROL = (Opcode.CLOSE, Opcode.PING, Opcode.PONG)

# A parser that fails of something else than its input is a fault of this script.
logging.getLogger("websockets.client").setLevel(logging.CRITICAL)
logging.getLogger("websockets.server").setLevel(logging.CRITICAL)


# --- The reference ---------------------------------------------------------------------------------


class Inflate:
    """Stands under `PerMessageDeflate` in place of `zlib.decompressobj`."""

    unconsumed_tail = b""

    def __init__(self, bits, takeover):
        self.bits, self.takeover = bits, takeover
        self.history, self.zlib = b"", zlib.decompressobj(-bits)
        self.left, self.late = 0, b""
        self.begin()

    def begin(self):
        self.fed, self.taken, self.restarts = False, 0, 0
        if not self.takeover:
            self.history = b""
            self.zlib = zlib.decompressobj(-self.bits)

    def decompress(self, data, max_length=0):
        if max_length == 1:
            # Theirs takes whatever comes of the tail of a large message for too much.
            self.late = self.finish()
            return b""
        out = self.run(bytes(data[: self.left]))
        return out + self.finish() if len(data) > self.left else out

    def run(self, body):
        out = b""
        self.fed = self.fed or bool(body)
        while body:
            # Differs: RFC 7692 §7.2.3.4 allows "a DEFLATE Block with "BFINAL" Set to 1", and §7.2.3.5
            # "Two DEFLATE Blocks in One Message"; to a zlib object all is over with the final block.
            if self.zlib.eof:
                # Differs: each costs a copy of the window, so there is a limit of this crate to them,
                # as RFC 6455 §10.4 asks for: 64, and one more for every 32 bytes.
                self.restarts += 1
                if self.restarts > 64 + self.taken // 32:
                    raise zlib.error("too many final blocks")
                self.zlib = zlib.decompressobj(-self.bits, zdict=self.history)
            part = self.zlib.decompress(body)
            self.taken += len(body) - len(self.zlib.unused_data)
            self.history = (self.history + part)[-32768:]
            out += part
            body = self.zlib.unused_data
        return out

    def finish(self):
        # Differs: RFC 7692 §7.2.3.6 has 0x00 for an empty message. No content at all, and a final
        # block without the octet of §7.2.3.4 behind it, are let pass, and leave no trace.
        if not self.fed or self.zlib.eof:
            return b""
        out = self.zlib.decompress(TAIL)
        # Differs: RFC 7692 §7.2.2 "Decompress the resulting data using DEFLATE": what ends inside a
        # block is no such data. `websockets` delivers as much as came out.
        # The end of a block is where an empty final one can follow.
        probe = self.zlib
        if not probe.eof:
            probe = probe.copy()
            probe.decompress(b"\x01\x00\x00\xff\xff")
        if not probe.eof or probe.unused_data:
            raise zlib.error("ends inside a block")
        return out


class Deflate(PerMessageDeflate):
    """Theirs, above `Inflate`."""

    inflate = None
    decoder = property(lambda self: self.inflate, lambda self, _: None, lambda self: None)

    def __init__(self, bits, takeover):
        self.inflate = Inflate(bits, takeover)
        super().__init__(not takeover, not takeover, bits, max(bits, 9))

    def decode(self, frame, *, max_size=None):
        if frame.opcode not in CONTROL:
            self.inflate.left = len(frame.data)
            if frame.rsv1 and frame.opcode is not Opcode.CONT:
                self.inflate.begin()
        frame = super().decode(frame, max_size=max_size)
        if self.inflate.late:
            frame.data, self.inflate.late = frame.data + self.inflate.late, b""
        return frame


class Reference:
    """`websockets`' parser, what it is stricter or laxer in changed; see "Differs:"."""

    def reference(self, limit, deflate):
        self.limit = limit
        self.compressed_run = deflate is not None
        self.wire_size = self.inflated = 0
        self.text = None  # The decoder of an open text.
        self.message = []
        self.close = b""
        self.out = []
        # Of the frame that is being read.
        self.breaks_a_rule = False

    def recv_frame(self, frame):
        opcode = frame.opcode
        # Differs: RFC 6455 §5.4 "Control frames MAY be injected in the middle of a fragmented
        # message", and §5.5 counts Close among them. `websockets` fails where a message is open.
        open_size = self.current_size
        if opcode is Opcode.CLOSE:
            self.current_size = None
            self.close = bytes(frame.data)
        try:
            super().recv_frame(frame)
        finally:
            if opcode is Opcode.CLOSE:
                self.current_size = open_size
        data = bytes(frame.data)
        if opcode is Opcode.PING:
            self.out.append((b"P", data))
        elif opcode is Opcode.PONG:
            self.out.append((b"O", data))
        elif opcode is Opcode.CLOSE:
            self.out.append((b"C", data))
            if data:
                # RFC 6455 §5.5: 125 bytes at most, two of them the code, and no half of a character.
                self.out.append((b"R", (data[2:] * 2)[:123].decode(errors="ignore").encode()))
        else:
            if opcode is not Opcode.CONT:
                self.message, self.inflated = [], 0
                new = codecs.getincrementaldecoder("utf-8")
                self.text = new("strict") if opcode is Opcode.TEXT else None
            self.inflated += len(data)
            if self.text:
                # As `websockets` does where it assembles messages, above its parser.
                self.text.decode(data, frame.fin)
                # Differs: RFC 3629 §3 "prohibits encoding character numbers between U+D800 and
                # U+DFFF", so nothing that follows mends their first two bytes. Python waits for it.
                pending = self.text.getstate()[0]
                if pending[:1] == b"\xed" and pending[1:2] >= b"\xa0":
                    raise UnicodeDecodeError("utf-8", pending, 0, 2, "surrogate")
            if self.inflated > self.limit:
                raise PayloadTooBig(self.inflated, self.limit)
            self.message.append(data)
            if frame.fin:
                self.out.append((b"T" if self.text else b"B", b"".join(self.message)))
        self.events.clear()
        self.writes.clear()


class Server(Reference, ServerProtocol):
    pass


class Client(Reference, ClientProtocol):
    pass


def parse(read_exact, *, mask, max_size, extensions, of=None):
    """`Frame.parse`, with an eye on the header as it comes."""
    reads = 0
    first = second = 0
    protocol = CURRENT[0]
    protocol.breaks_a_rule = False

    def reader(n):
        nonlocal reads, first, second
        data = yield from read_exact(n)
        reads += 1
        if reads == 1:
            first, second = data[0], data[1]
            protocol.breaks_a_rule = breaks_a_rule(protocol, first, second, mask)
            if second & 0x7F < 126:
                sized(protocol, first, second & 0x7F)
        elif reads == 2 and second & 0x7F >= 126:
            length = int.from_bytes(data, "big")
            # Differs: RFC 6455 §5.2 "in all cases, the minimal number of bytes MUST be used to encode
            # the length". `websockets` does not look.
            if length < 126 or (len(data) == 8 and length < 65536):
                protocol.breaks_a_rule = True
                raise ProtocolError("length in too many bytes")
            # Differs: RFC 6455 §5.2 "the most significant bit MUST be 0". `websockets` takes it for
            # a large frame.
            if length >> 63:
                protocol.breaks_a_rule = True
                raise ProtocolError("length out of range")
            sized(protocol, first, length)
        return data

    frame = yield from REAL_PARSE(reader, mask=mask, max_size=max_size, extensions=extensions)
    return frame


REAL_PARSE = Frame.parse
CURRENT = [None]


class Parsing:
    parse = staticmethod(parse)

    def __new__(cls, *arguments, **named):
        return Frame(*arguments, **named)


theirs.Frame = Parsing


def sized(protocol, first, length):
    """The limit of a message, on the wire.

    Differs: RFC 6455 §10.4 speaks of limits "regarding the frame size or total message size after
    reassembly", and leaves them to the implementation. `websockets` counts control frames, and what
    is compressed against what is left for decompressed bytes; so its own limit is off, and that of
    this crate, bytes of the wire and decompressed ones each by themselves, is here and in
    `recv_frame`.
    """
    size = length
    if first & 0x0F < 8:
        protocol.wire_size = length + (protocol.wire_size if first & 0x0F == 0 else 0)
        size = protocol.wire_size
    if size > protocol.limit:
        raise PayloadTooBig(length, protocol.limit)


def breaks_a_rule(protocol, first, second, mask):
    """Whether a header is wrong by itself, read from RFC 6455 §5.1, §5.2, §5.4, §5.5, RFC 7692 §6."""
    fin, rsv1, opcode = first & 0x80, first & 0x40, first & 0x0F
    is_open = protocol.current_size is not None
    return bool(
        first & 0x30
        or (rsv1 and (not protocol.compressed_run or opcode not in (1, 2)))
        or 3 <= opcode <= 7
        or opcode > 10
        or (opcode >= 8 and (not fin or second & 0x7F > 125))
        or bool(second & 0x80) != mask
        or (opcode == 0 and not is_open)
        or (opcode in (1, 2) and is_open)
    )


def read(given):
    """The reference's events, the number of them before the last chunk, codes that are right, why."""
    deflate = given.deflate and Deflate(given.window, given.deflate == 1)
    quiet = logging.getLogger("websockets.server")
    if given.role:
        protocol = Server(state=theirs.OPEN, max_size=None, logger=quiet)
    else:
        protocol = Client(URI, state=theirs.OPEN, max_size=None, logger=quiet)
    protocol.reference(given.limit, deflate or None)
    protocol.extensions = [deflate] if deflate else []
    CURRENT[0] = protocol
    before = None
    for n, chunk in enumerate(given.chunks, 1):
        if n == len(given.chunks):
            before = len(protocol.out)
        protocol.receive_data(chunk)
        if protocol.state is not theirs.OPEN:
            break
    # All that follows is passed over.
    before = len(protocol.out) if before is None else before
    error, codes = protocol.parser_exc, set()
    if isinstance(error, ProtocolError):
        # Differs: RFC 6455 §7.4.1: 1007 is for "data within a message that was not consistent with
        # the type of the message". RFC 7692 names no code for data that is no DEFLATE.
        codes.add(1007 if isinstance(error.__cause__, zlib.error) else 1002)
    elif isinstance(error, UnicodeDecodeError):
        codes.add(1007)
    elif isinstance(error, PayloadTooBig):
        codes.add(1009)
    elif error is not None:
        raise error
    if error is not None:
        # Differs: of two faults in one frame either may be told. RFC 6455 §7.1.7 says how to fail a
        # connection, and nowhere which fault comes first. (`websockets` looks at the reserved bits
        # and the order of frames once it has the payload.)
        if protocol.breaks_a_rule:
            codes.add(1002)
        elif protocol.close and not may_travel(int.from_bytes(protocol.close[:2], "big")):
            codes.add(1002)
        if given.deflate and codes & {1007, 1009} and not protocol.breaks_a_rule:
            codes |= {1007, 1009}
    return protocol.out, before, codes, error and (error.__cause__ or error)


def may_travel(code):
    """RFC 6455 §7.4.1 and §7.4.2, and IANA's registry."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


# --- Inputs ----------------------------------------------------------------------------------------

BORDERS = [0, 1, 2, 3, 4, 124, 125, 126, 127, 128, 1000, 2043, 2044, 4096]
LONG = [65534, 65535, 65536, 65537, 70000]
LIMITS = [125, 126, 1000, 4096, 65535, 65536, 100000, 100000, 100000, 100000]
CODES = [0, 1, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008, 1009, 1010, 1011, 1012]
CODES += [1013, 1014, 1015, 1016, 1100, 1999, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535]
LETTERS = ["a", "Z", "\0", "\x7f", "\x80", "\u07ff", "\u0800", "\ud7ff", "\ue000", "\uffff"]
LETTERS += ["\U00010000", "\U0010ffff", "\u20ac", "\u00e4"]
NO_UTF8 = [b"\x80", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf"]
NO_UTF8 += [b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5", b"\xff", b"\xe2\x82", b"\xf0\x9f\x98"]


class Input:
    pass


def xor(data, key):
    size = len(data)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


class Maker:
    def __init__(self, rng):
        self.rng = rng
        self.wire = bytearray()

    def make(self):
        rng, given = self.rng, Input()
        given.role = rng.randrange(2)
        given.deflate = rng.choice([0, 0, 1, 2])
        given.window = rng.choice([9, 10, 12, 15, 15, 15, 15])
        given.limit = rng.choice(LIMITS)
        self.given = given
        self.packer = zlib.compressobj(wbits=-given.window) if given.deflate else None
        self.spoils = rng.random() < 0.4
        count = rng.randrange(1, 6)
        wrong = rng.randrange(count) if self.spoils else -1
        for n in range(count):
            self.wrong() if n == wrong else self.right()
        wire = self.wire
        if rng.random() < 0.25:
            for _ in range(rng.randrange(1, 4)):
                at = rng.randrange(len(wire) + 1)
                kind = rng.randrange(4)
                if kind == 0 and at < len(wire):
                    wire[at] ^= 1 << rng.randrange(8)
                elif kind == 1:
                    wire.insert(at, rng.randrange(256))
                elif kind == 2:
                    del wire[at : at + 1]
                else:
                    wire[at : at + 1] = bytes([rng.randrange(256)])
        if rng.random() < 0.2:
            del wire[rng.randrange(len(wire) + 1) :]
        wire = bytes(wire)
        if len(wire) < 200 and rng.random() < 0.2:
            chunks = [wire[n : n + 1] for n in range(len(wire))]
        else:
            cuts = sorted(rng.randrange(len(wire) + 1) for _ in range(rng.randrange(4)))
            chunks = [wire[a:b] for a, b in zip([0] + cuts, cuts + [len(wire)])]
        # What is not whole at the end is made whole, so that both have looked at all of it.
        given.chunks = chunks + [rest(wire, given)]
        return given

    def frame(self, opcode, payload=b"", fin=True, rsv=0, masked=None, width=None, length=None):
        size = len(payload) if length is None else length
        width = width if width is not None else 0 if size < 126 else 2 if size < 65536 else 8
        masked = bool(self.given.role) if masked is None else masked
        second = {0: size & 0x7F, 2: 126, 8: 127}[width] | (0x80 if masked else 0)
        self.wire += bytes([(0x80 if fin else 0) | rsv << 4 | opcode, second])
        if width:
            self.wire += (size % (1 << 8 * width)).to_bytes(width, "big")
        if masked:
            key = self.rng.getrandbits(32).to_bytes(4, "big") if self.rng.random() < 0.9 else bytes(4)
            self.wire += key
            payload = xor(payload, key)
        self.wire += payload

    def size(self):
        rng = self.rng
        at = rng.random()
        if at < 0.5:
            return rng.randrange(20)
        if at < 0.95:
            return rng.choice(BORDERS)
        return rng.choice(LONG) if at < 0.98 else self.given.limit + rng.randrange(-1, 2)

    def text(self):
        size, rng = self.size(), self.rng
        words = [rng.choice(LETTERS) for _ in range(min(size, 8))] or [""]
        text = ("".join(words).encode() * (size // 8 + 1))[:size]
        return text.decode(errors="ignore").encode()

    def binary(self):
        size = self.size()
        if self.rng.random() < 0.5:
            return self.rng.randbytes(size)
        return (self.rng.randbytes(7) * (size // 7 + 1))[:size]

    def right(self):
        kind = self.rng.randrange(12)
        if kind < 6:
            self.message()
        elif kind < 8 or (kind < 11 and not self.packer):
            self.control()
        elif kind < 11:
            self.compressed()
        elif self.rng.random() < 0.5:
            code = self.rng.choice([1000, 1001, 1003, 1007, 1011, 1014, 3000, 4999])
            self.frame(8, struct.pack("!H", code) + self.text()[:123].decode("utf-8", "ignore").encode())
        else:
            self.message()

    def control(self):
        self.frame(self.rng.choice([9, 10]), self.rng.randbytes(self.rng.choice([0, 1, 4, 124, 125])))

    def message(self, payload=None, rsv=0, is_text=None):
        rng = self.rng
        is_text = rng.random() < 0.6 if is_text is None else is_text
        if payload is None:
            payload = self.text() if is_text else self.binary()
        cuts = rng.choice([0, 0, 1, 2, 4])
        cuts = sorted(rng.randrange(len(payload) + 1) for _ in range(cuts))
        parts = [payload[a:b] for a, b in zip([0] + cuts, cuts + [len(payload)])]
        for n, part in enumerate(parts):
            if n and rng.random() < 0.2:
                self.control()
            opcode = 0 if n else 1 if is_text else 2
            self.frame(opcode, part, fin=n + 1 == len(parts), rsv=0 if n else rsv)

    def compressed(self, payload=None, cut=0):
        rng, bits = self.rng, self.given.window
        is_text = rng.random() < 0.6
        if payload is None:
            payload = self.text() if is_text else self.binary()
        else:
            is_text = True
        if self.given.deflate == 2 or rng.random() < 0.2:
            # A stream of its own refers to nothing before it.
            level, strategy = rng.choice([(0, 0), (1, 0), (6, 0), (6, zlib.Z_FIXED), (9, 0)])
            packer = zlib.compressobj(level, wbits=-bits, strategy=strategy)
            if rng.random() < 0.4 and self.given.deflate:
                packed = packer.compress(payload) + packer.flush(zlib.Z_FINISH)
                packed += b"\x00" * (rng.random() < 0.7)
            else:
                packed = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
            # What was packed before is further away now.
            if self.given.deflate == 1:
                self.packer = zlib.compressobj(wbits=-bits)
        else:
            half = rng.randrange(len(payload) + 1)
            packed = self.packer.compress(payload[:half])
            if rng.random() < 0.3:
                packed += self.packer.flush(zlib.Z_SYNC_FLUSH)
            packed += self.packer.compress(payload[half:])
            packed = (packed + self.packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
        if not payload and rng.random() < 0.3:
            packed = b""
        self.message(packed[: len(packed) - cut], 4, is_text)

    def wrong(self):
        rng = self.rng
        kind = rng.randrange(12)
        if kind == 0:
            self.frame(rng.randrange(16), self.text()[:100], rng.random() < 0.7, rng.randrange(8))
        elif kind == 1:
            size = rng.choice([0, 1, 125, 126, 127, 65535, 65536])
            width = rng.choice([2, 8])
            if size > 65535:
                width = 8
            self.frame(rng.choice([0, 1, 2, 8, 9]), b"a" * size, width=width)
        elif kind == 2:
            self.frame(2, b"", width=8, length=rng.choice([1 << 63, (1 << 64) - 1, 1 << 62, 1 << 32]))
        elif kind == 3:
            self.frame(rng.choice([1, 2, 9, 8]), self.text()[:60], masked=not self.given.role)
        elif kind == 4:
            self.frame(rng.choice([8, 9, 10]), b"\x03\xe8" + b"a" * rng.choice([123, 124, 125, 300]))
        elif kind == 5:
            self.frame(rng.choice([8, 9, 10]), b"\x03\xe8", fin=False)
        elif kind == 6:
            reason = rng.choice([b"", b"bye", rng.choice(NO_UTF8), "\u20ac".encode() * 41])
            self.frame(8, struct.pack("!H", rng.choice(CODES)) + reason)
        elif kind == 7:
            self.frame(8, rng.choice([b"", b"\x03"]))
        elif kind == 8:
            text = self.text()
            at = len(text[: rng.randrange(len(text) + 1)].decode(errors="ignore").encode())
            text = text[:at] + rng.choice(NO_UTF8) + rng.choice([b"", text[at:]])
            if self.packer and rng.random() < 0.4:
                self.compressed(text)
            else:
                self.message(text, is_text=True)
        elif kind == 9:
            # Order, and RSV1 behind the first frame.
            rsv = rng.choice([0, 4]) if self.packer else 0
            self.frame(rng.choice([0, 1, 2]), b"\x00", fin=False, rsv=rsv)
            self.frame(rng.choice([0, 0, 1, 2]), b"\x00", rng.random() < 0.5, rng.choice([0, 4, 4]))
        elif kind == 10 and self.packer:
            self.compressed(None, rng.randrange(1, 4))
        else:
            self.wire += rng.randbytes(rng.randrange(1, 20))


def rest(wire, given):
    """What the last frame of a stream lacks, by its length alone."""
    at = 0
    while at < len(wire):
        if len(wire) - at < 2:
            return b"\x80\x00\x00\x00\x00" if given.role else b"\x00"
        second = wire[at + 1]
        width = {126: 2, 127: 8}.get(second & 0x7F, 0)
        have = wire[at + 2 : at + 2 + width]
        fill = b""
        if len(have) < width:
            # The least length that takes so many bytes, where that is left open.
            least = (126 if width == 2 else 65536).to_bytes(width, "big")
            fill = least[len(have) :] if least.startswith(have) else b"\xff" * (width - len(have))
        length = int.from_bytes(have + fill, "big") if width else second & 0x7F
        end = at + 2 + width + (4 if second & 0x80 else 0)
        if length > 1 << 17:
            # Beyond every limit.
            return fill + b"\x00" * 4
        if end + length > len(wire):
            return fill + b"\x00" * (end + length - len(wire) - len(fill))
        at = end + length
    return b""


# --- The comparison --------------------------------------------------------------------------------


def written(given):
    out = [struct.pack("!BBBIH", given.role, given.deflate, given.window, given.limit, len(given.chunks))]
    for chunk in given.chunks:
        out += [struct.pack("!I", len(chunk)), chunk]
    return b"".join(out)


def answers(data):
    """The events of each input, the number of them before the last chunk, and the code of failure."""
    at, events, before, code = 0, [], 0, None
    while at < len(data):
        kind, size = data[at : at + 1], int.from_bytes(data[at + 1 : at + 5], "big")
        payload = data[at + 5 : at + 5 + size]
        at += 5 + size
        if kind == b"|":
            before = len(events)
        elif kind == b"F":
            code = int.from_bytes(payload, "big")
        elif kind == b".":
            yield events, before, code
            events, before, code = [], 0, None
        else:
            events.append((kind, payload))


def check(given, ours):
    events, before, codes, cause = read(given)
    our_events, our_before, our_code = ours
    if events == our_events and before == our_before:
        if our_code in codes or (our_code is None and not codes):
            return None
    # Differs: RFC 7692 §7.1.2.1 and §7.1.2.2 limit the window the sender compresses with;
    # the receiver need not notice, as what it decompressed is still at hand.
    is_far = given.window < 15 and "too far back" in str(cause)
    if is_far and our_events[: len(events)] == events and our_before >= before:
        return None
    same = 0
    while events[same : same + 1] == our_events[same : same + 1] and same < len(events):
        same += 1
    return (
        f"after {same} events, ours: {our_events[same:]} and {our_code}, {our_before} at the last cut\n"
        f"theirs: {events[same:]} and {codes or None}, {before} at the last cut; {cause!r}"
    )


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("binary")
    arguments.add_argument("--seed", type=int, default=int(time.time()))
    arguments.add_argument("--seconds", type=float, default=60)
    arguments.add_argument("--input", type=int)
    arguments = arguments.parse_args()
    only = arguments.input
    process = subprocess.Popen([arguments.binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    begun, done, failures, kinds = time.monotonic(), only or 0, 0, {}
    while only is None and time.monotonic() - begun < arguments.seconds or only == done:
        count = BATCH if only is None else 1
        batch = [
            Maker(random.Random(arguments.seed << 40 | n)).make() for n in range(done, done + count)
        ]
        data = b"".join(map(written, batch))
        process.stdin.write(struct.pack("!I", len(data)) + data)
        process.stdin.flush()
        size = process.stdout.read(4)
        if len(size) < 4:
            sys.exit(f"the decoder panicked: --seed {arguments.seed}, inputs from {done} on")
        all_ours = list(answers(process.stdout.read(int.from_bytes(size, "big"))))
        assert len(all_ours) == len(batch)
        for n, (given, ours) in enumerate(zip(batch, all_ours), done):
            for kind, _ in ours[0]:
                kinds[kind] = kinds.get(kind, 0) + 1
            kinds[ours[2]] = kinds.get(ours[2], 0) + 1
            try:
                difference = check(given, ours)
            except Exception:
                print(f"--seed {arguments.seed} --input {n}", flush=True)
                raise
            if difference:
                failures += 1
                role = "server" if given.role else "client"
                print(f"--seed {arguments.seed} --input {n}: {role}, deflate {given.deflate},")
                print(f"window {given.window}, limit {given.limit}, after {time.monotonic() - begun:.1f} s")
                print("chunks:", [chunk.hex() for chunk in given.chunks])
                print(difference, flush=True)
        done += count
        if failures:
            break
    process.stdin.close()
    took = time.monotonic() - begun
    told = {kind.decode() if isinstance(kind, bytes) else str(kind): n for kind, n in kinds.items()}
    print(f"{done} inputs in {took:.0f} s, {done / took:.0f} a second, seed {arguments.seed}: {told}")
    sys.exit(1 if failures else 0)


main()
