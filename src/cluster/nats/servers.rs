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
    /// The place of the next one to try, of those that were given.
    next: usize,
    /// The place of the next one to try, of those that were named.
    next_named: usize,
}

impl Servers {
    /// Takes the servers that were given; `chance` says which is tried first.
    pub(super) fn new(servers: Vec<Server>, chance: u32) -> Self {
        Self(Lock::new(List {
            given: servers.len(),
            next: chance as usize % servers.len().max(1),
            next_named: servers.len(),
            servers,
        }))
    }

    /// Returns all of them, in the order in which to try them: those that were given first, as those that were
    /// named may be where nothing is from here, and each would take 5 seconds.
    pub(super) fn in_turn(&self) -> Vec<Server> {
        let list = self.0.lock();
        let (given, named) = list.servers.split_at(list.given);
        let (given_before, given) = given.split_at(list.next);
        let (named_before, named) = named.split_at(list.next_named - list.given);
        [given, given_before, named, named_before].concat()
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
        list.next_named = given;
        let place = list.place(server);
        list.go_to(place);
    }

    /// Notes that the connection to `server` is gone: the one behind it is tried first.
    pub(super) fn lost(&self, server: &Server) {
        let mut list = self.0.lock();
        let next = list.place(server) + 1;
        if next == list.given {
            list.next = 0;
        } else if next == list.servers.len() {
            list.next_named = list.given;
        } else {
            list.go_to(next);
        }
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

    /// Has the server at this place tried first, of those that were given or of those that were named.
    fn go_to(&mut self, place: usize) {
        if place < self.given {
            self.next = place;
        } else {
            self.next_named = place;
        }
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
        let b = servers.in_turn().remove(1);
        assert_eq!(b.login, a.login);
        servers.connected(&b, &["c:1".into()]);
        assert_eq!(order(&servers), ["a:4222", "b:1", "c:1"]);
        servers.lost(&b);
        assert_eq!(order(&servers), ["a:4222", "c:1", "b:1"]);
        let c = servers.in_turn().remove(1);
        servers.lost(&c);
        assert_eq!(order(&servers), ["a:4222", "b:1", "c:1"]);
    }

    #[test]
    fn given_servers_are_tried_before_named_ones() {
        let servers = servers("a,b", 1);
        let b = servers.in_turn().remove(0);
        servers.connected(&b, &["c:1".into(), "d:1".into()]);
        servers.lost(&b);
        assert_eq!(order(&servers), ["a:4222", "b:4222", "c:1", "d:1"]);
        let [a, _, _, d]: [Server; 4] = servers.in_turn().try_into().unwrap();
        servers.connected(&a, &["c:1".into(), "d:1".into()]);
        servers.lost(&a);
        assert_eq!(order(&servers), ["b:4222", "a:4222", "c:1", "d:1"]);
        servers.connected(&d, &[]);
        servers.lost(&d);
        assert_eq!(order(&servers), ["b:4222", "a:4222", "d:1"]);
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
