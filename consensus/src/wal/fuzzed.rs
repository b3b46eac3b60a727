//! Logs whose last frames hold any bytes, under checksums that are right: chance does not find those.

use super::*;
use crate::disk::FaultDisk;
use crate::fuzzing::parts;
use crate::member_id::{ClusterId, MemberId};

/// How such a log is kept.
pub(crate) const OPTIONS: WalOptions = WalOptions {
    segment_bytes: 64 << 10,
    frame_alignment: FrameAlignment::SECTOR,
    durability: Durability::Sync,
};

/// A log on `disk` whose last frames have these bodies, each behind its length in two bytes.
pub(crate) fn write(disk: &FaultDisk, bodies: &[u8]) -> Result<(), WalError> {
    let identity = Identity {
        cluster: ClusterId::new(1),
        member: MemberId::from_wire(1).ok_or(WalError::NotFound)?,
    };
    let disk = Arc::new(disk.clone());
    let mut wal = Wal::create(disk, identity, OPTIONS, &LogWrite::default())?;
    for body in parts(bodies).take_while(|body| !body.is_empty()) {
        wal.frame.clear();
        wal.frame.resize(FRAME_HEADER_BYTES, 0);
        wal.frame.extend_from_slice(body);
        wal.write_frame()?;
    }
    Ok(())
}
