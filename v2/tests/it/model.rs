//! A naive tree: nodes that hold their children, a list of all events, and watchers that look at
//! every one.

use std::collections::BTreeMap;

use bytes::Bytes;
use cairn_v2::{
    Action, Compare, Error, ErrorKind, Event, NodePath, Operation, Shown, Timestamp, Watch,
};

#[derive(Clone, Debug)]
pub(crate) struct ModelNode {
    /// What is in it, if it is a directory.
    children: Option<BTreeMap<String, Self>>,
    value: Bytes,
    expiration: Option<i64>,
    created: u64,
    modified: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct ModelEvent {
    pub(crate) event: Event,
    /// The nodes that went with it.
    removed: Vec<String>,
}

/// A watcher, and what it has got.
#[derive(Clone, Debug)]
pub(crate) struct ModelWatcher {
    pub(crate) watch: Watch,
    pub(crate) got: Vec<Event>,
    pub(crate) ended: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// What is in `/1`.
    root: ModelNode,
    pub(crate) index: u64,
    pub(crate) events: Vec<ModelEvent>,
    pub(crate) watchers: Vec<ModelWatcher>,
}

type Names<'a> = Vec<&'a str>;

/// The names of a path below `/1`.
fn names(path: &NodePath) -> Names<'_> {
    let text = std::str::from_utf8(path.as_bytes()).unwrap();
    let below = text.strip_prefix("/1").unwrap();
    below.split('/').skip(1).collect()
}

fn path_of(names: &[&str]) -> NodePath {
    NodePath::parse(format!("/1/{}", names.join("/")).as_bytes()).unwrap()
}

fn directory(at: u64) -> ModelNode {
    ModelNode {
        children: Some(BTreeMap::new()),
        value: Bytes::new(),
        expiration: None,
        created: at,
        modified: at,
    }
}

impl ModelNode {
    fn shown(&self, path: &NodePath) -> Shown {
        Shown {
            path: path.clone(),
            value: self.children.is_none().then(|| self.value.clone()),
            dir: self.children.is_some(),
            expiration: self.expiration.map(Timestamp::from_nanos),
            nodes: Vec::new(),
            modified: self.modified,
            created: self.created,
        }
    }

    fn listed(&self, path: &NodePath, depth: usize) -> Shown {
        let mut shown = self.shown(path);
        if depth > 0 {
            let children = self.children.iter().flatten();
            let seen = children.filter(|(name, _)| !name.starts_with('_'));
            shown.nodes = seen
                .map(|(name, child)| child.listed(&path.child(name.as_bytes()).unwrap(), depth - 1))
                .collect();
        }
        shown
    }

    /// The paths of all that is below, and of the node.
    fn all(&self, path: &str) -> Vec<String> {
        let mut found = vec![path.to_owned()];
        for (name, child) in self.children.iter().flatten() {
            found.extend(child.all(&format!("{path}/{name}")));
        }
        found
    }

    fn expired(&self, path: &str, now: i64) -> Vec<(i64, String)> {
        let own = self.expiration.filter(|time| *time <= now);
        let mut found: Vec<(i64, String)> = own
            .map(|time| (time, path.to_owned()))
            .into_iter()
            .collect();
        for (name, child) in self.children.iter().flatten() {
            found.extend(child.expired(&format!("{path}/{name}"), now));
        }
        found
    }
}

impl Model {
    pub(crate) fn new() -> Self {
        Self {
            root: ModelNode {
                created: 0,
                modified: 0,
                ..directory(0)
            },
            index: 1,
            events: Vec::new(),
            watchers: Vec::new(),
        }
    }

    fn refuse(&self, kind: ErrorKind, cause: impl Into<Bytes>) -> Error {
        kind.about(cause, self.index)
    }

    /// Walks down, and says where it cannot go on.
    fn walk(&self, names: &[&str]) -> Result<&ModelNode, Error> {
        let mut node = &self.root;
        for (depth, name) in names.iter().enumerate() {
            let Some(children) = &node.children else {
                let at = path_of(&names[..depth]).shown();
                return Err(self.refuse(ErrorKind::NotDirectory, at));
            };
            let Some(child) = children.get(*name) else {
                let at = path_of(&names[..=depth]).shown();
                return Err(self.refuse(ErrorKind::KeyNotFound, at));
            };
            node = child;
        }
        Ok(node)
    }

    /// The node at a path, made with all above it if it is not there.
    fn enter(&mut self, names: &[&str]) -> &mut ModelNode {
        let at = self.index + 1;
        names.iter().fold(&mut self.root, |node, name| {
            let children = node.children.as_mut().unwrap();
            children
                .entry((*name).to_owned())
                .or_insert_with(|| directory(at))
        })
    }

    pub(crate) fn get(&self, path: &NodePath, recursive: bool) -> Result<Shown, Error> {
        let node = self.walk(&names(path))?;
        Ok(node.listed(path, if recursive { usize::MAX } else { 1 }))
    }

    pub(crate) fn apply(
        &mut self,
        operation: &Operation,
        path: &NodePath,
        now: i64,
    ) -> Result<Event, Error> {
        let names = names(path);
        match operation {
            Operation::Create {
                dir,
                value,
                unique,
                expiration,
            } => {
                let name = format!("{:020}", self.index + 1);
                let names: Names<'_> = if *unique {
                    names.into_iter().chain([name.as_str()]).collect()
                } else {
                    names
                };
                self.make(&names, *dir, value, *expiration, Action::Create, now, false)
            }
            Operation::Set { dir, value, ttl } => {
                let before = self.walk(&names).cloned();
                let value = match (before, ttl.refresh) {
                    (Ok(before), true) => before.value,
                    (Err(error), true) => return Err(error),
                    (Err(error), false) if error.kind != ErrorKind::KeyNotFound => {
                        return Err(error);
                    }
                    (_, false) => value.clone(),
                };
                let end = ttl.expiration;
                self.make(&names, *dir, &value, end, Action::Set, now, ttl.refresh)
            }
            Operation::Update { value, ttl } => {
                self.not_root(&names)?;
                let is_dir = self.walk(&names)?.children.is_some();
                if is_dir && !value.is_empty() {
                    return Err(self.refuse(ErrorKind::NotFile, path.shown()));
                }
                Ok(self.change(&names, value, ttl, Action::Update, now))
            }
            Operation::CompareAndSwap {
                compare,
                value,
                ttl,
            } => {
                self.not_root(&names)?;
                self.compare(&names, compare)?;
                Ok(self.change(&names, value, ttl, Action::CompareAndSwap, now))
            }
            Operation::Delete { dir, recursive } => {
                self.not_root(&names)?;
                if let Some(children) = &self.walk(&names)?.children {
                    if !dir && !recursive {
                        return Err(self.refuse(ErrorKind::NotFile, path.shown()));
                    }
                    if !recursive && !children.is_empty() {
                        return Err(self.refuse(ErrorKind::DirectoryNotEmpty, path.shown()));
                    }
                }
                Ok(self.remove(&names, Action::Delete, now))
            }
            Operation::CompareAndDelete { compare } => {
                self.compare(&names, compare)?;
                Ok(self.remove(&names, Action::CompareAndDelete, now))
            }
        }
    }

    fn not_root(&self, names: &[&str]) -> Result<(), Error> {
        if names.is_empty() {
            return Err(self.refuse(ErrorKind::RootReadOnly, "/"));
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "one for each part of a request")]
    fn make(
        &mut self,
        names: &[&str],
        dir: bool,
        value: &Bytes,
        expiration: Option<Timestamp>,
        action: Action,
        now: i64,
        refresh: bool,
    ) -> Result<Event, Error> {
        self.not_root(names)?;
        let path = path_of(names);
        let before = match self.walk(names) {
            Ok(before) => Some(before.clone()),
            Err(error) if error.kind == ErrorKind::KeyNotFound => None,
            Err(error) => return Err(error),
        };
        if let Some(before) = &before {
            if action == Action::Create {
                return Err(self.refuse(ErrorKind::NodeExists, path.shown()));
            }
            if before.children.is_some() {
                return Err(self.refuse(ErrorKind::NotFile, path.shown()));
            }
        }
        let at = self.index + 1;
        *self.enter(names) = ModelNode {
            children: dir.then(BTreeMap::new),
            value: if dir { Bytes::new() } else { value.clone() },
            expiration: expiration.map(Timestamp::nanos),
            created: at,
            modified: at,
        };
        let node = self.walk(names).unwrap().shown(&path);
        let prev = before.map(|before| before.shown(&path));
        Ok(self.tell(action, node, prev, refresh, now, Vec::new()))
    }

    fn change(
        &mut self,
        names: &[&str],
        value: &Bytes,
        ttl: &cairn_v2::TtlOption,
        action: Action,
        now: i64,
    ) -> Event {
        let path = path_of(names);
        let at = self.index + 1;
        let node = self.enter(names);
        let prev = node.shown(&path);
        node.expiration = ttl.expiration.map(Timestamp::nanos);
        if node.children.is_none() {
            node.modified = at;
            if !ttl.refresh {
                node.value = value.clone();
            }
        }
        let mut shown = node.shown(&path);
        shown.modified = at;
        self.tell(action, shown, Some(prev), ttl.refresh, now, Vec::new())
    }

    fn compare(&self, names: &[&str], compare: &Compare) -> Result<(), Error> {
        let node = self.walk(names)?;
        if node.children.is_some() {
            return Err(self.refuse(
                ErrorKind::NotFile,
                format!("/1/{}", names.join("/"))
                    .trim_end_matches('/')
                    .to_owned(),
            ));
        }
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let mut causes = Vec::new();
        if let Some(value) = compare.value.as_ref().filter(|it| **it != node.value) {
            causes.push(format!("[{} != {}]", text(value), text(&node.value)));
        }
        if let Some(index) = compare.index.filter(|it| *it != node.modified) {
            causes.push(format!("[{index} != {}]", node.modified));
        }
        if causes.is_empty() {
            return Ok(());
        }
        Err(self.refuse(ErrorKind::CompareFailed, causes.join(" ")))
    }

    fn remove(&mut self, names: &[&str], action: Action, now: i64) -> Event {
        let path = path_of(names);
        let node = self.walk(names).unwrap().clone();
        let removed = node.all(std::str::from_utf8(path.as_bytes()).unwrap());
        let (name, above) = names.split_last().unwrap();
        let parent = self.enter(above);
        parent.children.as_mut().unwrap().remove(*name);
        let shown = Shown {
            value: None,
            expiration: None,
            modified: self.index + 1,
            ..node.shown(&path)
        };
        self.tell(action, shown, Some(node.shown(&path)), false, now, removed)
    }

    /// Ends what has expired.
    pub(crate) fn expire(&mut self, now: i64) {
        while let Some((_, path)) = self.root.expired("/1", now).into_iter().min() {
            let path = NodePath::parse(path.as_bytes()).unwrap();
            self.remove(&names(&path), Action::Expire, now);
        }
    }

    fn tell(
        &mut self,
        action: Action,
        node: Shown,
        prev: Option<Shown>,
        refresh: bool,
        now: i64,
        removed: Vec<String>,
    ) -> Event {
        self.index += 1;
        let event = Event {
            action,
            node,
            prev,
            refresh,
            at: Timestamp::from_nanos(now),
        };
        let told = ModelEvent {
            event: event.clone(),
            removed,
        };
        for watcher in &mut self.watchers {
            watcher.see(&told);
        }
        self.events.push(told);
        event
    }

    /// Every path that there is.
    pub(crate) fn all(&self) -> Vec<NodePath> {
        let all = self.root.all("/1");
        all.iter()
            .map(|path| NodePath::parse(path.as_bytes()).unwrap())
            .collect()
    }
}

impl ModelWatcher {
    /// What etcd does with one event and one watcher, told as three questions.
    fn see(&mut self, told: &ModelEvent) {
        let own = text(&self.watch.path);
        let key = text(&told.event.node.path);
        let hidden_between = key
            .strip_prefix(&own)
            .is_some_and(|rest| rest.contains("/_"));
        let below = self.watch.recursive && key.starts_with(&format!("{own}/")) && !hidden_between;
        let times = usize::from(told.removed.contains(&own)) + usize::from(own == key || below);
        for _ in 0..times {
            if !self.ended && !told.event.refresh {
                self.got.push(told.event.clone());
                self.ended = !self.watch.stream;
            }
        }
    }

    /// What it would find in the past.
    pub(crate) fn looks_back(watch: &Watch, events: &[ModelEvent], from: u64) -> Option<Event> {
        let own = text(&watch.path);
        let found = events.iter().map(|told| &told.event).find(|event| {
            let key = text(&event.node.path);
            let removed = matches!(event.action, Action::Delete | Action::Expire);
            let dir = event.prev.as_ref().is_some_and(|prev| prev.dir);
            event.node.modified >= from
                && !event.refresh
                && (key == own
                    || watch.recursive && key.starts_with(&format!("{own}/"))
                    || removed && dir && own.starts_with(&key))
        });
        found.cloned()
    }
}

fn text(path: &NodePath) -> String {
    String::from_utf8(path.as_bytes().to_vec()).unwrap()
}
