//! A Redis cluster: what a line does with its masters.

use std::{
    collections::{HashSet, VecDeque},
    future::poll_fn,
    mem,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use super::{
    connect::Access,
    fault,
    holds::Holds,
    master::{Master, News},
    partitions::Partition,
    standing::MAKE,
    subscriber::Subscriber,
    table::Table,
    url::Server,
};
use crate::cluster::{
    backplane::{BackplaneError, Command},
    line::Line,
    topic::Topic,
};

mod publish;
mod subscribe;

/// The masters of a cluster, and which of them has which partition.
pub(super) struct Shards<'a> {
    access: &'a Access,
    seeds: &'a [Server],
    table: Table,
    masters: Vec<Master>,
    /// For each partition, which of the masters.
    owners: Vec<Option<usize>>,
    reading: Option<Reading>,
    /// When the table is read again.
    read_at: Instant,
    last_read: Instant,
    /// Somebody has said that the table is out of date.
    is_stale: bool,
    holds: Holds,
    /// Topics whose master cannot be reached.
    away: HashSet<Topic>,
    /// Subscribers in whose place there are others; until those have subscribed, they go on receiving.
    forsaken: VecDeque<(Instant, Box<Subscriber>)>,
    leaving: bool,
    warned: bool,
    error: BackplaneError,
}

type Reading = Pin<Box<dyn Future<Output = Result<Table, BackplaneError>> + Send>>;

enum Next {
    Command(Command),
    News(usize, News),
    Table(Result<Table, BackplaneError>),
    Tick,
    Left,
}

impl<'a> Shards<'a> {
    /// Connects to all masters that can be reached.
    pub(super) async fn connect(
        access: &'a Access,
        seeds: &'a [Server],
        line: &Line,
    ) -> Result<Self, BackplaneError> {
        let table = read(access.clone(), seeds.to_vec()).await?;
        let now = Instant::now();
        let mut shards = Self {
            access,
            seeds,
            table,
            masters: Vec::new(),
            owners: Vec::new(),
            reading: None,
            read_at: now + READ_AGAIN,
            last_read: now,
            is_stale: false,
            holds: Holds::default(),
            away: HashSet::new(),
            forsaken: VecDeque::new(),
            leaving: false,
            warned: false,
            error: BackplaneError::connect("no master of the cluster can be reached"),
        };
        shards.follow_table(line);
        while shards.masters.iter().any(Master::is_awaited) {
            let news = poll_fn(|cx| shards.poll_news(cx)).await;
            if let (_, News::Publishes(Err(error)) | News::Subscribes(Err(error))) = news {
                shards.error = error;
                shards.read_soon();
            }
        }
        shards.check()?;
        Ok(shards)
    }

    /// Serves the line until no master can be reached, or the node has left.
    pub(super) async fn serve(mut self, line: &mut Line) -> Result<(), BackplaneError> {
        line.connected();
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.next(line, &mut ticks).await {
                Next::Command(Command::Publish(first)) => self.publish(first, line).await,
                Next::Command(Command::Subscribe(topics)) => self.subscribe(topics, line).await,
                Next::Command(Command::Unsubscribe(topics)) => self.unsubscribe(topics).await,
                Next::Command(Command::Leave) => self.leaving = true,
                Next::News(master, news) => self.hear(master, news, line).await,
                Next::Table(table) => self.take_table(table, line).await,
                Next::Tick => self.tick(line).await,
                Next::Left => return Ok(()),
            }
            self.check()?;
        }
    }

    /// Reports whether there is any master to be of use.
    fn check(&self) -> Result<(), BackplaneError> {
        match self.masters.iter().all(Master::is_down) {
            true => Err(self.error.clone()),
            false => Ok(()),
        }
    }

    async fn next(&mut self, line: &mut Line, ticks: &mut Interval) -> Next {
        let mut command = pin!(line.next());
        let next = poll_fn(|cx| {
            if let Poll::Ready((master, news)) = self.poll_news(cx) {
                return Poll::Ready(Next::News(master, news));
            }
            if let Some(reading) = &mut self.reading
                && let Poll::Ready(table) = reading.as_mut().poll(cx)
            {
                self.reading = None;
                return Poll::Ready(Next::Table(table));
            }
            if ticks.poll_tick(cx).is_ready() {
                return Poll::Ready(Next::Tick);
            }
            if !self.leaving {
                return command.as_mut().poll(cx).map(Next::Command);
            }
            let is_idle = |master: &mut Master| {
                let publisher = master.publisher.up();
                publisher.is_none_or(|publisher| publisher.is_idle())
            };
            match self.holds.is_empty() && self.masters.iter_mut().all(is_idle) {
                true => Poll::Ready(Next::Left),
                false => Poll::Pending,
            }
        });
        next.await
    }

    fn poll_news(&mut self, cx: &mut std::task::Context<'_>) -> Poll<(usize, News)> {
        for (number, master) in self.masters.iter_mut().enumerate() {
            if let Poll::Ready(news) = master.poll(cx) {
                return Poll::Ready((number, news));
            }
        }
        Poll::Pending
    }

    async fn hear(&mut self, master: usize, news: News, line: &mut Line) {
        match news {
            News::Answered((publishes, Ok(answers))) => {
                self.answer(master, publishes, &answers, line);
            }
            News::Answered((publishes, Err(error))) => {
                self.unanswered(publishes);
                self.fail(error);
            }
            News::Subscribed(subscribed) => self.subscribed(master, subscribed, line),
            News::Publishes(made) => made.unwrap_or_else(|error| self.fail(error)),
            News::Subscribes(made) => {
                made.unwrap_or_else(|error| self.fail(error));
                self.fetch_back(line).await;
            }
            // The table was read when it began.
            News::StillDown(error) => self.error = error,
            News::Forsaken(subscriber) => self.forsake(master, subscriber, line),
        }
        self.send_held(line).await;
    }

    fn fail(&mut self, error: BackplaneError) {
        self.error = error;
        self.read_soon();
    }

    /// Has the table read as soon as may be: something says that it is out of date.
    fn read_soon(&mut self) {
        self.is_stale = true;
        self.read_at = self.read_at.min(self.last_read + READ_PAUSE);
        self.begin_to_read();
    }

    fn begin_to_read(&mut self) {
        let now = Instant::now();
        if self.reading.is_some() || self.read_at > now {
            return;
        }
        self.last_read = now;
        self.read_at = now + READ_AGAIN;
        let (up, down): (Vec<_>, Vec<_>) = self.masters.iter().partition(|master| master.is_up());
        let masters = up.into_iter().chain(down).map(|master| &master.server);
        let servers = masters.chain(self.seeds).cloned().collect();
        self.reading = Some(Box::pin(read(self.access.clone(), servers)));
    }

    async fn take_table(&mut self, table: Result<Table, BackplaneError>, line: &mut Line) {
        self.is_stale = false;
        match table {
            Ok(table) => {
                for partition in Partition::all() {
                    if self.table.owner(partition) != table.owner(partition) {
                        self.holds.moves(partition);
                    }
                }
                self.table = table;
                self.follow_table(line);
                self.leave_moved(line);
            }
            Err(error) => self.error = error,
        }
        let is_whole = self.masters.iter().all(Master::is_up) && !self.owners.contains(&None);
        let pause = if is_whole { READ_AGAIN } else { READ_BROKEN };
        self.read_at = self.last_read + pause;
        self.fetch_back(line).await;
        self.send_held(line).await;
    }

    /// Connects to masters that are new, and forgets those that are none any more.
    fn follow_table(&mut self, line: &Line) {
        for server in self.table.masters() {
            if !self.masters.iter().any(|master| master.server == *server) {
                let (server, access) = (server.clone(), self.access.clone());
                self.masters.push(Master::new(server, access, line.inlet()));
            }
        }
        self.find_owners();
    }

    fn find_owners(&mut self) {
        let number = |partition| {
            let owner = self.table.owner(partition)?;
            self.masters
                .iter()
                .position(|master| master.server == *owner)
        };
        self.owners = Partition::all().map(number).collect();
    }

    fn owner(&self, partition: Partition) -> Option<usize> {
        self.owners[partition.index()]
    }

    async fn tick(&mut self, line: &mut Line) {
        for number in 0..self.masters.len() {
            if let Some(news) = self.masters[number].tick().await {
                self.hear(number, news, line).await;
            }
        }
        self.forget_former();
        let forsaken = &mut self.forsaken;
        while forsaken
            .front()
            .is_some_and(|(since, _)| since.elapsed() >= FORSAKEN)
        {
            forsaken.pop_front();
        }
        self.begin_to_read();
    }

    /// Drops masters that have no partitions any more, once they have answered all.
    fn forget_former(&mut self) {
        let table = &self.table;
        let before = self.masters.len();
        self.masters.retain_mut(|master| {
            let is_idle = master
                .publisher
                .up()
                .is_none_or(|publisher| publisher.is_idle());
            table.masters().contains(&master.server) || !is_idle
        });
        if self.masters.len() != before {
            self.find_owners();
        }
    }
}

/// Reads the table from the first of these servers that has it.
async fn read(access: Access, servers: Vec<Server>) -> Result<Table, BackplaneError> {
    let mut last = BackplaneError::connect("there is no server of the cluster");
    for server in &servers {
        last = match timeout(MAKE, Table::read(&access, server)).await {
            Ok(Ok(table)) => return Ok(table),
            Ok(Err(error)) => error,
            Err(_) => BackplaneError::connect(fault::said(server, "it does not say who has what")),
        };
    }
    Err(last)
}

/// How often the deadlines are looked at.
const TICK: Duration = Duration::from_millis(250);

/// How often they are asked, at least, while nothing is missing.
const READ_AGAIN: Duration = Duration::from_secs(60);

/// How often, while something is.
const READ_BROKEN: Duration = Duration::from_secs(1);

/// How often at most, whatever servers say.
const READ_PAUSE: Duration = Duration::from_millis(100);

/// How long a subscriber goes on to receive that is of no other use.
const FORSAKEN: Duration = Duration::from_secs(3);
