//! Random scripts, carried out by the stored tree and by the naive one.

use bytes::Bytes;
use cairn_mvcc::Revision;
use cairn_v2::{NodePath, Past, Request, Watch, WatchId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::model::{Model, ModelWatcher};
use crate::subject::{Got, Subject, path};

const SECOND: i64 = 1_000_000_000;
/// Some day in this century.
const START: i64 = 1_700_000_000 * SECOND;

#[derive(Clone, Debug)]
enum Step {
    Request(Request),
    /// So many seconds pass.
    Wait(i64),
    /// The leader looks for what has expired.
    Sync,
    Watch(Watch),
    /// A watcher leaves, if there are any.
    Leave(usize),
    /// Somebody looks this far back.
    LookBack(Watch, u64),
    PutOther,
    /// A compaction this many revisions before the current one.
    Compact(u64),
    Restart,
}

fn paths() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just("a"), Just("b"), Just("_h")], 0..4)
        .prop_map(|names| format!("/1/{}", names.join("/")))
}

fn requests() -> impl Strategy<Value = Request> {
    let method = prop_oneof![4 => Just("PUT"), 1 => Just("POST"), 2 => Just("DELETE")];
    let value = || prop_oneof![Just(""), Just("x"), Just("y")].prop_map(Bytes::from);
    let index = prop_oneof![4 => Just(0), 1 => 1_u64..40];
    let flags = (any::<bool>(), any::<bool>(), option::of(any::<bool>()));
    let expiration = prop_oneof![3 => Just(0), 1 => Just(-1), 2 => 0_i64..4];
    (
        method,
        paths(),
        value(),
        prop_oneof![3 => Just(Bytes::new()), 1 => value()],
        index,
        flags,
        expiration,
        prop_oneof![3 => Just(None), 1 => any::<bool>().prop_map(Some)],
    )
        .prop_map(
            |(method, path, val, prev_value, prev_index, flags, expiration, refresh)| Request {
                method: method.to_owned(),
                path: path.into(),
                val,
                prev_value,
                prev_index,
                dir: flags.0,
                recursive: flags.1,
                prev_exist: flags.2,
                expiration,
                refresh,
                ..Request::default()
            },
        )
}

fn watches() -> impl Strategy<Value = Watch> {
    (paths(), any::<bool>(), any::<bool>()).prop_map(|(raw, recursive, stream)| Watch {
        path: path(&raw),
        recursive,
        stream,
    })
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => requests().prop_map(Step::Request),
        2 => (0_i64..3).prop_map(Step::Wait),
        2 => Just(Step::Sync),
        3 => watches().prop_map(Step::Watch),
        1 => any::<usize>().prop_map(Step::Leave),
        2 => (watches(), 0_u64..30).prop_map(|(watch, back)| Step::LookBack(watch, back)),
        1 => Just(Step::PutOther),
        1 => (0_u64..20).prop_map(Step::Compact),
        1 => Just(Step::Restart),
    ]
}

struct Both {
    subject: Subject,
    model: Model,
    now: i64,
    watchers: Vec<(WatchId, Got)>,
    compacted: u64,
}

impl Both {
    fn new() -> Self {
        Self {
            subject: Subject::new(),
            model: Model::new(),
            now: START,
            watchers: Vec::new(),
            compacted: 0,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Request(request) => self.request(request),
            Step::Wait(seconds) => self.now += seconds * SECOND,
            Step::Sync => {
                self.subject.expire(self.now);
                self.model.expire(self.now);
            }
            Step::Watch(watch) => self.watch(watch),
            Step::Leave(which) => {
                if !self.watchers.is_empty() {
                    let which = which % self.watchers.len();
                    let (id, _) = self.watchers.remove(which);
                    self.subject.hub.remove(id);
                    self.model.watchers.remove(which);
                }
            }
            Step::LookBack(watch, back) => self.look_back(&watch, back),
            Step::PutOther => {
                self.subject.put_other();
                self.model.index += 1;
            }
            Step::Compact(back) => {
                let at = self.model.index.saturating_sub(back);
                if at > self.compacted {
                    self.subject.compact(Revision::new(at).unwrap());
                    self.compacted = at;
                }
            }
            Step::Restart => {
                self.subject.restart();
                self.watchers.clear();
                self.model.watchers.clear();
            }
        }
        self.subject.tell();
        self.check();
    }

    fn request(&mut self, request: Request) {
        let expiration = match request.expiration {
            0 => 0,
            // Long past: etcd takes it for no time when it creates, and for a time otherwise.
            -1 => START,
            seconds => self.now + (seconds - 1) * SECOND,
        };
        let request = Request {
            expiration,
            time: self.now,
            ..request
        };
        let operation = request.operation().unwrap().unwrap();
        let expected = self
            .model
            .apply(&operation, &request.node().unwrap(), self.now);
        let done = self.subject.request(&request);
        assert_eq!(done, expected, "{request:?}");
    }

    fn watch(&mut self, watch: Watch) {
        let since = self.subject.store.current().next();
        let got = Got::with_room(usize::MAX);
        let registered = self.subject.hub.register(watch.clone(), since, got.clone());
        let Ok(id) = registered else {
            panic!("the hub is at the present");
        };
        self.watchers.push((id, got));
        self.model.watchers.push(ModelWatcher {
            watch,
            got: Vec::new(),
            ended: false,
        });
    }

    fn look_back(&self, watch: &Watch, back: u64) {
        let from = self.model.index.saturating_sub(back).max(1);
        let found = self.subject.past(watch, Revision::new(from).unwrap());
        if from < self.compacted {
            let compacted = Revision::new(self.compacted).unwrap();
            assert_eq!(found, Past::Cleared(compacted));
            return;
        }
        let found = match found {
            Past::Found(event) => Some(*event),
            Past::NothingBefore(_) => None,
            Past::Cleared(at) => panic!("history begins at {at}"),
        };
        let expected = ModelWatcher::looks_back(watch, &self.model.events, from);
        assert_eq!(found, expected, "{watch:?} from {from}");
    }

    fn check(&self) {
        assert_eq!(self.subject.store.current().number(), self.model.index);
        for path in self.model.all() {
            for recursive in [false, true] {
                let expected = self.model.get(&path, recursive);
                assert_eq!(self.subject.get(&path, recursive), expected);
            }
        }
        for raw in ["/1/nope", "/1/a/nope/b", "/1/b/a/b"] {
            let path: NodePath = path(raw);
            assert_eq!(self.subject.get(&path, false), self.model.get(&path, false));
        }
        for ((_, got), expected) in self.watchers.iter().zip(&self.model.watchers) {
            assert_eq!(*got.events.borrow(), expected.got, "{:?}", expected.watch);
        }
        let waiting = self.model.watchers.iter().filter(|it| !it.ended).count();
        assert_eq!(self.subject.hub.len(), waiting);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_stored_tree_is_what_a_naive_one_is(script in vec(steps(), 1..60)) {
        let mut both = Both::new();
        for step in script {
            both.step(step);
        }
    }
}
