//! The log on disks that tear, lose and refuse.
