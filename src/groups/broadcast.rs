//! What a broadcast does, in the turn that it has.

use std::{mem, sync::Arc};

use tokio::task::yield_now;

use super::{content::Content, delivery::Delivery, group::Group, key::Key, unwoken::Unwoken};
use crate::{protocol::CloseFrame, session::Sender};

impl<K: Key> Group<K> {
    /// Brings something to all members but one. Only in the [turn](Group::turn) of the caller.
    pub(super) async fn bring(
        self: &Arc<Self>,
        content: &Content,
        except: Option<usize>,
    ) -> Delivery {
        let broadcast = match content {
            Content::Message(broadcast) => broadcast,
            Content::Close(frame) => return self.close(frame, except).await,
        };
        let message = &broadcast.message;
        let mut delivery = Delivery::default();
        let (mut numbers, first) = self.begin(except);
        if let Some(first) = first {
            // Not under the lock.
            first.sender().prepare(message);
        }
        let (mut sessions, mut odd) = (Unwoken::default(), Vec::new());
        loop {
            let (mut stretch, mut done) = (Delivery::default(), Vec::new());
            if broadcast.droppable.is_some() {
                self.take_some(&mut numbers, except, &mut odd);
            } else {
                stretch.sent = self.deliver(&mut numbers, message, except, &mut sessions, &mut odd);
            }
            for member in &odd {
                let session = match broadcast.droppable {
                    Some(queued) => member.deliver_droppable(message, queued, &mut stretch),
                    None => member.deliver(message, &mut stretch, &mut done),
                };
                if let Some(session) = session {
                    sessions.add(member.sender().clone(), session.runtime.as_ref());
                }
            }
            self.wake_later(&mut sessions);
            // At once, since the broadcast may be cancelled.
            self.home.totals().add(stretch);
            delivery.add(stretch);
            // Last, since it may panic.
            drop(done);
            odd.clear();
            if numbers.is_empty() {
                break;
            }
            yield_now().await;
        }
        delivery
    }

    /// Says farewell to all members here and elsewhere, for a connection that has `left`.
    pub(super) async fn say(self: Arc<Self>, content: Content, left: Sender) {
        let _turn = self.turn().await;
        if let Some(there) = &self.elsewhere {
            there.tell(&content, &mut Delivery::default());
        }
        // It may have joined again.
        self.bring(&content, Some(left.key())).await;
    }

    async fn close(self: &Arc<Self>, frame: &CloseFrame, except: Option<usize>) -> Delivery {
        let mut delivery = Delivery::default();
        let (mut numbers, _) = self.begin(except);
        let mut members = Vec::new();
        loop {
            self.take_some(&mut numbers, except, &mut members);
            let closed = members.len() as u64;
            for member in mem::take(&mut members) {
                member.sender().close(frame.clone());
                drop(member.leave());
            }
            let stretch = Delivery {
                closed,
                ..Delivery::default()
            };
            self.home.totals().add(stretch);
            delivery.add(stretch);
            if numbers.is_empty() {
                return delivery;
            }
            yield_now().await;
        }
    }
}
