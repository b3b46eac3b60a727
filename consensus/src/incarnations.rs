//! The file of incarnations: which the member's own directory has been, and which of other members this
//! one has met or was told of.
//!
//! It is in the directory of the log, and written whole: a new file takes the old one's name. All
//! numbers are little-endian.
//!
//! | bytes | |
//! |---|---|
//! | 8 | `CAIRNINC` |
//! | 4 | version of the format: 2 |
//! | 4 | own incarnations: how many |
//! | 4 | other members met: how many |
//! | 4 | told of others: how many; version 1 has no such number, and nothing told |
//! | 8 | number of the oldest own incarnation |
//! | 8 each | IDs of the own incarnations, the oldest first |
//! | 24 each | met, in order: member, number and ID of the last incarnation met |
//! | 32 each | told, in order: whose, by whom, number and ID of the last incarnation told |
//! | 4 | CRC32C of all before |
//!
//! What follows from it, and what does not, is in decision record 12.

use std::io;
use std::sync::Arc;

use bytes::{Buf as _, BufMut as _};

use crate::disk::Disk;
use crate::incarnation::{Incarnation, Lineage};
use crate::known_incarnations::{Forgotten, KnownIncarnations};
use crate::member_id::MemberId;

const FILE: &str = "incarnations";
const NEW_FILE: &str = "incarnations.new";
const MAGIC: &[u8; 8] = b"CAIRNINC";
const VERSION: u32 = 2;
/// The one before, which is read too.
const VERSION_WITHOUT_TOLD: u32 = 1;
/// Of the version before: the shortest.
const HEAD_BYTES: usize = 28;
const CRC_BYTES: usize = 4;
/// More than any file has: the most own incarnations and other members.
const FILE_BYTES_MAX: u64 = 128 << 10;

/// Other members that are kept in mind, and what was told of them: far more than a cluster has. Those
/// that were removed are forgotten.
const MET_MAX: usize = 1024;
const TOLD_MAX: usize = 1024;

/// Why incarnations cannot be read, written or met.
#[derive(Debug, thiserror::Error)]
pub enum IncarnationsError {
    /// The disk failed.
    #[error("cannot {action} {FILE}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{FILE} is corrupt: {damage}")]
    Corrupt {
        /// What is wrong with it.
        damage: &'static str,
    },
    /// There is no further number, or no room.
    #[error("there are too many incarnations")]
    TooMany,
    /// The member that was met has forgotten what it promised.
    #[error(transparent)]
    Forgotten(#[from] Forgotten),
}

/// The incarnations of a member's directory, and those of others that it has met.
///
/// Invariants:
/// 1. What it says is on disk: a start before the member says anything, a meeting before anything of
///    what was met counts.
pub struct Incarnations {
    disk: Arc<dyn Disk>,
    own: Lineage,
    known: KnownIncarnations,
}

impl Incarnations {
    /// Begins a start of the member whose log is on `disk`; `id` is drawn by chance. A directory that
    /// has no such file, as older versions left it, has been nothing before.
    ///
    /// # Errors
    ///
    /// [`IncarnationsError`]; the member must not start.
    pub fn start(disk: Arc<dyn Disk>, id: u64) -> Result<Self, IncarnationsError> {
        let (own, known) = match read(&*disk)? {
            None => (Lineage::begin(id), KnownIncarnations::default()),
            Some((own, known)) => (own.start(id).ok_or(IncarnationsError::TooMany)?, known),
        };
        write(&*disk, &own, &known)?;
        Ok(Self { disk, own, known })
    }

    /// All that the directory has been.
    #[must_use]
    pub const fn own(&self) -> &Lineage {
        &self.own
    }

    /// What is known of others.
    #[must_use]
    pub const fn known(&self) -> &KnownIncarnations {
        &self.known
    }

    /// Meets a member whose directory has been `lineage`; what it promises may count from then on.
    ///
    /// # Errors
    ///
    /// [`IncarnationsError::Forgotten`] if it was met, here or by one who told us, as something that its
    /// directory has not been; [`IncarnationsError::TooMany`] if there is no room for it: nothing that
    /// it promises may count. [`IncarnationsError::Io`], after which this member must stop: what is on
    /// disk is not known.
    pub fn meet(&mut self, member: MemberId, lineage: &Lineage) -> Result<(), IncarnationsError> {
        let mut known = self.known.clone();
        known.meet(member, lineage)?;
        self.keep(known)
    }

    /// Keeps in mind the incarnations that `by` has met: whoever lacks one of them has forgotten. What
    /// is passed on is what was met, never what was told.
    ///
    /// # Errors
    ///
    /// [`IncarnationsError::TooMany`] if there is no room; [`IncarnationsError::Io`] as for
    /// [`Incarnations::meet`].
    pub fn hear(
        &mut self,
        by: MemberId,
        met: impl IntoIterator<Item = (MemberId, Incarnation)>,
    ) -> Result<(), IncarnationsError> {
        let mut known = self.known.clone();
        for (whose, met) in met {
            known.hear(by, whose, met);
        }
        self.keep(known)
    }

    /// Forgets members that will never come back.
    ///
    /// # Errors
    ///
    /// If the disk fails.
    pub fn retain(
        &mut self,
        may_come_back: impl Fn(MemberId) -> bool,
    ) -> Result<(), IncarnationsError> {
        let mut known = self.known.clone();
        known.retain(may_come_back);
        self.keep(known)
    }

    fn keep(&mut self, known: KnownIncarnations) -> Result<(), IncarnationsError> {
        if known.met != self.known.met || known.told != self.known.told {
            if known.met.len() > MET_MAX || known.told.len() > TOLD_MAX {
                return Err(IncarnationsError::TooMany);
            }
            write(&*self.disk, &self.own, &known)?;
        }
        self.known = known;
        Ok(())
    }
}

type Content = (Lineage, KnownIncarnations);

fn read(disk: &dyn Disk) -> Result<Option<Content>, IncarnationsError> {
    let failed = |source| io_error("read", source);
    let file = match disk.open(FILE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(failed)?,
    };
    let length = file.length().map_err(failed)?;
    if length > FILE_BYTES_MAX {
        return Err(corrupt("it is too long"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
    file.read_at(&mut bytes, 0).map_err(failed)?;
    decode(&bytes).map(Some)
}

/// Writes the file anew. If that fails, the old one or the new one is there.
fn write(
    disk: &dyn Disk,
    own: &Lineage,
    known: &KnownIncarnations,
) -> Result<(), IncarnationsError> {
    let bytes = encode(own, known);
    let written = || {
        match disk.remove(NEW_FILE) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.create(NEW_FILE, bytes.len() as u64)?;
        file.write_at(&bytes, 0)?;
        file.sync()?;
        disk.rename(NEW_FILE, FILE)?;
        disk.sync_dir()
    };
    written().map_err(|source| io_error("write", source))
}

fn encode(own: &Lineage, known: &KnownIncarnations) -> Vec<u8> {
    let count = |length| u32::try_from(length).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    bytes.put_slice(MAGIC);
    bytes.put_u32_le(VERSION);
    bytes.put_u32_le(count(own.ids().len()));
    bytes.put_u32_le(count(known.met.len()));
    bytes.put_u32_le(count(known.told.len()));
    bytes.put_u64_le(own.first());
    for id in own.ids() {
        bytes.put_u64_le(*id);
    }
    let met = known.met.iter().map(|(member, met)| (vec![*member], met));
    let told = known.told.iter();
    let told = told.map(|((whose, by), told)| (vec![*whose, *by], told));
    for (members, Incarnation { number, id }) in met.chain(told) {
        for member in members {
            bytes.put_u64_le(member.get());
        }
        bytes.put_u64_le(*number);
        bytes.put_u64_le(*id);
    }
    bytes.put_u32_le(crc32c::crc32c(&bytes));
    bytes
}

fn decode(bytes: &[u8]) -> Result<Content, IncarnationsError> {
    let short = || corrupt("it is too short");
    let body = bytes.len().checked_sub(CRC_BYTES).ok_or_else(short)?;
    let (mut body, mut crc) = bytes.split_at_checked(body).ok_or_else(short)?;
    if crc.get_u32_le() != crc32c::crc32c(body) {
        return Err(corrupt("its checksum is wrong"));
    }
    if body.len() < HEAD_BYTES {
        return Err(short());
    }
    let is_magic = body.copy_to_bytes(MAGIC.len()) == MAGIC.as_slice();
    let version = body.get_u32_le();
    if !is_magic || !matches!(version, VERSION | VERSION_WITHOUT_TOLD) {
        return Err(corrupt("it is of another format"));
    }
    let (own, met) = (body.get_u32_le() as usize, body.get_u32_le() as usize);
    let told = match version {
        VERSION_WITHOUT_TOLD => 0,
        _ => body.get_u32_le() as usize,
    };
    // A head of the later version may be cut short; then the length is wrong.
    if body.len() != 8 + 8 * own + 24 * met + 32 * told {
        return Err(corrupt("its length is wrong"));
    }
    let first = body.get_u64_le();
    let ids = (0..own).map(|_| body.get_u64_le()).collect();
    let own = Lineage::new(first, ids).map_err(|_| corrupt("it has no lineage"))?;
    let met = (0..met)
        .map(|_| Ok((get_member(&mut body)?, get_incarnation(&mut body)?)))
        .collect::<Result<_, IncarnationsError>>()?;
    let told = (0..told)
        .map(|_| {
            let whose_by = (get_member(&mut body)?, get_member(&mut body)?);
            Ok((whose_by, get_incarnation(&mut body)?))
        })
        .collect::<Result<_, IncarnationsError>>()?;
    Ok((own, KnownIncarnations::new(met, told)))
}

fn get_member(body: &mut &[u8]) -> Result<MemberId, IncarnationsError> {
    MemberId::from_wire(body.get_u64_le()).ok_or_else(|| corrupt("it has met nobody"))
}

fn get_incarnation(body: &mut &[u8]) -> Result<Incarnation, IncarnationsError> {
    let (number, id) = (body.get_u64_le(), body.get_u64_le());
    if number == 0 {
        return Err(corrupt("it has met nobody"));
    }
    Ok(Incarnation { number, id })
}

const fn io_error(action: &'static str, source: io::Error) -> IncarnationsError {
    IncarnationsError::Io { action, source }
}

const fn corrupt(damage: &'static str) -> IncarnationsError {
    IncarnationsError::Corrupt { damage }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Fault, FaultDisk, Survival};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn member(number: u64) -> MemberId {
        MemberId::from_wire(number).unwrap()
    }

    fn start(disk: &FaultDisk, id: u64) -> Incarnations {
        Incarnations::start(Arc::new(disk.clone()), id).unwrap()
    }

    #[test]
    fn starts_and_meetings_outlive_a_crash_that_leaves_nothing() {
        let disk = FaultDisk::new(1);
        let other = Lineage::new(5, vec![50, 60]).unwrap();
        let mut first = start(&disk, 10);
        first.meet(member(2), &other).unwrap();
        let told = Incarnation { number: 3, id: 4 };
        first.hear(member(2), [(member(4), told)]).unwrap();
        disk.crash(Survival::Nothing);
        let second = start(&disk, 20);
        assert_eq!(second.own().ids(), [10, 20]);
        let mut second = second;
        let forgot = second.meet(member(4), &Lineage::begin(1));
        assert!(
            matches!(forgot, Err(IncarnationsError::Forgotten(Forgotten { met })) if met == told)
        );
        assert_eq!(second.known().met().get(&member(2)), Some(&other.last()));
    }

    #[test]
    fn whoever_lacks_what_was_met_is_refused_until_it_will_never_come_back() {
        let disk = FaultDisk::new(1);
        let mut ours = start(&disk, 10);
        let copied = Lineage::begin(1);
        let went_on = copied.clone().start(2).unwrap();
        ours.meet(member(2), &copied).unwrap();
        ours.meet(member(2), &went_on).unwrap();
        for forgot in [copied.clone(), copied.start(3).unwrap(), Lineage::begin(4)] {
            let refused = ours.meet(member(2), &forgot);
            let is_forgotten = matches!(
                refused,
                Err(IncarnationsError::Forgotten(Forgotten { met })) if met == went_on.last()
            );
            assert!(is_forgotten, "{refused:?}");
        }
        ours.meet(member(2), &went_on.start(5).unwrap()).unwrap();
        ours.retain(|other| other != member(2)).unwrap();
        assert!(ours.known().met().is_empty());
        assert!(start(&disk, 11).known().met().is_empty());
    }

    /// Whatever fails, and whatever a crash leaves, the file is an old or a new one.
    #[test]
    fn a_start_that_is_cut_short_anywhere_loses_nothing_that_was_there() {
        for fault in [Fault::PowerCut, Fault::Error] {
            for survival in [Survival::Nothing, Survival::Everything, Survival::Random] {
                for operation in 0..6 {
                    let disk = FaultDisk::new(operation);
                    start(&disk, 10)
                        .meet(member(2), &Lineage::begin(7))
                        .unwrap();
                    disk.script(disk.operations() + operation, fault);
                    let begun = Incarnations::start(Arc::new(disk.clone()), 20);
                    let is_begun = begun.is_ok();
                    drop(begun);
                    disk.crash(survival);
                    disk.clear_script();
                    let after = start(&disk, 30);
                    let ids = after.own().ids();
                    let is_whole = ids == [10, 20, 30] || (!is_begun && ids == [10, 30]);
                    assert!(is_whole, "{ids:?}");
                    assert_eq!(after.known().met().len(), 1);
                }
            }
        }
    }

    #[test]
    fn the_bytes_are_these() {
        let own = Lineage::new(2, vec![0x0A, 0x0B]).unwrap();
        let [met, told] = [(1, 9), (2, 8)].map(|(number, id)| Incarnation { number, id });
        let met = BTreeMap::from([(member(7), met)]);
        let told = BTreeMap::from([((member(5), member(6)), told)]);
        let known = KnownIncarnations::new(met.clone(), told);
        let with_crc = |head: &[u8], numbers: &[u64]| {
            let numbers = numbers.iter().flat_map(|number| number.to_le_bytes());
            let mut bytes: Vec<u8> = head.iter().copied().chain(numbers).collect();
            bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
            bytes
        };
        let head = b"CAIRNINC\x02\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\0\0";
        let expected = with_crc(head, &[2, 0x0A, 0x0B, 7, 1, 9, 5, 6, 2, 8]);
        assert_eq!(encode(&own, &known), expected);
        let head = b"CAIRNINC\x01\0\0\0\x02\0\0\0\x01\0\0\0";
        let before = with_crc(head, &[2, 0x0A, 0x0B, 7, 1, 9]);
        let known = KnownIncarnations::new(met, BTreeMap::new());
        assert_eq!(decode(&before).unwrap(), (own, known));
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_and_nothing_else(
            first in 1..9_u64,
            ids in prop::collection::vec(any::<u64>(), 1..5),
            met in prop::collection::btree_map(1..9_u64, (1..9_u64, any::<u64>()), 0..4),
            told in prop::collection::btree_map((1..9_u64, 1..9_u64), (1..9_u64, any::<u64>()), 0..4),
            place in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let own = Lineage::new(first, ids).unwrap();
            let incarnation = |(number, id)| Incarnation { number, id };
            let met = met.into_iter().map(|(id, it)| (member(id), incarnation(it))).collect();
            let told = told.into_iter();
            let told = told.map(|((id, by), it)| ((member(id), member(by)), incarnation(it))).collect();
            let content = (own, KnownIncarnations::new(met, told));
            let mut bytes = encode(&content.0, &content.1);
            prop_assert_eq!(decode(&bytes).unwrap(), content);
            let place = place.index(bytes.len());
            prop_assert!(decode(&bytes[..place]).is_err());
            bytes[place] ^= flip;
            prop_assert!(decode(&bytes).is_err());
        }
    }
}
