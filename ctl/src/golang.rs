//! Texts as Go writes and reads them, since scripts compare what etcdctl prints.

mod duration;
mod json;
mod number;
mod quote;

pub(crate) use self::duration::{duration, parse_duration};
pub(crate) use self::json::{Json, Object};
pub(crate) use self::number::{Base, human_bytes, parse_bool, parse_i64, parse_u64};
pub(crate) use self::quote::{quote, scan_quoted};
