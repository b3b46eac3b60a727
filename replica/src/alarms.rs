//! Alarms: states of the cluster in which it refuses some requests.
//!
//! They go through the log and are stored, so every member refuses the same.

use std::collections::BTreeSet;

use bytes::Bytes;
use cairn_backend::{BatchTx, ReadError, ReadTx, RowsChecksum, Table};
use cairn_consensus::MemberId;
use cairn_proto::etcdserverpb::{AlarmMember, AlarmType};
use prost::Message;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alarm {
    /// A member's database is over its quota: what needs space is refused.
    NoSpace,
    /// Members disagree about the data: everything but reads of it is refused.
    Corrupt,
}

impl Alarm {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::NoSpace, Self::Corrupt];

    /// Its number on the wire.
    pub const fn to_wire(self) -> AlarmType {
        match self {
            Self::NoSpace => AlarmType::Nospace,
            Self::Corrupt => AlarmType::Corrupt,
        }
    }

    /// The alarm with a number on the wire; none for `NONE`, which means all, and unknown ones.
    pub fn from_wire(number: i32) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|alarm| i32::from(alarm.to_wire()) == number)
    }

    /// Its name as operators see it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSpace => "NOSPACE",
            Self::Corrupt => "CORRUPT",
        }
    }
}

/// The alarms that are on, each raised by a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alarms(BTreeSet<(Alarm, MemberId)>);

impl Alarms {
    /// Reads the stored alarms.
    ///
    /// # Errors
    ///
    /// [`ReadError::Damaged`] for a row that is no alarm's, or the backend's.
    pub fn restore(tx: &ReadTx) -> Result<Self, ReadError> {
        let mut alarms = BTreeSet::new();
        tx.read_table(Table::Alarm, |key, value| {
            let record = AlarmMember::decode(key).map_err(|error| error.to_string())?;
            let alarm = Alarm::from_wire(record.alarm).ok_or("an alarm of unknown kind")?;
            let member = MemberId::from_wire(record.member_id).ok_or("an alarm of nobody")?;
            if key != self::record(alarm, member) || !value.is_empty() {
                return Err("not the record of an alarm".to_owned());
            }
            alarms.insert((alarm, member));
            Ok(())
        })?;
        Ok(Self(alarms))
    }

    /// The checksum of the table of alarms, as its rows are to be for what is here.
    pub(crate) fn checksum(&self) -> RowsChecksum {
        RowsChecksum::of(
            self.iter()
                .map(|(alarm, member)| (record(alarm, member), [])),
        )
    }

    /// Whether any member has raised `alarm`.
    pub fn is_on(&self, alarm: Alarm) -> bool {
        self.0.iter().any(|(on, _)| *on == alarm)
    }

    /// Whether `member` has raised `alarm`.
    pub fn is_raised_by(&self, alarm: Alarm, member: MemberId) -> bool {
        self.0.contains(&(alarm, member))
    }

    /// The alarms that are on, ordered by kind and member.
    pub fn iter(&self) -> impl Iterator<Item = (Alarm, MemberId)> + '_ {
        self.0.iter().copied()
    }

    /// Raises an alarm; it may be on already.
    pub fn raise(&mut self, alarm: Alarm, member: MemberId, tx: &mut BatchTx<'_>) {
        if self.0.insert((alarm, member)) {
            tx.put(Table::Alarm, &record(alarm, member), Bytes::new());
        }
    }

    /// Ends an alarm. False if it was not on.
    pub fn clear(&mut self, alarm: Alarm, member: MemberId, tx: &mut BatchTx<'_>) -> bool {
        let was_on = self.0.remove(&(alarm, member));
        if was_on {
            tx.delete(Table::Alarm, &record(alarm, member));
        }
        was_on
    }
}

fn record(alarm: Alarm, member: MemberId) -> Vec<u8> {
    AlarmMember {
        member_id: member.get(),
        alarm: alarm.to_wire().into(),
    }
    .encode_to_vec()
}
