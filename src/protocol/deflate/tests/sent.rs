//! What is sent compressed, how, and whether the peer can read it.

use std::time::Instant;

use bytes::Buf;

use super::{blocks::walk, *};
use crate::{
    compression::Compression,
    protocol::{
        Connection, Header, Outbound,
        deflate::{Context, Deflater, Shape, deflate},
    },
};

/// A connection that compresses.
struct Sender {
    connection: Connection,
    now: Instant,
}

impl Sender {
    fn new(role: Role, config: Config, params: DeflateParams) -> Self {
        let now = Instant::now();
        Self {
            connection: Connection::new(role, config, now).deflate(params),
            now,
        }
    }

    fn send(&mut self, message: impl Into<Outbound>) -> Vec<u8> {
        self.connection.send(message).expect("it is open");
        let mut bytes = Vec::new();
        while let Some(queue) = self.connection.poll_transmit() {
            let len = queue.remaining();
            bytes.extend_from_slice(&queue.copy_to_bytes(len));
            self.connection.transmitted(self.now);
        }
        bytes
    }
}

/// The frames in `wire`, with their payloads unmasked.
fn frames(mut wire: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut frames = Vec::new();
    while !wire.is_empty() {
        let (header, used) = Header::decode(wire).expect("valid").expect("whole");
        let (payload, rest) = wire[used..].split_at(header.payload_len as usize);
        let key = header.masking_key.unwrap_or_default();
        let unmasked = payload.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b);
        frames.push((header, unmasked.collect()));
        wire = rest;
    }
    frames
}

/// The one message in `wire`: whether it is compressed, and its payload.
fn message(wire: &[u8]) -> (bool, Vec<u8>) {
    let frames = frames(wire);
    let last = frames.len() - 1;
    for (index, (header, _)) in frames.iter().enumerate() {
        assert_eq!(header.fin, index == last);
        assert!(index == 0 || !header.rsv1, "only the first frame says it");
    }
    let payloads = frames.iter().map(|(_, payload)| &payload[..]);
    (frames[0].0.rsv1, payloads.collect::<Vec<_>>().concat())
}

fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

/// Both directions take over or not, the one of `role` has `bits`, the other another number.
fn with_window(role: Role, bits: u8, takeover: bool) -> DeflateParams {
    let (server, client) = match role {
        Role::Server => (bits, 23 - bits),
        Role::Client => (23 - bits, bits),
    };
    DeflateParams {
        server_no_context_takeover: !takeover,
        client_no_context_takeover: !takeover,
        server_max_window_bits: server,
        client_max_window_bits: client,
    }
}

fn compressing(settings: Compression) -> Config {
    Config::default()
        .compression(settings.threshold(0))
        .max_message_size(None)
        .ping_interval(None)
}

/// Words, which compress well and in which there is something to refer to everywhere.
fn words(random: &mut Random, len: usize) -> Vec<u8> {
    let mut content = Vec::with_capacity(len + 10);
    while content.len() < len {
        let number = random.below(2000);
        content.extend_from_slice(format!("word{} ", number * number).as_bytes());
    }
    content.truncate(len);
    content
}

/// Messages that try a window of this size.
fn contents(random: &mut Random, window: usize) -> Vec<Vec<u8>> {
    let noise = random.bytes(window - 10);
    let words_first = words(random, window / 2);
    vec![
        vec![],
        vec![b'x'],
        words_first.clone(),
        vec![],
        words_first,
        noise.clone(),
        // What is looked for is hardly in the window, or hardly not, in a message and over several.
        [&noise[..300.min(noise.len())], &noise[noise.len() - 100..]].concat(),
        [&noise[..], &random.bytes(5), &noise[..200]].concat(),
        [&noise[..], &random.bytes(20), &noise[..200]].concat(),
        words(random, window + window / 2),
        vec![0; window],
        vec![0xff; 10],
    ]
}

#[test]
fn messages_arrive_whatever_is_agreed_on_and_refer_no_further_back() {
    let mut random = Random(21);
    for bits in 8..=15 {
        let window = 1 << bits;
        for takeover in [false, true] {
            for level in 1..=9 {
                let role = [Role::Server, Role::Client][usize::from(level) % 2];
                let params = with_window(role, bits, takeover);
                // The highest level of memory with the lowest of compression, and so on.
                let settings = Compression::dedicated()
                    .level(level)
                    .memory_level(10 - level);
                let mut sender = Sender::new(role, compressing(settings), params);
                let config = Config::default().max_message_size(None);
                let mut receiver = Decoder::new(other(role), &config).deflate(params);
                let mut before = Vec::new();
                for content in contents(&mut random, window) {
                    let context = format!("{bits} bits, level {level}, {}", content.len());
                    let wire = sender.send(Message::binary(content.clone()));
                    let decoded = decode_all(&mut receiver, [&wire[..]]);
                    assert_eq!(decoded.1, None, "{context}");
                    assert!(decoded.0 == [binary(content.clone())], "{context}");
                    let (compressed, payload) = message(&wire);
                    if !compressed {
                        assert!(payload == content, "{context}");
                        continue;
                    }
                    if !takeover {
                        before.clear();
                    }
                    let start = before.len();
                    let distance = walk(&payload, &mut before);
                    assert!(before[start..] == content, "{context}");
                    assert!(distance <= window, "{context}: {distance}");
                }
            }
        }
    }
}

#[test]
fn messages_of_every_length_arrive() {
    let mut random = Random(22);
    let settings = Compression::dedicated();
    let direction = with_window(Role::Server, 15, true).direction(Role::Server);
    let shape = Shape::new(direction, &settings);
    let mut context = Context::new(direction, &settings);
    let mut compress = |content: &[u8], takeover: bool| {
        let mut payload = Vec::new();
        let mut deflater = Deflater::start(shape, takeover.then_some(&mut context));
        deflater.finish(content, &mut payload);
        deflater.end(takeover.then_some(&mut context));
        payload
    };
    let mut before = Vec::new();
    for len in 0..600 {
        // Its compressed form is longer than what room is made for at first.
        let content = random.bytes(len);
        let mut output = Vec::new();
        walk(&compress(&content, false), &mut output);
        assert_eq!(output, content);
        let start = before.len();
        walk(&compress(&content, true), &mut before);
        assert_eq!(before[start..], content);
    }
}

#[test]
fn large_messages_arrive_in_fragments() {
    let mut random = Random(23);
    for takeover in [false, true] {
        for size in [1, 100, 5000, 65_536] {
            for role in [Role::Server, Role::Client] {
                let params = with_window(role, 15, takeover);
                let config = compressing(Compression::dedicated()).fragment_size(size);
                let mut sender = Sender::new(role, config, params);
                let config = Config::default()
                    .max_message_size(1 << 20)
                    .max_fragments(1 << 20);
                let mut receiver = Decoder::new(other(role), &config).deflate(params);
                // More than 1,024 fragments there are not.
                let longest = if size == 1 { 1000 } else { 100_000 };
                for content in [
                    words(&mut random, longest),
                    random.bytes(longest / 2),
                    vec![],
                    words(&mut random, longest),
                ] {
                    let wire = sender.send(Message::binary(content.clone()));
                    let frames = frames(&wire);
                    let last = frames.len() - 1;
                    for (index, (_, payload)) in frames.iter().enumerate() {
                        assert!(payload.len() == size || (index == last && payload.len() < size));
                    }
                    let decoded = decode_all(&mut receiver, random.cut(&wire, 10_000));
                    assert!(decoded == (vec![binary(content)], None));
                }
            }
        }
    }
}

#[test]
fn server_writes_the_example_of_the_standard() {
    let direction = takeover().direction(Role::Server);
    let shape = Shape::new(direction, &Compression::shared());
    let mut deflater = Deflater::start(shape, None);
    let mut payload = Vec::new();
    deflater.finish(b"Hello", &mut payload);
    assert_eq!(
        from_server(TEXT, &payload),
        from_server(TEXT, HELLO_DEFLATED)
    );
}

#[test]
fn client_masks_what_it_has_compressed() {
    let mut client = Sender::new(
        Role::Client,
        compressing(Compression::shared()),
        no_takeover(),
    );
    let content = "Hello".repeat(20);
    let keys: Vec<_> = (0..3)
        .map(|_| {
            let wire = client.send(&content[..]);
            let frame = frames(&wire).remove(0);
            let mut output = Vec::new();
            walk(&frame.1, &mut output);
            assert_eq!(output, content.as_bytes());
            frame.0.masking_key.expect("a client masks")
        })
        .collect();
    assert!(keys[0] != keys[1] || keys[1] != keys[2], "{keys:x?}");
}

#[test]
fn repeated_message_is_shorter_with_takeover_only() {
    for role in [Role::Server, Role::Client] {
        for takes_over in [false, true] {
            // The other direction does not matter.
            let mut params = with_window(role, 15, takes_over);
            match role {
                Role::Server => params.client_no_context_takeover = takes_over,
                Role::Client => params.server_no_context_takeover = takes_over,
            }
            let config = compressing(Compression::dedicated());
            let mut sender = Sender::new(role, config, params);
            let content = words(&mut Random(24), 1000);
            let mut len = || {
                message(&sender.send(Message::binary(content.clone())))
                    .1
                    .len()
            };
            let (first, second) = (len(), len());
            assert_eq!(second < first / 10, takes_over, "{first}, then {second}");
            assert!(takes_over || first == second);
        }
    }
}

#[test]
fn short_messages_are_left_as_they_are() {
    let settings = || Compression::shared().threshold(100);
    for params in [takeover(), no_takeover()] {
        let config = Config::default().compression(settings());
        let mut sender = Sender::new(Role::Server, config, params);
        for (len, expected) in [(0, false), (99, false), (100, true), (1000, true)] {
            let text = "x".repeat(len);
            let (compressed, payload) = message(&sender.send(&text[..]));
            assert_eq!(compressed, expected, "{len}");
            assert!(compressed || payload == text.as_bytes());
        }
    }
}

#[test]
fn default_threshold_is_512() {
    let config = Config::default().compression(Compression::shared());
    let mut sender = Sender::new(Role::Server, config, no_takeover());
    for (len, expected) in [(511, false), (512, true)] {
        let (compressed, _) = message(&sender.send("x".repeat(len)));
        assert_eq!(compressed, expected, "{len}");
    }
}

#[test]
fn message_has_its_own_say() {
    for params in [takeover(), no_takeover()] {
        let config = Config::default().compression(Compression::dedicated());
        let mut sender = Sender::new(Role::Server, config, params);
        let long = Message::text("secret".repeat(1000));
        let (compressed, payload) = message(&sender.send(long.clone().uncompressed()));
        assert!(!compressed && payload == long.as_bytes());
        let short = Message::text("x".repeat(50));
        assert!(message(&sender.send(short.clone().compressed())).0);
        assert!(!message(&sender.send(short)).0);
        assert!(message(&sender.send(long)).0);
    }
}

/// What was not compressed cannot be guessed from what is compressed later.
#[test]
fn uncompressed_message_is_not_referred_to_later() {
    let secret = "token=1f0a77c2b9d3e854".repeat(2);
    let config = compressing(Compression::dedicated());
    let mut sender = Sender::new(Role::Server, config, takeover());
    sender.send(Message::text(secret.clone()).uncompressed());
    let (compressed, payload) = message(&sender.send(secret.clone()));
    assert!(compressed);
    let mut output = Vec::new();
    let distance = walk(&payload, &mut output);
    assert!(
        distance <= secret.len() / 2,
        "it refers to itself only: {distance}"
    );
    assert_eq!(output, secret.as_bytes());
}

#[test]
fn message_that_does_not_shrink_is_sent_as_it_is() {
    for (settings, params) in [
        (Compression::shared(), no_takeover()),
        (Compression::dedicated(), takeover()),
    ] {
        let mut sender = Sender::new(Role::Server, compressing(settings), params);
        for len in [0, 1, 2, 1000, 70_000] {
            let content = Random(25).bytes(len);
            let sent = sender.send(Message::binary(content.clone()).compressed());
            assert_eq!(message(&sent), (false, content));
        }
    }
}

#[test]
fn nothing_is_compressed_without_agreement_or_settings() {
    let now = Instant::now();
    let long = || Message::text("x".repeat(1000)).compressed();
    let agreed_on_nothing =
        Connection::new(Role::Server, compressing(Compression::dedicated()), now);
    let has_no_settings = Connection::new(Role::Server, Config::default(), now).deflate(takeover());
    for connection in [agreed_on_nothing, has_no_settings] {
        let mut sender = Sender { connection, now };
        assert!(!message(&sender.send(long())).0);
    }
}

#[test]
fn connections_without_compressors_of_their_own_borrow_the_threads() {
    // Nothing; about four compressors; enough for all.
    for memory in [0, 3 << 20, 1 << 30] {
        let settings = Compression::dedicated().max_memory(memory);
        let mut random = Random(26);
        let mut connections: Vec<_> = (0..24)
            .map(|index| {
                // More windows than a thread keeps compressors.
                let params = with_window(Role::Server, 8 + index % 8, true);
                let config = compressing(settings.clone());
                let sender = Sender::new(Role::Server, config, params);
                let content = words(&mut random, 200);
                (sender, decoder(Role::Client, params), content)
            })
            .collect();
        for round in 0..4 {
            for (sender, receiver, content) in &mut connections {
                let wire = sender.send(Message::binary(content.clone()));
                let decoded = decode_all(receiver, [&wire[..]]);
                assert_eq!(decoded, (vec![binary(content.clone())], None));
                assert!(round == 0 || wire.len() < 100, "{}", wire.len());
            }
        }
    }
}

/// A context of a connection with takeover, what sends by it, and a decoder that has to agree.
struct Remembering {
    context: Context,
    shape: Shape,
    decoder: Decoder,
}

impl Remembering {
    fn new(settings: &Compression) -> Self {
        let direction = takeover().direction(Role::Server);
        Self {
            context: Context::new(direction, settings),
            shape: Shape::new(direction, settings),
            decoder: decoder(Role::Client, takeover()),
        }
    }

    fn receive(&mut self, payload: &[u8], content: &[u8]) {
        let frame = from_server(BINARY, payload);
        let decoded = decode_all(&mut self.decoder, [&frame[..]]);
        assert_eq!(decoded, (vec![binary(content)], None));
    }

    /// Sends a message, compressed if that makes it shorter, and gives the length.
    fn send(&mut self, content: &[u8]) -> usize {
        let Some(payload) = self.context.deflate(self.shape, content) else {
            return content.len();
        };
        self.receive(&payload, content);
        payload.len()
    }

    fn send_alone(&mut self, content: &[u8]) {
        if let Some(payload) = deflate(self.shape, content) {
            self.receive(&payload, content);
            self.context.sent_alone(content);
        }
    }
}

#[test]
fn message_after_a_rest_refers_back_all_the_same() {
    // Enough for a compressor of its own.
    let content = words(&mut Random(27), 10_000);
    let settings = Compression::dedicated();
    let mut remembering = Remembering::new(&settings);
    let first = remembering.send(&content);
    for rests in [1, 2, 3, 0, 5] {
        (0..rests).for_each(|_| remembering.context.release_if_unused());
        let len = remembering.send(&content);
        assert!(len < first / 10, "{first}, then {len}");
    }
}

#[test]
fn memory_of_a_compressor_is_given_back_after_a_rest() {
    let limit = 4 << 20;
    let settings = Compression::dedicated().max_memory(limit);
    let is_all_free = || settings.budget.reserve_luxury(limit / 2).is_some();
    let mut remembering = Remembering::new(&settings);
    assert!(is_all_free(), "nothing was sent");
    remembering.send(&[7; 8 << 10]);
    assert!(is_all_free(), "there was nothing to tell the thread's");
    remembering.send(&[7; 10]);
    assert!(is_all_free(), "there were 8 KiB");
    remembering.send(&[7; 10]);
    assert!(!is_all_free(), "there were some bytes more");
    remembering.context.release_if_unused();
    assert!(!is_all_free(), "it was used since the last time");
    remembering.context.release_if_unused();
    assert!(is_all_free());
    remembering.send(&[7; 10]);
    assert!(!is_all_free());
    remembering.context.sent_alone(b"Hello");
    assert!(is_all_free(), "it does not know what was sent");
    remembering.send(&[7; 10]);
    assert!(!is_all_free());
    remembering.send(b"no shorter");
    assert!(is_all_free(), "it knows what was not sent");
    remembering.send(&[7; 10]);
    drop(remembering);
    assert!(is_all_free());
}

#[test]
fn connection_gives_its_compressor_back_at_the_second_ping_without_a_message() {
    let limit = 4 << 20;
    let settings = Compression::dedicated().max_memory(limit);
    let is_all_free = || settings.budget.reserve_luxury(limit / 2).is_some();
    let config = Config::default()
        .compression(settings.clone())
        .ping_timeout(None);
    let mut server =
        Connection::new(Role::Server, config, Instant::now()).deflate(DeflateParams::default());
    for len in [8 << 10, 10, 10] {
        let message = Message::binary(vec![7; len]).compressed();
        assert_eq!(server.send(message), Ok(()));
    }
    for free in [false, true] {
        assert!(!is_all_free());
        let ping = server.poll_timeout().expect("the next ping");
        assert_eq!(server.handle_timeout(ping), None);
        assert_eq!(is_all_free(), free);
    }
}

#[test]
fn compressors_of_their_own_take_half_of_the_memory_at_most() {
    let limit = 2 << 20;
    let settings = Compression::dedicated().max_memory(limit);
    let mut connections: Vec<_> = (0..10).map(|_| Remembering::new(&settings)).collect();
    for remembering in &mut connections {
        remembering.send(&[7; 9000]);
        remembering.send(&[7; 10]);
    }
    let rest = settings.budget.reserve(limit / 2);
    assert!(rest.is_some(), "it is kept for windows");
    assert!(
        settings.budget.reserve(limit / 2).is_none(),
        "some have one"
    );
}

#[test]
fn messages_around_one_that_was_compressed_alone_are_understood() {
    let mut random = Random(28);
    for memory in [None, Some(0)] {
        let settings = Compression::dedicated().max_memory(memory);
        let mut remembering = Remembering::new(&settings);
        let own = words(&mut random, 10_000);
        let shared = words(&mut random, 1000);
        let first = remembering.send(&own);
        remembering.send_alone(&shared);
        let second = remembering.send(&own);
        assert!(second < first / 10, "what was before it is remembered");
        let third = remembering.send(&shared);
        assert!(third < first / 10, "and so is what was sent alone");
        for len in [0, 1, 32_767, 32_768, 32_769, 70_000] {
            remembering.send_alone(&words(&mut random, len));
            remembering.send(&own);
            remembering.send_alone(&shared);
            remembering.send_alone(&shared);
            remembering.send(&shared);
        }
    }
}
