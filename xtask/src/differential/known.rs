//! Where etcd itself changed between its releases; Cairn answers as 3.7 does.
//!
//! Each entry says from which release on there is no difference any more. It is applied to both
//! servers' answers, and only if the real one is older.

use super::answer::Answer;
use super::step::Step;
use crate::server_process::ApiVersion;

/// A difference between releases of etcd.
struct Known {
    /// The first release that answers as Cairn does.
    since: ApiVersion,
    forget: fn(&Step, &mut Answer),
}

const fn version(minor: u32) -> ApiVersion {
    ApiVersion { major: 3, minor }
}

/// No release answers as Cairn does.
const NEVER: ApiVersion = version(u32::MAX);

const KNOWN: [Known; 5] = [
    // Progress requests are answered since 3.5.8 (3.4.25) only if there are watches and all of
    // them are synchronized and begun; before, always.
    Known {
        since: version(5),
        forget: |_, answer| {
            if let Answer::Progress(_) = answer {
                *answer = Answer::Progress(None);
            }
        },
    },
    // When a watch ends because its start was compacted, etcd leaves the header's revision out.
    Known {
        since: NEVER,
        forget: |_, answer| {
            if let Answer::Watched(transcripts) = answer {
                let ends = transcripts.iter_mut().filter_map(|it| it.canceled.as_mut());
                for end in ends.filter(|end| end.compact_revision > 0) {
                    end.header = None;
                }
            }
        },
    },
    // At a revision that was compacted, etcd since 3.6 answers with the hash that it took then,
    // which covers what the compaction removed; whether it did cannot be seen in the answer.
    Known {
        since: NEVER,
        forget: |step, answer| {
            if let (Step::HashKv { revision: 1.. }, Answer::HashKv(response)) = (step, answer) {
                response.hash = 0;
                response.compact_revision = 0;
            }
        },
    },
    // The hash at the very revision that was compacted can be asked for since 3.6.
    Known {
        since: version(6),
        forget: |step, answer| {
            if matches!(step, Step::HashKv { revision } if *revision > 0) {
                *answer = Answer::Nothing;
            }
        },
    },
    // HashKV says since 3.6 which revision it hashed.
    Known {
        since: version(6),
        forget: |_, answer| {
            if let Answer::HashKv(response) = answer {
                response.hash_revision = 0;
            }
        },
    },
];

/// Makes an answer equal where only releases of etcd differ.
pub(super) fn forget(real: ApiVersion, step: &Step, answer: &mut Answer) {
    for known in KNOWN.iter().filter(|known| real < known.since) {
        (known.forget)(step, answer);
    }
}
