//! Which server of a Redis cluster has which partition.

use ::redis::{AsyncConnectionConfig, Cmd, ProtocolVersion, Value};

use super::{
    connect::{Access, text},
    fault,
    partitions::Partition,
    url::Server,
};
use crate::cluster::backplane::BackplaneError;

/// The master of each partition, as far as there is one.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Table {
    masters: Vec<Server>,
    /// For each partition, which of them.
    owners: Vec<Option<usize>>,
}

impl Table {
    /// Asks a server of the cluster.
    pub(super) async fn read(access: &Access, from: &Server) -> Result<Self, BackplaneError> {
        let config = AsyncConnectionConfig::new();
        let mut connection = access.connect(from, config, ProtocolVersion::RESP3).await?;
        let mut command = Cmd::new();
        command.arg("CLUSTER").arg("SHARDS");
        let answer = connection.ask(from, &command).await?;
        Self::parse(&answer, from).ok_or_else(|| {
            let words = "it has no cluster of Redis 7.0 or later, or nobody has its slots";
            BackplaneError::unsupported(fault::said(from, words))
        })
    }

    /// Reads the answer to `CLUSTER SHARDS`; `None` if there is no master in it.
    fn parse(answer: &Value, from: &Server) -> Option<Self> {
        let mut table = Self {
            masters: Vec::new(),
            owners: vec![None; Partition::all().count()],
        };
        for shard in items(answer)? {
            if let Some(master) = master(shard, from) {
                table.add(master, &ranges(shard));
            }
        }
        (!table.masters.is_empty()).then_some(table)
    }

    fn add(&mut self, master: Server, ranges: &[(u16, u16)]) {
        let has = |partition: &Partition| {
            let slot = partition.slot();
            ranges
                .iter()
                .any(|&(first, last)| first <= slot && slot <= last)
        };
        let mut partitions = Partition::all().filter(has).peekable();
        if partitions.peek().is_none() {
            return;
        }
        let number = self.masters.len();
        self.masters.push(master);
        for partition in partitions {
            self.owners[partition.index()] = Some(number);
        }
    }

    /// Returns the master of a partition.
    pub(super) fn owner(&self, partition: Partition) -> Option<&Server> {
        let number = *self.owners.get(partition.index())?;
        self.masters.get(number?)
    }

    /// Returns all masters that have partitions.
    pub(super) fn masters(&self) -> &[Server] {
        &self.masters
    }
}

/// Returns the master of a shard, if there is one that is not known to have failed.
fn master(shard: &Value, from: &Server) -> Option<Server> {
    let nodes = items(field(shard, "nodes")?)?;
    let is_master = |node: &&Value| {
        let is = |name, expected: &[u8]| field(node, name).and_then(text) == Some(expected);
        is("role", b"master") && !is("health", b"fail")
    };
    let node = nodes.iter().find(is_master)?;
    let named = |name| {
        field(node, name)
            .and_then(text)
            .filter(|host| is_host(host))
    };
    let host = match field(node, "endpoint") {
        // Behind something that knows the servers by their ports.
        Some(Value::Nil) => None,
        _ => named("endpoint").or_else(|| named("ip")),
    };
    let host = host.map_or(Some(&*from.host), |host| str::from_utf8(host).ok())?;
    let port = match field(node, if from.tls { "tls-port" } else { "port" })? {
        Value::Int(port) => u16::try_from(*port).ok()?,
        _ => return None,
    };
    Some(Server {
        host: host.into(),
        port,
        tls: from.tls,
    })
}

/// Reports whether it is a host: a server that does not know its own says nothing, or `?`.
fn is_host(host: &[u8]) -> bool {
    !host.is_empty() && host != b"?"
}

fn ranges(shard: &Value) -> Vec<(u16, u16)> {
    let slots = field(shard, "slots").and_then(items).unwrap_or_default();
    let slot = |value: &Value| match value {
        Value::Int(slot) => u16::try_from(*slot).ok(),
        _ => None,
    };
    let (pairs, _) = slots.as_chunks::<2>();
    let pairs = pairs
        .iter()
        .map(|[first, last]| Some((slot(first)?, slot(last)?)));
    pairs.flatten().collect()
}

fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    match map {
        Value::Map(fields) => {
            let field = fields
                .iter()
                .find(|(key, _)| text(key) == Some(name.as_bytes()));
            field.map(|(_, value)| value)
        }
        // As a proxy may send it.
        Value::Array(items) => {
            let (fields, _) = items.as_chunks::<2>();
            let field = fields
                .iter()
                .find(|[key, _]| text(key) == Some(name.as_bytes()));
            field.map(|[_, value]| value)
        }
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test panics")]
mod tests {
    use super::*;

    fn string(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn map(fields: &[(&str, Value)]) -> Value {
        Value::Map(
            fields
                .iter()
                .map(|(name, value)| (string(name), value.clone()))
                .collect(),
        )
    }

    fn node(endpoint: Value, port: i64, role: &str, health: &str) -> Value {
        map(&[
            ("id", string("0f")),
            ("port", Value::Int(port)),
            ("tls-port", Value::Int(port + 1000)),
            ("ip", string("10.0.0.1")),
            ("endpoint", endpoint),
            ("role", string(role)),
            ("replication-offset", Value::Int(0)),
            ("health", string(health)),
        ])
    }

    fn shard(slots: &[i64], nodes: Vec<Value>) -> Value {
        let slots = slots.iter().copied().map(Value::Int).collect();
        map(&[
            ("slots", Value::Array(slots)),
            ("nodes", Value::Array(nodes)),
        ])
    }

    fn seed(tls: bool) -> Server {
        Server {
            host: "seed".into(),
            port: 1,
            tls,
        }
    }

    fn owner(table: &Table, partition: usize) -> String {
        let partition = Partition::all().nth(partition).unwrap();
        table
            .owner(partition)
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    #[test]
    fn each_partition_belongs_to_the_master_of_its_slot() {
        let answer = Value::Array(vec![
            shard(
                &[0, 8191, 16_000, 16_383],
                vec![
                    node(string("a"), 1, "replica", "online"),
                    node(string("b"), 2, "master", "online"),
                ],
            ),
            shard(
                &[8192, 12_000],
                vec![
                    node(string("c"), 3, "master", "fail"),
                    node(string("d"), 4, "master", "online"),
                ],
            ),
            // One without slots, and one without a master.
            shard(&[], vec![node(string("e"), 5, "master", "online")]),
            shard(
                &[12_001, 12_200],
                vec![node(string("f"), 6, "master", "fail")],
            ),
        ]);
        let table = Table::parse(&answer, &seed(false)).unwrap();
        assert_eq!(owner(&table, 0), "b:2");
        assert_eq!(owner(&table, 127), "b:2");
        assert_eq!(owner(&table, 128), "d:4");
        assert_eq!(owner(&table, 189), "");
        assert_eq!(owner(&table, 200), "", "nobody has it");
        assert_eq!(owner(&table, 255), "b:2");
        let masters: Vec<_> = table.masters().iter().map(ToString::to_string).collect();
        assert_eq!(masters, ["b:2", "d:4"]);
    }

    #[test]
    fn a_server_that_does_not_know_its_name_is_where_it_was_asked() {
        for (endpoint, ip, expected) in [
            (string("name"), string("10.0.0.1"), "name:2"),
            (Value::Nil, string("10.0.0.1"), "seed:2"),
            (string("?"), string("10.0.0.1"), "10.0.0.1:2"),
            (string("?"), string(""), "seed:2"),
            (string(""), Value::Nil, "seed:2"),
        ] {
            let node = map(&[
                ("port", Value::Int(2)),
                ("ip", ip),
                ("endpoint", endpoint),
                ("role", string("master")),
                ("health", string("online")),
            ]);
            let answer = Value::Array(vec![shard(&[0, 16_383], vec![node])]);
            let table = Table::parse(&answer, &seed(false)).unwrap();
            assert_eq!(owner(&table, 9), expected);
        }
    }

    #[test]
    fn with_tls_it_is_the_port_for_tls() {
        let master = node(string("a"), 1, "master", "online");
        let answer = Value::Array(vec![shard(&[0, 16_383], vec![master])]);
        let table = Table::parse(&answer, &seed(true)).unwrap();
        assert_eq!(owner(&table, 0), "a:1001");
    }

    #[test]
    fn lists_in_place_of_maps_say_the_same() {
        let flat = |value: &Value| match value {
            Value::Map(fields) => Value::Array(
                fields
                    .iter()
                    .flat_map(|(key, value)| [key.clone(), value.clone()])
                    .collect(),
            ),
            value => value.clone(),
        };
        let master = flat(&node(string("a"), 1, "master", "online"));
        let answer = Value::Array(vec![flat(&shard(&[0, 16_383], vec![master]))]);
        assert_eq!(
            owner(&Table::parse(&answer, &seed(false)).unwrap(), 0),
            "a:1"
        );
    }

    #[test]
    fn an_answer_without_masters_is_no_table() {
        for answer in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1), Value::Nil]),
            Value::Array(vec![map(&[("slots", Value::Nil)])]),
            Value::Array(vec![shard(
                &[0],
                vec![node(string("a"), 1, "master", "online")],
            )]),
            Value::Array(vec![shard(
                &[0, 99],
                vec![node(string("a"), 70_000, "master", "online")],
            )]),
        ] {
            assert_eq!(Table::parse(&answer, &seed(false)), None, "{answer:?}");
        }
    }
}
