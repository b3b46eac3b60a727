//! Under which conditions something was measured: numbers mean nothing without them.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The machine, as far as it matters to a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// Processors that may be used.
    pub cores: usize,
    /// The processor's name.
    pub processor: String,
    /// Memory.
    pub memory_mib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The file system that the data is on.
    pub file_system: String,
}

impl Conditions {
    /// Looks at this machine; `data` is where the servers' data is.
    #[must_use]
    pub fn here(data: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: after(&read("/proc/cpuinfo"), "model name\t:").unwrap_or_default(),
            memory_mib: after(&read("/proc/meminfo"), "MemTotal:")
                .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok())
                .map_or(0, |kib| kib / 1024),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            file_system: file_system(&read("/proc/mounts"), &data)
                .unwrap_or_else(|| "unknown".to_owned()),
        }
    }

    /// One line for each condition.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        vec![
            format!(
                "{} cores ({}), {} MiB of memory",
                self.cores, self.processor, self.memory_mib
            ),
            format!("Linux {}, data on {}", self.kernel, self.file_system),
        ]
    }
}

fn after(text: &str, label: &str) -> Option<String> {
    text.lines()
        .find_map(|line| line.strip_prefix(label))
        .map(|value| value.trim().to_owned())
}

/// Type and options of the mount that holds `path`: the longest mount point that leads to it.
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            path.starts_with(point)
                .then(|| (point.len(), format!("{kind} ({options})")))
        })
        .max_by_key(|(len, _)| *len)
        .map(|(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_mount_point_holds_the_data() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /tmp tmpfs rw,nosuid 0 0\n";
        let at = |path| file_system(mounts, Path::new(path)).unwrap();
        assert_eq!(at("/tmp/x"), "tmpfs (rw,nosuid)");
        assert_eq!(at("/tmpx"), "ext4 (rw)");
    }

    #[test]
    fn this_machine_has_cores_and_a_kernel() {
        let here = Conditions::here(Path::new("/"));
        assert!(here.cores > 0 && !here.kernel.is_empty());
    }
}
