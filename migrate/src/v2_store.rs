//! Members in the form of etcd's second API: a tree of JSON in raft's `.snap` files.
//!
//! Until 3.5 that tree is where an etcd member learns who its cluster is; later ones write it still.
//! Keys of the second API itself are in the same tree, under `/1`.

use serde_json::{Map, Value, json};

use cairn_replica::membership::Member;

/// How many events the tree's history has room for; etcd's number, which its files must show.
const HISTORY_ROOM: usize = 1000;

/// What a tree says about a cluster.
#[derive(Debug, Default)]
pub(crate) struct V2Members {
    pub(crate) members: Vec<Member>,
    pub(crate) removed: Vec<u64>,
    /// How many keys there are of the second API.
    pub(crate) keys: usize,
}

/// Reads a tree.
pub(crate) fn read(data: &[u8]) -> Result<V2Members, String> {
    let tree: Value = serde_json::from_slice(data).map_err(|error| error.to_string())?;
    let mut found = V2Members::default();
    for (name, node) in children(&tree, "/Root/Children/0/Children/members/Children") {
        found.members.push(member(name, node)?);
    }
    for (name, _) in children(&tree, "/Root/Children/0/Children/removed_members/Children") {
        found.removed.push(id(name)?);
    }
    found.keys = children(&tree, "/Root/Children/1/Children").count();
    Ok(found)
}

fn children<'a>(tree: &'a Value, at: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let found = tree.pointer(at).and_then(Value::as_object);
    found.into_iter().flatten()
}

fn id(name: &str) -> Result<u64, String> {
    u64::from_str_radix(name, 16).map_err(|_| format!("{name} is no member's ID"))
}

/// A member's attributes are values that are JSON themselves.
fn member(name: &str, node: &Value) -> Result<Member, String> {
    let mut fields = Map::new();
    fields.insert("id".to_owned(), json!(id(name)?));
    for attributes in ["raftAttributes", "attributes"] {
        let value = node.pointer(&format!("/Children/{attributes}/Value"));
        let Some(text) = value.and_then(Value::as_str) else {
            continue;
        };
        let parsed: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| format!("member {name}: {error}"))?;
        // Go writes an empty list as null.
        fields.extend(parsed.into_iter().filter(|(_, value)| !value.is_null()));
    }
    serde_json::from_value(Value::Object(fields)).map_err(|error| format!("member {name}: {error}"))
}

/// The tree of a cluster.
pub(crate) fn write<'a>(
    members: impl Iterator<Item = &'a Member>,
    removed: impl Iterator<Item = u64>,
    version: &str,
) -> Vec<u8> {
    let members = members.map(|it| (it.id.to_string(), member_node(it)));
    let removed = removed.map(|id| {
        let id = format!("{id:x}");
        let node = file(&format!("/0/removed_members/{id}"), "removed");
        (id, node)
    });
    let cluster = [
        ("members", directory("/0/members", members.collect())),
        (
            "removed_members",
            directory("/0/removed_members", removed.collect()),
        ),
        ("version", file("/0/version", version)),
    ];
    let cluster = cluster.map(|(name, node)| (name.to_owned(), node));
    let root = [
        ("0", directory("/0", cluster.into_iter().collect())),
        ("1", directory("/1", Map::new())),
    ];
    let root = root.map(|(name, node)| (name.to_owned(), node));
    let tree = json!({
        "Root": directory("/", root.into_iter().collect()),
        "WatcherHub": {"EventHistory": {
            "Queue": {
                "Events": vec![Value::Null; HISTORY_ROOM],
                "Size": 0, "Front": 0, "Back": 0, "Capacity": HISTORY_ROOM,
            },
            "StartIndex": 0, "LastIndex": 0,
        }},
        "CurrentIndex": 1,
        "Stats": {},
        "CurrentVersion": 2,
    });
    tree.to_string().into_bytes()
}

fn member_node(member: &Member) -> Value {
    let path = format!("/0/members/{}", member.id);
    let raft = if member.is_learner {
        json!({"peerURLs": member.peer_urls, "isLearner": true})
    } else {
        json!({"peerURLs": member.peer_urls})
    };
    let mut children = Map::new();
    children.insert(
        "raftAttributes".to_owned(),
        file(&format!("{path}/raftAttributes"), &raft.to_string()),
    );
    // A member that has not started has none.
    if !member.name.is_empty() {
        let attributes = json!({"name": member.name, "clientURLs": member.client_urls});
        children.insert(
            "attributes".to_owned(),
            file(&format!("{path}/attributes"), &attributes.to_string()),
        );
    }
    directory(&path, children)
}

fn directory(path: &str, children: Map<String, Value>) -> Value {
    node(path, "", &Value::Object(children))
}

fn file(path: &str, value: &str) -> Value {
    node(path, value, &Value::Null)
}

fn node(path: &str, value: &str, children: &Value) -> Value {
    json!({
        "Path": path, "CreatedIndex": 1, "ModifiedIndex": 1,
        "ExpireTime": "0001-01-01T00:00:00Z", "Value": value, "Children": children,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_consensus::MemberId;

    #[test]
    fn members_are_read_as_they_were_written() {
        let members = [
            Member {
                id: MemberId::from_wire(0x00a8_f345_8387_986d).unwrap(),
                peer_urls: vec!["http://a:1".to_owned()],
                is_learner: false,
                name: "a".to_owned(),
                client_urls: vec!["http://a:2".to_owned()],
            },
            Member {
                id: MemberId::from_wire(9).unwrap(),
                peer_urls: vec!["http://b:1".to_owned()],
                is_learner: true,
                name: String::new(),
                client_urls: Vec::new(),
            },
        ];
        let tree = write(members.iter(), [0xabc].into_iter(), "3.7.0");
        let found = read(&tree).unwrap();
        assert_eq!(found.members.len(), 2);
        assert!(members.iter().all(|it| found.members.contains(it)));
        assert_eq!(found.removed, [0xabc]);
        assert_eq!(found.keys, 0);
    }

    #[test]
    fn what_is_no_tree_is_an_error() {
        assert!(read(b"{").is_err());
        let odd =
            br#"{"Root":{"Children":{"0":{"Children":{"members":{"Children":{"xyz":{}}}}}}}}"#;
        assert!(read(odd).is_err());
    }
}
