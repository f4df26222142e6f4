//! DEFLATE written and read bit by bit (RFC 1951), with nothing of what is tested.

/// Blocks written by hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    /// The bits used of the last byte; 0 where it is full.
    used: u32,
}

/// What a block with Huffman codes consists of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Symbol {
    Literal(u8),
    Match { len: usize, distance: usize },
}

/// Literals, one for each byte.
pub(super) fn literals(bytes: &[u8]) -> Vec<Symbol> {
    bytes.iter().copied().map(Symbol::Literal).collect()
}

impl Blocks {
    /// Adds a block with the fixed codes (§3.2.6).
    pub(super) fn fixed(mut self, is_final: bool, symbols: &[Symbol]) -> Self {
        self.bits(is_final.into(), 1);
        self.bits(1, 2);
        for symbol in symbols {
            match *symbol {
                Symbol::Literal(byte) => self.fixed_code(byte.into()),
                Symbol::Match { len, distance } => {
                    let (symbol, extra, bits) = find(&LENGTHS, len);
                    self.fixed_code(257 + symbol);
                    self.bits(extra, bits);
                    let (symbol, extra, bits) = find(&DISTANCES, distance);
                    self.code(symbol, 5);
                    self.bits(extra, bits);
                }
            }
        }
        self.fixed_code(256);
        self
    }

    /// Adds a block without compression (§3.2.4).
    pub(super) fn stored(mut self, is_final: bool, bytes: &[u8]) -> Self {
        self.bits(is_final.into(), 3);
        self.used = 0;
        let len = u16::try_from(bytes.len()).expect("a block holds 65,535 bytes");
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend((!len).to_le_bytes());
        self.bytes.extend(bytes);
        self
    }

    /// Adds a block of `len` zeroes, in which 258 of them take two bits (§3.2.7).
    pub(super) fn zeroes(mut self, len: usize) -> Self {
        self.bits(2 << 1, 3);
        self.bits(286 - 257, 5);
        self.bits(0, 5);
        self.bits(18 - 4, 4);
        // The codes of code lengths: 18 is `0`, 1 is `10`, 2 is `11`.
        for symbol in &ORDER[..18] {
            self.bits(
                match symbol {
                    18 => 1,
                    1 | 2 => 2,
                    _ => 0,
                },
                3,
            );
        }
        // The codes: 285, a match of 258, is `0`; 0 is `10`; 256 is `11`; the distance 1 is `0`.
        let zeroes = |blocks: &mut Self, len: usize| {
            blocks.code(0, 1);
            blocks.bits(len - 11, 7);
        };
        self.code(0b11, 2);
        zeroes(&mut self, 138);
        zeroes(&mut self, 255 - 138);
        self.code(0b11, 2);
        zeroes(&mut self, 28);
        self.code(0b10, 2);
        self.code(0b10, 2);
        let matches = len.saturating_sub(1) / 258;
        for index in 0..len - 258 * matches {
            self.code(0b10, 2);
            if index == 0 {
                (0..matches).for_each(|_| self.code(0, 2));
            }
        }
        self.code(0b11, 2);
        self
    }

    /// What was written so far, the last byte filled up with zeroes.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// Ends a message: an empty block without compression, its last four bytes removed
    /// (RFC 7692 §7.2.1).
    pub(super) fn message(mut self) -> Vec<u8> {
        self.bits(0, 3);
        self.bytes
    }

    /// Adds bits, the least significant one first.
    fn bits(&mut self, value: usize, count: u32) {
        for bit in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("there is one");
            *last |= ((value >> bit & 1) as u8) << self.used;
            self.used = (self.used + 1) % 8;
        }
    }

    /// Adds a code, the most significant bit first.
    fn code(&mut self, code: usize, count: u32) {
        for bit in (0..count).rev() {
            self.bits(code >> bit & 1, 1);
        }
    }

    fn fixed_code(&mut self, symbol: usize) {
        match symbol {
            0..144 => self.code(0x30 + symbol, 8),
            144..256 => self.code(0x190 + symbol - 144, 9),
            256..280 => self.code(symbol - 256, 7),
            _ => self.code(0xc0 + symbol - 280, 8),
        }
    }
}

/// The symbol of a length or distance, its extra bits, and how many they are.
fn find(table: &[(usize, u32)], value: usize) -> (usize, usize, u32) {
    let found = table.iter().rposition(|&(base, _)| base <= value);
    let symbol = found.expect("it is long enough");
    let (base, bits) = table[symbol];
    (symbol, value - base, bits)
}

/// Decompresses a message behind `output`, and gives the largest distance in it.
///
/// Panics where it is not DEFLATE, has a final block, or refers to what is before `output`.
pub(super) fn walk(message: &[u8], output: &mut Vec<u8>) -> usize {
    let bytes = [message, &[0x00, 0x00, 0xff, 0xff]].concat();
    let mut reader = Reader {
        bytes: &bytes,
        at: 0,
    };
    let mut farthest = 0;
    while reader.at < 8 * bytes.len() {
        assert_eq!(reader.bits(1), 0, "BFINAL");
        let (lengths, distances) = match reader.bits(2) {
            0 => {
                reader.stored(output);
                continue;
            }
            1 => fixed_codes(),
            2 => reader.dynamic_codes(),
            _ => panic!("reserved type of block"),
        };
        farthest = farthest.max(reader.compressed(&lengths, &distances, output));
    }
    farthest
}

struct Reader<'a> {
    bytes: &'a [u8],
    /// In bits.
    at: usize,
}

impl Reader<'_> {
    fn bits(&mut self, count: u32) -> usize {
        (0..count).fold(0, |value, index| {
            let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << index
        })
    }

    fn stored(&mut self, output: &mut Vec<u8>) {
        self.at = self.at.next_multiple_of(8);
        let (len, complement) = (self.bits(16), self.bits(16));
        assert_eq!(len ^ complement, 0xffff);
        let start = self.at / 8;
        output.extend_from_slice(&self.bytes[start..start + len]);
        self.at += 8 * len;
    }

    fn dynamic_codes(&mut self) -> (Codes, Codes) {
        let (literals, distances) = (self.bits(5) + 257, self.bits(5) + 1);
        let count = self.bits(4) + 4;
        let mut lengths = [0; 19];
        for symbol in &ORDER[..count] {
            lengths[*symbol] = self.bits(3);
        }
        let codes = Codes::new(&lengths);
        let mut lengths = Vec::new();
        while lengths.len() < literals + distances {
            let (length, count) = match self.symbol(&codes) {
                16 => (lengths[lengths.len() - 1], 3 + self.bits(2)),
                17 => (0, 3 + self.bits(3)),
                18 => (0, 11 + self.bits(7)),
                length => (length, 1),
            };
            lengths.extend(std::iter::repeat_n(length, count));
        }
        assert_eq!(lengths.len(), literals + distances);
        let (literals, distances) = lengths.split_at(literals);
        (Codes::new(literals), Codes::new(distances))
    }

    fn compressed(&mut self, lengths: &Codes, distances: &Codes, output: &mut Vec<u8>) -> usize {
        let mut farthest = 0;
        loop {
            let symbol = self.symbol(lengths);
            let Some(symbol) = symbol.checked_sub(256) else {
                output.push(symbol as u8);
                continue;
            };
            if symbol == 0 {
                return farthest;
            }
            let (base, bits) = LENGTHS[symbol - 1];
            let len = base + self.bits(bits);
            let (base, bits) = DISTANCES[self.symbol(distances)];
            let distance = base + self.bits(bits);
            let start = output.len().checked_sub(distance);
            let start = start.expect("the distance is not beyond the beginning");
            (start..start + len).for_each(|index| output.push(output[index]));
            farthest = farthest.max(distance);
        }
    }

    fn symbol(&mut self, codes: &Codes) -> usize {
        let (mut code, mut first, mut index) = (0, 0, 0);
        for count in &codes.counts[1..] {
            code |= self.bits(1);
            if code < first + count {
                return codes.symbols[index + code - first];
            }
            index += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        panic!("no such code");
    }
}

/// Canonical Huffman codes (§3.2.2).
struct Codes {
    /// How many codes there are of each length.
    counts: [usize; 16],
    /// In the order of their codes.
    symbols: Vec<usize>,
}

impl Codes {
    fn new(lengths: &[usize]) -> Self {
        let mut counts = [0; 16];
        lengths.iter().for_each(|length| counts[*length] += 1);
        let mut symbols: Vec<_> = (0..lengths.len())
            .filter(|symbol| lengths[*symbol] > 0)
            .collect();
        symbols.sort_by_key(|symbol| lengths[*symbol]);
        Self { counts, symbols }
    }
}

fn fixed_codes() -> (Codes, Codes) {
    let lengths: Vec<_> = (0..288)
        .map(|symbol| match symbol {
            0..144 => 8,
            144..256 => 9,
            256..280 => 7,
            _ => 8,
        })
        .collect();
    (Codes::new(&lengths), Codes::new(&[5; 30]))
}

/// The order of the lengths of codes of code lengths (§3.2.7).
const ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// Base and extra bits (§3.2.5).
const LENGTHS: [(usize, u32); 29] = [
    (3, 0),
    (4, 0),
    (5, 0),
    (6, 0),
    (7, 0),
    (8, 0),
    (9, 0),
    (10, 0),
    (11, 1),
    (13, 1),
    (15, 1),
    (17, 1),
    (19, 2),
    (23, 2),
    (27, 2),
    (31, 2),
    (35, 3),
    (43, 3),
    (51, 3),
    (59, 3),
    (67, 4),
    (83, 4),
    (99, 4),
    (115, 4),
    (131, 5),
    (163, 5),
    (195, 5),
    (227, 5),
    (258, 0),
];

/// Base and extra bits (§3.2.5).
const DISTANCES: [(usize, u32); 30] = [
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 1),
    (7, 1),
    (9, 2),
    (13, 2),
    (17, 3),
    (25, 3),
    (33, 4),
    (49, 4),
    (65, 5),
    (97, 5),
    (129, 6),
    (193, 6),
    (257, 7),
    (385, 7),
    (513, 8),
    (769, 8),
    (1025, 9),
    (1537, 9),
    (2049, 10),
    (3073, 10),
    (4097, 11),
    (6145, 11),
    (8193, 12),
    (12_289, 12),
    (16_385, 13),
    (24_577, 13),
];
