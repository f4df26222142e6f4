//! What waits for the lock of a member.

use std::{sync::mpsc, thread, time::Duration};

use super::*;
use crate::{config::Config, groups::handle::Groups, testing};

#[tokio::test]
async fn what_may_be_dropped_needs_no_lock_where_the_group_keeps_nothing() {
    let groups: Groups<u8> = Groups::new();
    let (_client, server) = testing::pair(Config::default());
    let membership = groups.join(0, &server.sender()).expect("it is open");
    let held = membership.member().lock();
    let member = membership.member().clone();
    let (said, heard) = mpsc::channel();
    thread::spawn(move || {
        let mut delivery = Delivery::default();
        member.deliver_droppable(&PreparedMessage::new("typing"), 0, &mut delivery);
        said.send(delivery.sent)
    });
    assert_eq!(heard.recv_timeout(Duration::from_secs(10)), Ok(1));
    drop(held);
}
