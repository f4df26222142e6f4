//! Which servers there are, and which is tried next.

use super::url::Server;
use crate::lock::Lock;

/// The servers that were given, and those that they named.
#[derive(Debug)]
pub(super) struct Servers(Lock<List>);

#[derive(Debug)]
struct List {
    servers: Vec<Server>,
    /// How many of them were given.
    given: usize,
    /// The place of the next one to try.
    next: usize,
}

impl Servers {
    /// Takes the servers that were given; `chance` says which is tried first.
    pub(super) fn new(servers: Vec<Server>, chance: u32) -> Self {
        Self(Lock::new(List {
            given: servers.len(),
            next: chance as usize % servers.len().max(1),
            servers,
        }))
    }

    /// Returns all of them, in the order in which to try them.
    pub(super) fn in_turn(&self) -> Vec<Server> {
        let list = self.0.lock();
        let (before, from_next) = list.servers.split_at(list.next);
        [from_next, before].concat()
    }

    /// Notes that there is a connection to `server`, which named others: they are tried, too, until one
    /// names others again.
    pub(super) fn connected(&self, server: &Server, named: &[String]) {
        let named = named.iter().filter_map(|url| server.named(url));
        let mut list = self.0.lock();
        let given = list.given;
        // The one that is connected to, as the next one is found by it.
        let mut servers = list.servers[..given].to_vec();
        for named in [server.clone()].into_iter().chain(named).take(MOST) {
            if !servers.iter().any(|known| known.address == named.address) {
                servers.push(named);
            }
        }
        list.servers = servers;
        list.next = list.place(server);
    }

    /// Notes that the connection to `server` is gone: the one behind it is tried first.
    pub(super) fn lost(&self, server: &Server) {
        let mut list = self.0.lock();
        list.next = (list.place(server) + 1) % list.servers.len();
    }

    /// Reports whether there are others than one.
    pub(super) fn has_others(&self) -> bool {
        self.0.lock().servers.len() > 1
    }
}

impl List {
    fn place(&self, server: &Server) -> usize {
        let mut servers = self.servers.iter();
        let place = servers.position(|known| known.address == server.address);
        place.unwrap_or(0)
    }
}

/// How many servers a server can name.
const MOST: usize = 64;

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn servers(urls: &str, chance: u32) -> Servers {
        Servers::new(Server::parse_all(urls).unwrap(), chance)
    }

    fn order(servers: &Servers) -> Vec<String> {
        let order = servers.in_turn();
        order.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_server_is_tried_beginning_with_any() {
        assert_eq!(order(&servers("a,b,c", 0)), ["a:4222", "b:4222", "c:4222"]);
        assert_eq!(order(&servers("a,b,c", 5)), ["c:4222", "a:4222", "b:4222"]);
        assert_eq!(order(&servers("a", u32::MAX)), ["a:4222"]);
    }

    #[test]
    fn after_a_break_the_server_behind_it_is_first() {
        let servers = servers("a,b,c", 0);
        let [_, b, c] = servers.in_turn().try_into().unwrap();
        servers.connected(&b, &[]);
        assert_eq!(order(&servers)[0], "b:4222");
        servers.lost(&b);
        assert_eq!(order(&servers)[0], "c:4222");
        servers.lost(&c);
        assert_eq!(order(&servers)[0], "a:4222");
    }

    #[test]
    fn named_servers_are_kept_until_others_are_named() {
        let servers = servers("u:p@a", 0);
        assert!(!servers.has_others());
        let a = servers.in_turn().remove(0);
        servers.connected(&a, &["b:1".into(), "a:4222".into(), "not a host".into()]);
        assert_eq!(order(&servers), ["a:4222", "b:1"]);
        assert!(servers.has_others());
        servers.lost(&a);
        let b = servers.in_turn().remove(0);
        assert_eq!(b.login, a.login);
        servers.connected(&b, &["c:1".into()]);
        assert_eq!(order(&servers), ["b:1", "c:1", "a:4222"]);
        servers.lost(&b);
        assert_eq!(order(&servers), ["c:1", "a:4222", "b:1"]);
    }

    #[test]
    fn no_more_servers_are_kept_than_64_besides_those_given() {
        let servers = servers("a", 0);
        let a = servers.in_turn().remove(0);
        let named: Vec<_> = (1..=1000).map(|port| format!("b:{port}")).collect();
        servers.connected(&a, &named);
        assert!(servers.in_turn().len() <= 1 + MOST);
    }
}
