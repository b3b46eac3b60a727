//! Feature gates: features that `--feature-gates` switches by name.

use super::error::SettingsError;
use super::flag_value::{FlagValue, Input};
use super::notice::Notice;

/// A feature with a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FeatureGate {
    /// Compare hashes of compacted revisions between members.
    CompactHashCheck,
    /// Answer lease renewals without waiting for the applied index.
    FastLeaseKeepAlive,
    /// Compare data with the other members before serving.
    InitialCorruptCheck,
    /// Send remaining lease times to the other members.
    LeaseCheckpoint,
    /// Store remaining lease times.
    LeaseCheckpointPersist,
    /// Let some requests pass others under load.
    PriorityRequest,
    /// Connect to members from the advertised address.
    SetMemberLocalAddr,
    /// Report unhealthy during a defragmentation.
    StopGrpcServiceOnDefrag,
    /// Let write transactions read a shared buffer.
    TxnModeWriteWithSharedBuffer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Alpha,
    Beta,
}

/// Those that switch something.
const WORKING: [FeatureGate; 2] = [
    FeatureGate::CompactHashCheck,
    FeatureGate::InitialCorruptCheck,
];

/// Name, gate, stage. Alpha gates are off by default, beta gates on.
const GATES: [(&str, FeatureGate, Stage); 9] = [
    (
        "CompactHashCheck",
        FeatureGate::CompactHashCheck,
        Stage::Alpha,
    ),
    (
        "FastLeaseKeepAlive",
        FeatureGate::FastLeaseKeepAlive,
        Stage::Beta,
    ),
    (
        "InitialCorruptCheck",
        FeatureGate::InitialCorruptCheck,
        Stage::Alpha,
    ),
    (
        "LeaseCheckpoint",
        FeatureGate::LeaseCheckpoint,
        Stage::Alpha,
    ),
    (
        "LeaseCheckpointPersist",
        FeatureGate::LeaseCheckpointPersist,
        Stage::Alpha,
    ),
    (
        "PriorityRequest",
        FeatureGate::PriorityRequest,
        Stage::Alpha,
    ),
    (
        "SetMemberLocalAddr",
        FeatureGate::SetMemberLocalAddr,
        Stage::Alpha,
    ),
    (
        "StopGRPCServiceOnDefrag",
        FeatureGate::StopGrpcServiceOnDefrag,
        Stage::Alpha,
    ),
    (
        "TxnModeWriteWithSharedBuffer",
        FeatureGate::TxnModeWriteWithSharedBuffer,
        Stage::Beta,
    ),
];

/// Which gates are open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FeatureGates {
    open: Vec<FeatureGate>,
}

impl FeatureGates {
    /// Reads `Name=true,Other=false`; a gate named beats `AllAlpha` and `AllBeta`.
    pub(super) fn parse(text: &str, notices: &mut Vec<Notice>) -> Result<Self, SettingsError> {
        let (mut all_alpha, mut all_beta) = (None, None);
        let mut named: Vec<(FeatureGate, bool)> = Vec::new();
        for entry in text.split(',').filter(|entry| !entry.is_empty()) {
            let (name, is_open) = parse_entry(entry)?;
            match name {
                "AllAlpha" => all_alpha = Some(is_open),
                "AllBeta" => all_beta = Some(is_open),
                _ => named.push((gate_named(name)?, is_open)),
            }
        }
        let is_open = |gate: FeatureGate, stage: Stage| {
            let explicit = named
                .iter()
                .rev()
                .find(|(named_gate, _)| *named_gate == gate);
            match (explicit, stage) {
                (Some((_, is_open)), _) => *is_open,
                (None, Stage::Alpha) => all_alpha.unwrap_or(false),
                (None, Stage::Beta) => all_beta.unwrap_or(true),
            }
        };
        let open: Vec<FeatureGate> = GATES
            .iter()
            .filter(|(_, gate, stage)| is_open(*gate, *stage))
            .map(|it| it.1)
            .collect();
        let gates = Self { open };
        if gates.is_open(FeatureGate::LeaseCheckpointPersist)
            && !gates.is_open(FeatureGate::LeaseCheckpoint)
        {
            return Err(SettingsError::unfit(
                "enabling feature gate LeaseCheckpointPersist requires enabling feature gate \
                 LeaseCheckpoint",
            ));
        }
        for (name, gate, stage) in GATES {
            if gates.is_open(gate) != (stage == Stage::Beta) && !WORKING.contains(&gate) {
                let text = "feature gate has no effect yet: its feature is not in this build";
                notices.push(Notice::warn(text).about(name));
            }
        }
        Ok(gates)
    }

    /// Every gate with its name and stage, and whether it is open, sorted by name.
    pub(crate) fn list(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        let all = [("AllAlpha", "ALPHA", false), ("AllBeta", "BETA", false)];
        let gates = GATES.map(|(name, gate, stage)| {
            let stage = if stage == Stage::Alpha {
                "ALPHA"
            } else {
                "BETA"
            };
            (name, stage, self.is_open(gate))
        });
        all.into_iter().chain(gates)
    }

    /// Whether the feature is switched on.
    #[must_use]
    pub(crate) fn is_open(&self, gate: FeatureGate) -> bool {
        self.open.contains(&gate)
    }
}

fn parse_entry(entry: &str) -> Result<(&str, bool), SettingsError> {
    let Some((name, value)) = entry.split_once('=') else {
        return Err(SettingsError::unfit(format!(
            "--feature-gates: missing bool value for {}; write Name=true",
            entry.trim()
        )));
    };
    let mut is_open = false;
    is_open.set(Input::Text(value.trim())).map_err(|error| {
        SettingsError::unfit(format!(
            "--feature-gates: invalid value of {entry}: {error}"
        ))
    })?;
    Ok((name.trim(), is_open))
}

fn gate_named(name: &str) -> Result<FeatureGate, SettingsError> {
    match GATES.iter().find(|(known, _, _)| *known == name) {
        Some((_, gate, _)) => Ok(*gate),
        None => Err(SettingsError::unfit(format!(
            "unrecognized feature gate: {name}; --help lists those that exist"
        ))),
    }
}
