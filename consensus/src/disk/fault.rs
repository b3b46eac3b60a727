//! A disk in memory that fails as disks fail, the same way every time.
//!
//! What is written is seen at once by readers, and becomes durable sector by sector: at
//! [`DiskFile::sync`], or by luck at a crash. What a crash leaves is chosen by [`Survival`], faults
//! by a script of operation numbers; nothing here is random but what follows from the seed.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile};
use crate::seeded::Seeded;

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// What goes wrong at a scripted operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The operation does nothing and reports an error.
    Error,
    /// A write writes this many bytes and reports an error; other operations fail.
    Short {
        /// How many bytes are written.
        bytes: usize,
    },
    /// The operation takes this many units of the caller's time; see [`FaultDisk::take_stall`].
    Stall {
        /// How long.
        ticks: u64,
    },
    /// Power fails while the operation is under way: its effect is pending, nothing answers until
    /// [`FaultDisk::crash`].
    PowerCut,
}

/// Which effects that were not synced outlive a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// None: what was not synced is lost.
    Nothing,
    /// All.
    Everything,
    /// The first so many, in the order in which they were made.
    Prefix(usize),
    /// Each with even odds, by the disk's seed.
    Random,
}

/// What a crash left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrashOutcome {
    /// How many effects (sectors and names) were not synced.
    pub pending: usize,
    /// How many of them survived.
    pub survived: usize,
}

/// An operation that can fail; reads are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// [`Disk::create`].
    Create,
    /// [`DiskFile::write_at`].
    Write,
    /// [`DiskFile::sync`].
    Sync,
    /// [`Disk::rename`].
    Rename,
    /// [`Disk::remove`].
    Remove,
    /// [`Disk::sync_dir`].
    SyncDir,
}

/// A disk in memory; clones are the same disk.
#[derive(Clone)]
pub struct FaultDisk {
    state: Arc<Mutex<State>>,
}

impl FaultDisk {
    /// An empty disk without faults.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: Arc::new(Mutex::new(State::new(Seeded::new(seed)))),
        }
    }

    /// Another disk that holds what is durable on this one, as a copy of the directory does.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = self.lock();
        let durable = |inode: &Inode| Inode {
            unsynced: BTreeMap::new(),
            ..inode.clone()
        };
        let inodes = state.inodes.iter();
        let copied = State {
            names: state.durable_names.clone(),
            durable_names: state.durable_names.clone(),
            inodes: inodes.map(|(id, inode)| (*id, durable(inode))).collect(),
            next_inode: state.next_inode,
            ..State::new(state.chance.clone())
        };
        Self {
            state: Arc::new(Mutex::new(copied)),
        }
    }

    /// Lets the operation with this number (the first is 0) go wrong.
    pub fn script(&self, operation: u64, fault: Fault) {
        self.lock().script.insert(operation, fault);
    }

    /// Lets nothing more go wrong.
    pub fn clear_script(&self) {
        self.lock().script.clear();
    }

    /// The operations so far, in order.
    #[must_use]
    pub fn history(&self) -> Vec<Operation> {
        self.lock().history.clone()
    }

    /// How many operations there were so far; also the number of the next one.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().history.len() as u64
    }

    /// The time that operations took since this was last asked.
    #[must_use]
    pub fn take_stall(&self) -> u64 {
        std::mem::take(&mut self.lock().stalled_ticks)
    }

    /// Cuts the power and gives it back: open files are dead, effects that were not synced survive
    /// as `survival` says.
    pub fn crash(&self, survival: Survival) -> CrashOutcome {
        let mut state = self.lock();
        let pending = std::mem::take(&mut state.pending);
        let mut outcome = CrashOutcome {
            pending: pending.len(),
            survived: 0,
        };
        for (position, effect) in pending.into_iter().enumerate() {
            let survives = match survival {
                Survival::Nothing => false,
                Survival::Everything => true,
                Survival::Prefix(count) => position < count,
                Survival::Random => state.chance.below(2) == 0,
            };
            if survives {
                outcome.survived += 1;
                state.make_durable(effect);
            }
        }
        state.life += 1;
        state.powered = true;
        state.names = state.durable_names.clone();
        for inode in state.inodes.values_mut() {
            inode.unsynced.clear();
        }
        outcome
    }

    /// Overwrites durable bytes behind everyone's back, as rot does.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is no such file.
    pub fn corrupt(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.lock();
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        let first = state.pending.len();
        state.write(inode, bytes, offset)?;
        let effects = state.pending.split_off(first);
        for effect in effects {
            state.make_durable(effect);
        }
        if let Some(inode) = state.inodes.get_mut(&inode) {
            inode.unsynced.clear();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for FaultDisk {
    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.lock();
        let mut power = state.begin(Operation::Create)?;
        if state.names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let id = state.next_inode;
        state.next_inode += 1;
        state.inodes.insert(
            id,
            Inode {
                length,
                durable: BTreeMap::new(),
                unsynced: BTreeMap::new(),
            },
        );
        state.names.insert(name.to_owned(), id);
        state.pending.push(Effect::Link {
            name: name.to_owned(),
            inode: id,
        });
        power.end(&mut state)?;
        Ok(Arc::new(FaultFile {
            disk: self.clone(),
            inode: id,
            life: state.life,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.lock();
        state.check_power()?;
        let inode = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(FaultFile {
            disk: self.clone(),
            inode,
            life: state.life,
        }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.lock();
        state.check_power()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        let mut power = state.begin(Operation::Rename)?;
        let inode = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), inode);
        state.pending.push(Effect::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            inode,
        });
        power.end(&mut state)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        let mut power = state.begin(Operation::Remove)?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.pending.push(Effect::Unlink {
            name: name.to_owned(),
        });
        power.end(&mut state)
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.lock();
        let mut power = state.begin(Operation::SyncDir)?;
        power.end(&mut state)?;
        state.settle(|effect| !matches!(effect, Effect::Sector { .. }));
        Ok(())
    }
}

struct FaultFile {
    disk: FaultDisk,
    inode: u64,
    life: u64,
}

impl FaultFile {
    fn lock(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.lock();
        state.check_power()?;
        if state.life == self.life {
            Ok(state)
        } else {
            Err(no_power())
        }
    }
}

impl DiskFile for FaultFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.lock()?.inode(self.inode)?.length)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let state = self.lock()?;
        let inode = state.inode(self.inode)?;
        if offset + buffer.len() as u64 > inode.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for_sectors(offset, buffer.len(), |number, within, part| {
            let sector = inode.sector(number);
            let ends = (buffer.get_mut(part), sector.get(within));
            assert!(matches!(ends, (Some(_), Some(_))), "parts lie within");
            if let (Some(target), Some(source)) = ends {
                target.copy_from_slice(source);
            }
        });
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.lock()?;
        let mut power = state.begin(Operation::Write)?;
        let bytes = match power {
            Power::Short(length) => bytes.get(..length).unwrap_or(bytes),
            Power::On | Power::Cut => bytes,
        };
        state.write(self.inode, bytes, offset)?;
        power.end(&mut state)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.lock()?;
        let mut power = state.begin(Operation::Sync)?;
        power.end(&mut state)?;
        let synced = self.inode;
        state.settle(|effect| matches!(effect, Effect::Sector { inode, .. } if *inode == synced));
        if let Some(inode) = state.inodes.get_mut(&synced) {
            inode.unsynced.clear();
        }
        Ok(())
    }
}

/// How an operation that has begun will end.
enum Power {
    On,
    Short(usize),
    Cut,
}

impl Power {
    fn end(&mut self, state: &mut State) -> io::Result<()> {
        match self {
            Self::On => Ok(()),
            Self::Short(_) => Err(io::Error::other("scripted short write")),
            Self::Cut => {
                state.powered = false;
                Err(no_power())
            }
        }
    }
}

/// What has been done and is not yet durable.
enum Effect {
    Sector {
        inode: u64,
        number: u64,
        bytes: Box<Sector>,
    },
    Link {
        name: String,
        inode: u64,
    },
    Rename {
        from: String,
        to: String,
        inode: u64,
    },
    Unlink {
        name: String,
    },
}

/// A file's sectors; those that are absent are zero.
#[derive(Clone)]
struct Inode {
    length: u64,
    durable: BTreeMap<u64, Box<Sector>>,
    unsynced: BTreeMap<u64, Box<Sector>>,
}

impl Inode {
    fn sector(&self, number: u64) -> Sector {
        let sector = self
            .unsynced
            .get(&number)
            .or_else(|| self.durable.get(&number));
        sector.map_or([0; SECTOR_BYTES], |sector| **sector)
    }
}

struct State {
    chance: Seeded,
    /// Counts crashes: a handle from before one is dead.
    life: u64,
    powered: bool,
    next_inode: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    inodes: BTreeMap<u64, Inode>,
    pending: Vec<Effect>,
    script: BTreeMap<u64, Fault>,
    history: Vec<Operation>,
    stalled_ticks: u64,
}

impl State {
    fn new(chance: Seeded) -> Self {
        Self {
            chance,
            life: 0,
            powered: true,
            next_inode: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            inodes: BTreeMap::new(),
            pending: Vec::new(),
            script: BTreeMap::new(),
            history: Vec::new(),
            stalled_ticks: 0,
        }
    }

    fn check_power(&self) -> io::Result<()> {
        if self.powered {
            Ok(())
        } else {
            Err(no_power())
        }
    }

    fn inode(&self, id: u64) -> io::Result<&Inode> {
        self.inodes
            .get(&id)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts an operation and looks up what the script has for it.
    fn begin(&mut self, operation: Operation) -> io::Result<Power> {
        self.check_power()?;
        let number = self.history.len() as u64;
        self.history.push(operation);
        match self.script.get(&number) {
            None => Ok(Power::On),
            Some(Fault::Error) => Err(io::Error::other("scripted error")),
            Some(Fault::Short { bytes }) if operation == Operation::Write => {
                Ok(Power::Short(*bytes))
            }
            Some(Fault::Short { .. }) => Err(io::Error::other("scripted error")),
            Some(Fault::Stall { ticks }) => {
                self.stalled_ticks += ticks;
                Ok(Power::On)
            }
            Some(Fault::PowerCut) => Ok(Power::Cut),
        }
    }

    fn write(&mut self, inode: u64, bytes: &[u8], offset: u64) -> io::Result<()> {
        let file = self.inodes.get_mut(&inode).ok_or(io::ErrorKind::NotFound)?;
        let end = offset + bytes.len() as u64;
        assert!(
            end <= file.length,
            "the log writes within what it has preallocated"
        );
        for_sectors(offset, bytes.len(), |number, within, part| {
            let mut sector = file.sector(number);
            let ends = (sector.get_mut(within), bytes.get(part));
            assert!(matches!(ends, (Some(_), Some(_))), "parts lie within");
            if let (Some(target), Some(source)) = ends {
                target.copy_from_slice(source);
            }
            file.unsynced.insert(number, Box::new(sector));
            self.pending.push(Effect::Sector {
                inode,
                number,
                bytes: Box::new(sector),
            });
        });
        Ok(())
    }

    /// Makes the pending effects that `which` picks durable, in order.
    fn settle(&mut self, which: impl Fn(&Effect) -> bool) {
        let (settled, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition::<Vec<_>, _>(which);
        self.pending = pending;
        for effect in settled {
            self.make_durable(effect);
        }
    }

    fn make_durable(&mut self, effect: Effect) {
        match effect {
            Effect::Sector {
                inode,
                number,
                bytes,
            } => {
                if let Some(inode) = self.inodes.get_mut(&inode) {
                    if *bytes == [0; SECTOR_BYTES] {
                        inode.durable.remove(&number);
                    } else {
                        inode.durable.insert(number, bytes);
                    }
                }
            }
            Effect::Link { name, inode } => {
                self.durable_names.insert(name, inode);
            }
            Effect::Rename { from, to, inode } => {
                self.durable_names.remove(&from);
                self.durable_names.insert(to, inode);
            }
            Effect::Unlink { name } => {
                self.durable_names.remove(&name);
            }
        }
    }
}

/// Calls `each(sector number, range within the sector, range within the bytes)` for every sector
/// that `length` bytes at `offset` touch.
fn for_sectors(
    offset: u64,
    length: usize,
    mut each: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>),
) {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let within = usize::try_from(at % SECTOR_BYTES as u64).unwrap_or(0);
        let part = (SECTOR_BYTES - within).min(length - done);
        each(
            at / SECTOR_BYTES as u64,
            within..within + part,
            done..done + part,
        );
        done += part;
    }
}

fn no_power() -> io::Error {
    io::Error::other("the disk has no power")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &Arc<dyn DiskFile>, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        file.read_at(&mut bytes, 0).unwrap();
        bytes
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_loses_the_rest() {
        let disk = FaultDisk::new(1);
        let file = disk.create("a", 2048).unwrap();
        disk.sync_dir().unwrap();
        file.write_at(b"one", 0).unwrap();
        file.sync().unwrap();
        file.write_at(b"two", 510).unwrap();
        disk.create("b", 512).unwrap();
        assert_eq!(
            disk.crash(Survival::Nothing),
            CrashOutcome {
                pending: 3,
                survived: 0
            }
        );
        assert!(
            file.sync().is_err(),
            "handles from before the crash are dead"
        );
        assert_eq!(disk.list().unwrap(), ["a"]);
        assert_eq!(read(&disk.open("a").unwrap(), 3), b"one");
        assert_eq!(read(&disk.open("a").unwrap(), 513)[510..], [0, 0, 0]);
    }

    #[test]
    fn a_write_tears_between_sectors() {
        let disk = FaultDisk::new(1);
        let file = disk.create("a", 2048).unwrap();
        disk.sync_dir().unwrap();
        file.write_at(&[7; 1024], 256).unwrap();
        assert_eq!(
            disk.crash(Survival::Prefix(1)),
            CrashOutcome {
                pending: 3,
                survived: 1
            }
        );
        let bytes = read(&disk.open("a").unwrap(), 2048);
        assert_eq!(bytes.iter().filter(|byte| **byte == 7).count(), 256);
    }

    #[test]
    fn scripted_faults_happen_at_their_operation_alone() {
        let disk = FaultDisk::new(1);
        disk.script(1, Fault::Short { bytes: 2 });
        disk.script(2, Fault::Stall { ticks: 9 });
        disk.script(3, Fault::PowerCut);
        let file = disk.create("a", 512).unwrap();
        assert!(file.write_at(b"four", 0).is_err());
        assert_eq!(read(&file, 4), b"fo\0\0");
        file.write_at(b"four", 0).unwrap();
        assert_eq!((disk.take_stall(), disk.take_stall()), (9, 0));
        assert!(file.sync().is_err());
        assert!(file.length().is_err(), "nothing answers without power");
        disk.crash(Survival::Everything);
        assert_eq!(read(&disk.open("a").unwrap(), 4), b"four");
        assert_eq!(
            disk.history(),
            [
                Operation::Create,
                Operation::Write,
                Operation::Write,
                Operation::Sync
            ]
        );
    }
}
