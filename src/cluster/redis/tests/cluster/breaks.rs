//! Connections to masters that are made again.

use super::*;

#[tokio::test]
async fn a_subscriber_that_is_told_of_a_move_is_of_no_more_use() {
    let two = Two::start().await;
    let (node, key) = (two.node(), Two::key(0));
    let other = Two::keys(0).nth(1).unwrap();
    node.join(&key);
    node.run_until_and(
        |hub| subscribed(hub) == 3,
        async |node| {
            let before = two.connections();
            let moved = b"-MOVED 1 127.0.0.1:1\r\n";
            // What belongs to a command before it comes first.
            let answers = [&moved[..], &push("ssubscribe", &Two::channel(&other), b"1")].concat();
            two.answer_next("SSUBSCRIBE", answers);
            node.join(&other);
            node.wait_until(|hub| two.connections() == before + 1 && subscribed(hub) == 4)
                .await;
            two.answer_next("SUNSUBSCRIBE", moved.to_vec());
            node.hub
                .with(|state, now| state.core.remove_interest(&topic(&key), now));
            node.wait_until(|hub| two.connections() == before + 2 && subscribed(hub) == 3)
                .await;
        },
    )
    .await;
}

#[tokio::test]
async fn a_subscription_that_may_not_be_given_up_may_be_taken_away() {
    let two = Two::start().await;
    let (node, key) = (two.node(), Two::key(0));
    let other = Two::keys(0).nth(1).unwrap();
    node.join(&key);
    node.run_until_and(
        |hub| subscribed(hub) == 3,
        async |node| {
            let before = two.connections();
            two.answer_next("SUNSUBSCRIBE", b"-NOPERM not permitted\r\n".to_vec());
            node.hub
                .with(|state, now| state.core.remove_interest(&topic(&key), now));
            node.wait_until(|_| two.masters[0].orders("SUNSUBSCRIBE").len() == 1)
                .await;
            // Something that is answered after it.
            node.join(&other);
            node.wait_until(|hub| subscribed(hub) == 3).await;
            assert_eq!(two.connections(), before);
            two.take_away(&key).await;
            node.wait_until(|hub| two.connections() == before + 1 && subscribed(hub) == 3)
                .await;
        },
    )
    .await;
}

/// Lets five seconds of a paused clock pass, little by little.
async fn pass_five_seconds() {
    for _ in 0..100 {
        tokio::time::advance(std::time::Duration::from_millis(50)).await;
        for _ in 0..300 {
            yield_now().await;
        }
    }
}

#[tokio::test]
async fn while_a_master_is_gone_the_table_is_read_once_a_second() {
    let mut two = Two::start().await;
    let node = two.node();
    node.run_until_and(
        |hub| subscribed(hub) == 2,
        async |_| {
            let other = Fake::start(|_| None).await;
            drop(std::mem::replace(&mut two.masters[1], other));
            tokio::time::pause();
            // When it breaks it is read at once.
            pass_five_seconds().await;
            let before = two.masters[0].orders("CLUSTER").len();
            pass_five_seconds().await;
            let read = two.masters[0].orders("CLUSTER").len() - before;
            assert!((4..=6).contains(&read), "{read}");
        },
    )
    .await;
}

#[tokio::test]
async fn a_connection_that_breaks_each_time_is_not_made_without_a_pause() {
    let two = Two::start().await;
    let (node, key) = (two.node(), Two::key(0));
    node.run_until_and(
        |hub| subscribed(hub) == 2,
        async |node| {
            two.state.lock().unwrap().hangs_up = true;
            let before = two.connections();
            node.join(&key);
            tokio::time::pause();
            pass_five_seconds().await;
            // With those that read the table.
            let made = two.connections() - before;
            assert!((5..=25).contains(&made), "{made}");
        },
    )
    .await;
}
