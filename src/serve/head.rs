//! Where the head of an HTTP/1.1 request begins.

/// Follows the requests of an HTTP/1.1 connection by the bytes that are read of it.
///
/// hyper reads ahead, so the beginning of a head may be in its buffer before it is waited for.
#[derive(Debug, Default)]
pub(super) struct Heads {
    /// A head is waited for.
    waiting: bool,
    /// Part of that head is there.
    begun: bool,
    /// The last bytes read, the latest last.
    tail: [u8; 3],
    /// What was read behind the last head; `None` while that is not known.
    behind: Option<u64>,
    /// The length of the body behind the last head; `None` if it is not known beforehand.
    body: Option<u64>,
}

impl Heads {
    /// Records bytes that were read.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let rest = if self.waiting && self.behind.is_none() {
            self.read_head(bytes)
        } else {
            bytes
        };
        if let Some(behind) = &mut self.behind {
            *behind += rest.len() as u64;
        }
        self.remember(rest);
    }

    /// Begins to wait for a head.
    pub(super) fn wait(&mut self) {
        self.begun = match (self.body, self.behind) {
            (Some(body), Some(behind)) => behind > body,
            // Several requests came at once. What ends without a body, or by chunks, ends with an
            // empty line, and a head that has only begun does not.
            (Some(0) | None, _) => !self.ends_with_empty_line(),
            // Where its body ended is not known. What has begun is seen with its next byte.
            (Some(_), None) => false,
        };
        self.waiting = true;
        self.behind = None;
    }

    /// Ends the wait: the head is complete.
    pub(super) fn came(&mut self) {
        self.waiting = false;
    }

    /// Records the length of the request's body, if it is known beforehand.
    pub(super) fn body(&mut self, len: Option<u64>) {
        self.body = len;
    }

    /// Reports whether part of the head that is waited for has come.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// Looks for the end of the head, and returns what is behind it.
    fn read_head<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        if !self.begun {
            // Empty lines before a request are none of it (RFC 9112 §2.2).
            let first = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
            let Some(first) = first else {
                return &[];
            };
            self.begun = true;
            rest = &bytes[first..];
        }
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, behind) = rest.split_at(end + 1);
            self.remember(line);
            if self.ends_with_empty_line() {
                self.behind = Some(0);
                return behind;
            }
            rest = behind;
        }
        self.remember(rest);
        &[]
    }

    fn remember(&mut self, bytes: &[u8]) {
        for byte in &bytes[bytes.len().saturating_sub(3)..] {
            self.tail = [self.tail[1], self.tail[2], *byte];
        }
    }

    fn ends_with_empty_line(&self) -> bool {
        matches!(self.tail, [_, b'\n', b'\n'] | [b'\n', b'\r', b'\n'])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that have read all of this, and wait for a head.
    fn read(requests: &[(&str, Option<u64>)], rest: &str) -> Vec<Heads> {
        let all: String = requests.iter().map(|(request, _)| *request).collect();
        let ends: Vec<_> = requests
            .iter()
            .scan(0, |end, (request, _)| {
                *end += request.len();
                Some(*end)
            })
            .collect();
        let all = all + rest;
        // In one piece, byte by byte, and cut in two anywhere.
        let cuts = (0..all.len()).map(|cut| vec![cut]);
        let cuts = cuts.chain([(1..all.len()).collect()]);
        cuts.map(|cuts| {
            let mut heads = Heads::default();
            let mut pieces = cuts.into_iter().chain([all.len()]);
            let mut at = 0;
            for (index, (request, body)) in requests.iter().enumerate() {
                heads.wait();
                let head = request.find("\r\n\r\n").expect("a head") + 4;
                let start = ends[index] - request.len();
                read_to(&mut heads, &all, &mut at, &mut pieces, start + head);
                heads.came();
                heads.body(*body);
                read_to(&mut heads, &all, &mut at, &mut pieces, ends[index]);
            }
            if requests.len() == 1 {
                // What is left may come before or after the response.
                read_to(&mut heads, &all, &mut at, &mut pieces, all.len());
            }
            heads.wait();
            read_to(&mut heads, &all, &mut at, &mut pieces, all.len());
            heads
        })
        .collect()
    }

    fn read_to(
        heads: &mut Heads,
        all: &str,
        at: &mut usize,
        pieces: &mut impl Iterator<Item = usize>,
        end: usize,
    ) {
        while *at < end {
            let next = pieces.next().expect("there is more");
            heads.read(&all.as_bytes()[*at..next]);
            *at = next;
        }
    }

    fn assert_begun(requests: &[(&str, Option<u64>)], rest: &str, begun: bool) {
        for (cut, heads) in read(requests, rest).iter().enumerate() {
            assert_eq!(heads.has_begun(), begun, "cut at {cut}: {heads:?}");
        }
    }

    const GET: (&str, Option<u64>) = ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(0));
    const POST: (&str, Option<u64>) = (
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\n\r\n\r\n\r\nabc",
        Some(7),
    );
    const CHUNKED: (&str, Option<u64>) = (
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        None,
    );

    #[test]
    fn nothing_has_begun_behind_whole_requests() {
        for requests in [
            &[GET][..],
            &[POST],
            &[CHUNKED],
            &[GET, GET],
            &[POST, GET],
            &[GET, CHUNKED, GET],
        ] {
            assert_begun(requests, "", false);
        }
    }

    #[test]
    fn a_first_byte_has_begun_a_head() {
        for requests in [&[GET][..], &[POST], &[CHUNKED], &[GET, GET], &[POST, GET]] {
            for rest in ["G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nhost: a\r\n"] {
                assert_begun(requests, rest, true);
            }
        }
    }

    #[test]
    fn nothing_has_begun_behind_a_body_whose_head_came_with_the_request_before() {
        let head = POST.0.find("\r\n\r\n").expect("a head") + 4;
        let (head, body) = POST.0.split_at(head);
        let mut heads = Heads::default();
        heads.wait();
        heads.read([GET.0, head].concat().as_bytes());
        heads.came();
        heads.body(GET.1);
        heads.wait();
        assert!(heads.has_begun());
        heads.came();
        heads.body(POST.1);
        heads.read(body.as_bytes());
        heads.wait();
        assert!(!heads.has_begun());
        heads.read(b"G");
        assert!(heads.has_begun());
    }

    #[test]
    fn an_empty_line_while_a_head_is_waited_for_begins_none() {
        let mut heads = Heads::default();
        heads.wait();
        heads.read(GET.0.as_bytes());
        heads.came();
        heads.body(GET.1);
        heads.wait();
        for byte in b"\r\n\n" {
            heads.read(&[*byte]);
            assert!(!heads.has_begun());
        }
        heads.read(b"G");
        assert!(heads.has_begun());
    }
}
