//! DEFLATE (RFC 1951), bit by bit: blocks as they are asked for, and what a receiver makes of blocks.

use std::sync::LazyLock;

/// What a receiver made of DEFLATE.
#[derive(Debug, Eq, PartialEq)]
pub enum Status {
    /// More could follow.
    Open,
    /// It is no DEFLATE.
    Corrupt,
}

/// Decompresses the messages of one direction (RFC 7692 §7.2.2).
pub struct Inflate {
    /// What a message may refer to of those before it, in bytes.
    window: usize,
    takeover: bool,
    /// Nothing may be referred to that is further away than the window, in the same message either:
    /// what a sender must see to, and a receiver need not notice (RFC 7692 §7.1.2).
    strict: bool,
    history: Vec<u8>,
}

impl Inflate {
    pub fn new(takeover: bool, window_bits: u8, strict: bool) -> Self {
        Self {
            window: 1 << window_bits,
            takeover,
            strict,
            history: Vec::new(),
        }
    }

    /// Decompresses a whole message.
    pub fn message(&self, payload: &[u8]) -> (Vec<u8>, Status) {
        self.run(payload, true)
    }

    /// Decompresses the beginning of one.
    pub fn beginning(&self, payload: &[u8]) -> (Vec<u8>, Status) {
        self.run(payload, false)
    }

    /// Takes note of what was decompressed: the next message may refer to it.
    pub fn remember(&mut self, output: &[u8]) {
        if self.takeover {
            self.history.extend_from_slice(output);
            let overflow = self.history.len().saturating_sub(self.window);
            self.history.drain(..overflow);
        }
    }

    fn run(&self, payload: &[u8], whole: bool) -> (Vec<u8>, Status) {
        if payload.is_empty() {
            return (Vec::new(), Status::Open);
        }
        // Behind §7.2.2's four bytes an empty final block, which shows that a block could begin there.
        let tail: &[u8] = if whole { &TAIL } else { &[] };
        let input = [payload, tail].concat();
        let mut bits = Bits {
            input: &input,
            at: 0,
        };
        // All that was decompressed, and where what may be referred to begins.
        let mut output = self.history.clone();
        let (before, mut base, mut restarts) = (output.len(), 0, 0);
        let farthest = if self.strict { self.window } else { 1 << 15 };
        let status = loop {
            match block(&mut bits, &mut output, base, farthest) {
                Ok(false) => {}
                Err(Fault::Short) if !whole => break Status::Open,
                Err(Fault::Short | Fault::Corrupt) => break Status::Corrupt,
                Ok(true) => {
                    // RFC 7692 §7.2.3.4: what follows is another stream, from the next byte on.
                    bits.at = bits.at.next_multiple_of(8);
                    let used = bits.at / 8;
                    if used == payload.len() || used == input.len() {
                        break Status::Open;
                    }
                    // The crate's own limit: each costs it a copy of the window.
                    restarts += 1;
                    if restarts > 64 + used / 32 {
                        break Status::Corrupt;
                    }
                    let window = if self.takeover { self.window } else { 1 << 15 };
                    base = output.len().saturating_sub(window);
                }
            }
        };
        (output.split_off(before), status)
    }
}

enum Fault {
    /// The input ends.
    Short,
    Corrupt,
}

struct Bits<'a> {
    input: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn bit(&mut self) -> Result<usize, Fault> {
        let byte = self.input.get(self.at / 8).ok_or(Fault::Short)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Ok(bit.into())
    }

    /// Reads a number, its least bit first.
    fn number(&mut self, len: u32) -> Result<usize, Fault> {
        let mut number = 0;
        for n in 0..len {
            number |= self.bit()? << n;
        }
        Ok(number)
    }

    /// Reads a symbol (§3.2.2).
    fn symbol(&mut self, code: &Code) -> Result<usize, Fault> {
        let (mut bits, mut first, mut index) = (0, 0, 0);
        for count in &code.counts[1..] {
            bits |= self.bit()?;
            if bits < first + count {
                return Ok(code.symbols[index + bits - first]);
            }
            index += count;
            first = (first + count) << 1;
            bits <<= 1;
        }
        Err(Fault::Corrupt)
    }
}

struct Code {
    /// How many symbols have codes of each length.
    counts: [usize; 16],
    /// The symbols in the order of their codes.
    symbols: Vec<usize>,
}

impl Code {
    /// Makes the code that has these lengths. It must use every code there is, or have only one.
    fn new(lengths: &[u8], may_be_short: bool) -> Result<Self, Fault> {
        let mut counts = [0; 16];
        for len in lengths.iter().filter(|len| **len > 0) {
            counts[usize::from(*len)] += 1;
        }
        let mut left = 1_isize;
        for count in &counts[1..] {
            left = 2 * left - *count as isize;
            if left < 0 {
                return Err(Fault::Corrupt);
            }
        }
        let mut symbols: Vec<_> = (0..lengths.len()).filter(|n| lengths[*n] > 0).collect();
        symbols.sort_by_key(|n| lengths[*n]);
        let is_one = symbols.len() == 1 && counts[1] == 1;
        if left > 0 && !symbols.is_empty() && !(may_be_short && is_one) {
            return Err(Fault::Corrupt);
        }
        Ok(Self { counts, symbols })
    }
}

/// Reads a block; tells whether it was the final one (§3.2.3).
fn block(
    bits: &mut Bits<'_>,
    output: &mut Vec<u8>,
    base: usize,
    farthest: usize,
) -> Result<bool, Fault> {
    let is_final = bits.bit()? == 1;
    match bits.number(2)? {
        0 => {
            bits.at = bits.at.next_multiple_of(8);
            let (len, complement) = (bits.number(16)?, bits.number(16)?);
            if len != complement ^ 0xffff {
                return Err(Fault::Corrupt);
            }
            let at = bits.at / 8;
            let stored = &bits.input[at..bits.input.len().min(at + len)];
            output.extend_from_slice(stored);
            bits.at += 8 * stored.len();
            if stored.len() < len {
                return Err(Fault::Short);
            }
        }
        1 => {
            let (literals, distances) = fixed();
            compressed(
                bits,
                &Code::new(&literals, false)?,
                &Code::new(&distances, false)?,
                output,
                base,
                farthest,
            )?;
        }
        2 => {
            let (literals, distances) = dynamic(bits)?;
            compressed(bits, &literals, &distances, output, base, farthest)?;
        }
        _ => return Err(Fault::Corrupt),
    }
    Ok(is_final)
}

/// Reads the codes of a block (§3.2.7).
fn dynamic(bits: &mut Bits<'_>) -> Result<(Code, Code), Fault> {
    let literals = bits.number(5)? + 257;
    let distances = bits.number(5)? + 1;
    let count = bits.number(4)? + 4;
    if literals > 286 || distances > 30 {
        return Err(Fault::Corrupt);
    }
    let mut lengths = [0; 19];
    for n in &ORDER[..count] {
        lengths[*n] = bits.number(3)? as u8;
    }
    let code = Code::new(&lengths, false)?;
    let mut lengths = Vec::new();
    while lengths.len() < literals + distances {
        let (len, times) = match bits.symbol(&code)? {
            16 => (*lengths.last().ok_or(Fault::Corrupt)?, 3 + bits.number(2)?),
            17 => (0, 3 + bits.number(3)?),
            18 => (0, 11 + bits.number(7)?),
            len => (len as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(len, times));
    }
    if lengths.len() > literals + distances || lengths[256] == 0 {
        return Err(Fault::Corrupt);
    }
    let distances = lengths.split_off(literals);
    Ok((Code::new(&lengths, true)?, Code::new(&distances, true)?))
}

/// Reads the content of a block (§3.2.5).
fn compressed(
    bits: &mut Bits<'_>,
    literals: &Code,
    distances: &Code,
    output: &mut Vec<u8>,
    base: usize,
    farthest: usize,
) -> Result<(), Fault> {
    loop {
        let symbol = bits.symbol(literals)?;
        let Some(n) = symbol.checked_sub(257) else {
            if symbol == 256 {
                return Ok(());
            }
            output.push(symbol as u8);
            continue;
        };
        let (least, extra) = *LENGTHS.get(n).ok_or(Fault::Corrupt)?;
        let len = least + bits.number(extra)?;
        let n = bits.symbol(distances)?;
        let (least, extra) = *DISTANCES.get(n).ok_or(Fault::Corrupt)?;
        let distance = least + bits.number(extra)?;
        if distance > farthest.min(output.len() - base) {
            return Err(Fault::Corrupt);
        }
        let start = output.len() - distance;
        for n in start..start + len {
            output.push(output[n]);
        }
    }
}

/// How a block is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Stored,
    Fixed,
    Dynamic,
}

/// The codes of a block, each with its length.
struct Codes {
    literals: Vec<(u32, u8)>,
    distances: Vec<(u32, u8)>,
}

static FIXED: LazyLock<Codes> = LazyLock::new(|| {
    let (literals, distances) = fixed();
    Codes {
        literals: codes(&literals),
        distances: codes(&distances),
    }
});

/// 8 and 9 bits, 4 and 5 for distances: no symbol is without a code.
static DYNAMIC: LazyLock<Codes> = LazyLock::new(|| Codes {
    literals: codes(&DYNAMIC_LITERALS),
    distances: codes(&DYNAMIC_DISTANCES),
});

/// Writes blocks.
#[derive(Default)]
pub struct Writer {
    output: Vec<u8>,
    /// How many bits of the last byte are used, none where all are.
    used: u32,
    codes: Option<&'static Codes>,
}

impl Writer {
    /// Begins a block. One that is stored has its content now, and is over with that.
    pub fn begin(&mut self, kind: Kind, is_final: bool, stored: &[u8]) {
        self.number(is_final.into(), 1);
        match kind {
            Kind::Stored => {
                self.number(0, 2);
                let len = stored.len() as u16;
                self.used = 0;
                self.output.extend_from_slice(&len.to_le_bytes());
                self.output.extend_from_slice(&(!len).to_le_bytes());
                self.output.extend_from_slice(&stored[..len.into()]);
                self.codes = None;
            }
            Kind::Fixed => {
                self.number(1, 2);
                self.codes = Some(&FIXED);
            }
            Kind::Dynamic => {
                self.number(2, 2);
                self.lengths();
                self.codes = Some(&DYNAMIC);
            }
        }
    }

    fn lengths(&mut self) {
        self.number(286 - 257, 5);
        self.number(30 - 1, 5);
        self.number(19 - 4, 4);
        let mut lengths = [0; 19];
        for len in [4, 5, 8, 9] {
            lengths[len] = 2;
        }
        for n in ORDER {
            self.number(lengths[n].into(), 3);
        }
        let lengths = codes(&lengths);
        for len in DYNAMIC_LITERALS.iter().chain(&DYNAMIC_DISTANCES) {
            self.code(lengths[usize::from(*len)]);
        }
    }

    /// Writes bytes as they are.
    pub fn literals(&mut self, bytes: &[u8]) {
        if let Some(codes) = self.codes {
            for byte in bytes {
                self.code(codes.literals[usize::from(*byte)]);
            }
        }
    }

    /// Writes a reference: `len` bytes of 3 to 258, from up to 32768 before.
    pub fn reference(&mut self, len: usize, distance: usize) {
        let Some(codes) = self.codes else {
            return;
        };
        for (value, table, codes) in [
            (len, &LENGTHS[..], &codes.literals[257..]),
            (distance, &DISTANCES[..], &codes.distances[..]),
        ] {
            let Some(n) = table.iter().rposition(|(least, _)| *least <= value) else {
                return;
            };
            let (least, extra) = table[n];
            self.code(codes[n]);
            self.number((value - least) as u32, extra);
        }
    }

    /// Ends a block that is not stored.
    pub fn end(&mut self) {
        if let Some(codes) = self.codes.take() {
            self.code(codes.literals[256]);
        }
    }

    /// Ends a message as a sender does: an empty stored block, less its last four bytes (RFC 7692 §7.2.1).
    pub fn finish(mut self) -> Vec<u8> {
        self.number(0, 3);
        self.output
    }

    /// Ends it with what there is.
    pub fn into_bytes(self) -> Vec<u8> {
        self.output
    }

    /// Writes a number, its least bit first.
    fn number(&mut self, number: u32, len: u32) {
        for n in 0..len {
            self.bit(number >> n & 1);
        }
    }

    /// Writes a code, its highest bit first.
    fn code(&mut self, (code, len): (u32, u8)) {
        for n in (0..len).rev() {
            self.bit(code >> n & 1);
        }
    }

    fn bit(&mut self, bit: u32) {
        if self.used == 0 {
            self.output.push(0);
        }
        if let Some(last) = self.output.last_mut() {
            *last |= (bit as u8) << self.used;
        }
        self.used = (self.used + 1) % 8;
    }
}

/// Gives each symbol its code, from the lengths of all (§3.2.2).
fn codes(lengths: &[u8]) -> Vec<(u32, u8)> {
    let (mut codes, mut next) = (vec![(0, 0); lengths.len()], 0);
    for len in 1..16 {
        next <<= 1;
        for n in 0..lengths.len() {
            if lengths[n] == len {
                codes[n] = (next, len);
                next += 1;
            }
        }
    }
    codes
}

/// §3.2.6.
fn fixed() -> (Vec<u8>, Vec<u8>) {
    let literals = (0..288).map(|n| match n {
        0..=143 => 8,
        144..=255 => 9,
        256..=279 => 7,
        _ => 8,
    });
    (literals.collect(), vec![5; 32])
}

const DYNAMIC_LITERALS: [u8; 286] = {
    let mut lengths = [9; 286];
    let mut n = 0;
    while n < 226 {
        lengths[n] = 8;
        n += 1;
    }
    lengths
};

const DYNAMIC_DISTANCES: [u8; 30] = {
    let mut lengths = [5; 30];
    (lengths[0], lengths[1]) = (4, 4);
    lengths
};

/// The order in which the lengths of the code of lengths come (§3.2.7).
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// The least length of each symbol from 257 on, and its extra bits (§3.2.5).
const LENGTHS: [(usize, u32); 29] = {
    let mut table = [(0, 0); 29];
    let (mut n, mut least) = (0, 3);
    while n < 28 {
        let extra = if n < 8 { 0 } else { n as u32 / 4 - 1 };
        table[n] = (least, extra);
        least += 1 << extra;
        n += 1;
    }
    table[28] = (258, 0);
    table
};

/// The least distance of each symbol, and its extra bits (§3.2.5).
const DISTANCES: [(usize, u32); 30] = {
    let mut table = [(0, 0); 30];
    let (mut n, mut least) = (0, 1);
    while n < 30 {
        let extra = if n < 4 { 0 } else { n as u32 / 2 - 1 };
        table[n] = (least, extra);
        least += 1 << extra;
        n += 1;
    }
    table
};

/// What a sender removes of the end of a message, and an empty final block.
const TAIL: [u8; 9] = [0x00, 0x00, 0xff, 0xff, 0x01, 0x00, 0x00, 0xff, 0xff];
