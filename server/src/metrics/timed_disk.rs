//! The log's disk, timed.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use cairn_consensus::disk::{Disk, DiskFile};

use super::Metrics;

/// A disk that measures every write and sync of its files.
pub(crate) struct TimedDisk<D> {
    disk: D,
    metrics: Arc<Metrics>,
}

struct TimedFile {
    file: Arc<dyn DiskFile>,
    metrics: Arc<Metrics>,
}

impl<D> TimedDisk<D> {
    /// `disk`, measured into `metrics`.
    pub(crate) const fn new(disk: D, metrics: Arc<Metrics>) -> Self {
        Self { disk, metrics }
    }

    fn timed(&self, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        Arc::new(TimedFile {
            file,
            metrics: Arc::clone(&self.metrics),
        })
    }
}

impl<D: Disk> Disk for TimedDisk<D> {
    fn place(&self, name: &str) -> String {
        self.disk.place(name)
    }

    fn create(&self, name: &str, length: u64) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name, length).map(|file| self.timed(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.open(name).map(|file| self.timed(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

impl DiskFile for TimedFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let begun = Instant::now();
        self.file.write_at(bytes, offset)?;
        let took = begun.elapsed().as_secs_f64();
        self.metrics.disk_wal_write_duration_seconds.observe(took);
        let written = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
        self.metrics.disk_wal_write_bytes_total.add(written);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let begun = Instant::now();
        self.file.sync()?;
        let took = begun.elapsed().as_secs_f64();
        self.metrics.disk_wal_fsync_duration_seconds.observe(took);
        Ok(())
    }
}
