#![expect(clippy::unwrap_used, reason = "a failed test panics")]

use super::*;
use crate::protocol::test_support::Random;

const ID: QuestionId = QuestionId(0x0102_0304_0506_0708);

fn question(topic: &[u8]) -> Question<'_> {
    Question { id: ID, topic }
}

const ANSWER: Answer = Answer {
    id: ID,
    members: 0x0a0b_0c0d,
};

#[test]
fn question_and_answer_are_laid_out_as_the_page_says() {
    let expected = b"\x08\x07\x06\x05\x04\x03\x02\x01\x12\0shop:1:rooms:lobby";
    assert_eq!(question(b"shop:1:rooms:lobby").encode(), &expected[..]);
    let expected = b"\x08\x07\x06\x05\x04\x03\x02\x01\x0d\x0c\x0b\x0a";
    assert_eq!(ANSWER.encode(), &expected[..]);
}

#[test]
fn question_and_answer_are_read_as_they_are_written() {
    for topic in [&b""[..], b"shop:1:rooms:\xff\0", &[b'x'; 580]] {
        let payload = question(topic).encode();
        assert_eq!(Question::decode(&payload), Ok(question(topic)));
    }
    for members in [0, 1, u32::MAX] {
        let answer = Answer { members, ..ANSWER };
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
}

#[test]
fn what_follows_is_ignored() {
    let longer = |payload: Bytes| [&payload, &b"something new"[..]].concat();
    let payload = longer(question(b"lobby").encode());
    assert_eq!(Question::decode(&payload), Ok(question(b"lobby")));
    assert_eq!(Answer::decode(&longer(ANSWER.encode())), Ok(ANSWER));
}

#[test]
fn no_topic_is_longer_than_one_can_be() {
    let payload = question(&[b'x'; 581]).encode();
    assert_eq!(Question::decode(&payload), Err(EnvelopeError::Question));
}

#[test]
fn any_cutting_is_an_error() {
    let payload = question(b"shop:1:rooms:lobby").encode();
    for len in 0..payload.len() {
        let cut = Question::decode(&payload[..len]);
        assert_eq!(cut.unwrap_err(), EnvelopeError::Question, "{len}");
    }
    let payload = ANSWER.encode();
    for len in 0..payload.len() {
        let cut = Answer::decode(&payload[..len]);
        assert_eq!(cut.unwrap_err(), EnvelopeError::Question, "{len}");
    }
}

#[test]
fn any_bytes_are_decoded_or_refused_without_a_panic() {
    let mut random = Random(9);
    let mut decoded = 0;
    for _ in 0..100_000 {
        let len = random.below(100);
        let mut payload = random.bytes(len);
        // Else hardly one would be long enough.
        if let Some(len) = payload.get_mut(9) {
            *len = 0;
        }
        if let Ok(question) = Question::decode(&payload) {
            decoded += 1;
            // Nothing is made up.
            assert!(payload.starts_with(&question.encode()));
        }
        let _any = Answer::decode(&payload);
    }
    assert!(decoded > 1000, "{decoded}");
}
