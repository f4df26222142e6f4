//! Publishing to the masters of a cluster, in order for each partition.

use ::redis::Value;

use super::{Partition, Shards};
use crate::cluster::{
    backplane::{Command, Publish},
    line::Line,
    redis::{
        fault,
        publisher::{Batch, publish_sharded},
        standing::Standing,
    },
};

impl Shards<'_> {
    /// Publishes the whole of a batch, to each master its part.
    pub(super) async fn publish(&mut self, first: Publish, line: &mut Line) {
        let mut publishes = vec![first];
        while let Some(Command::Publish(publish)) = line.try_next() {
            publishes.push(publish);
        }
        self.send(publishes, line).await;
    }

    /// Sends again what was kept, as far as its partition has a place to go to.
    pub(super) async fn send_held(&mut self, line: &mut Line) {
        if self.is_stale {
            return;
        }
        let (owners, masters) = (&self.owners, &self.masters);
        let has_place = |partition: Partition| {
            let owner = owners[partition.index()];
            !owner.is_some_and(|owner| masters[owner].publisher.is_awaited())
        };
        let publishes = self.holds.take(has_place);
        self.send(publishes, line).await;
    }

    async fn send(&mut self, publishes: Vec<Publish>, line: &mut Line) {
        let mut batches: Vec<_> = self
            .masters
            .iter()
            .map(|_| Batch::new(publish_sharded))
            .collect();
        for publish in publishes {
            let partition = Partition::of(publish.topic().as_bytes());
            let owner = self.owner(partition);
            match owner.map(|owner| (owner, &self.masters[owner].publisher)) {
                _ if self.holds.is_held(partition) => self.holds.hold(publish),
                Some((owner, Standing::Up(..))) => {
                    self.holds.sent(partition);
                    batches[owner].push(publish);
                }
                Some((_, Standing::Awaited(_))) => self.holds.hold(publish),
                Some((_, Standing::Down { .. })) | None => {
                    line.published(publish.ticket(), Err(self.error.clone()));
                }
            }
        }
        for (master, batch) in self.masters.iter_mut().zip(batches) {
            if let Some(publisher) = master.publisher.up()
                && !batch.is_empty()
            {
                publisher.send(batch).await;
            }
        }
    }

    pub(super) fn answer(
        &mut self,
        master: usize,
        publishes: Vec<Publish>,
        answers: &[Value],
        line: &mut Line,
    ) {
        for (publish, answer) in publishes.into_iter().zip(answers) {
            self.holds
                .answered(Partition::of(publish.topic().as_bytes()));
            let result = match answer {
                Value::ServerError(error) if fault::is_moved(error) => {
                    self.holds.hold(publish);
                    self.read_soon();
                    continue;
                }
                Value::ServerError(error) => {
                    self.warn(master, "publish", error);
                    Err(fault::refused(&self.masters[master].server, error))
                }
                _ => Ok(()),
            };
            line.published(publish.ticket(), result);
        }
    }

    /// Keeps what was sent on a connection that broke.
    pub(super) fn unanswered(&mut self, publishes: Vec<Publish>) {
        for publish in publishes {
            self.holds
                .answered(Partition::of(publish.topic().as_bytes()));
            self.holds.hold(publish);
        }
    }
}
