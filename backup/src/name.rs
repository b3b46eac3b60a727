//! The names of objects.
//!
//! ```text
//! CLUSTER/log/SEQUENCE             entries, or the beginning of a timeline
//! CLUSTER/base/SEQUENCE-ID         what a base is; SEQUENCE is that of the first object after it
//! CLUSTER/part/SEQUENCE-ID/NUMBER  the pieces of a base's file
//! ```
//!
//! All numbers are hexadecimal with sixteen digits, so names sort as they do.

use cairn_consensus::ClusterId;

/// The place of an object in the sequence of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Sequence(pub(crate) u64);

impl Sequence {
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A base, among all of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BaseId {
    /// The first object after it.
    pub(crate) resume: Sequence,
    /// Tells it from others that were begun there.
    pub(crate) id: u64,
}

/// The names of one cluster's backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) ClusterId);

impl Names {
    pub(crate) fn log_folder(self) -> String {
        format!("{:016x}/log/", self.0.get())
    }

    pub(crate) fn log(self, at: Sequence) -> String {
        format!("{}{:016x}", self.log_folder(), at.0)
    }

    pub(crate) fn base_folder(self) -> String {
        format!("{:016x}/base/", self.0.get())
    }

    pub(crate) fn base(self, base: BaseId) -> String {
        format!(
            "{}{:016x}-{:016x}",
            self.base_folder(),
            base.resume.0,
            base.id
        )
    }

    pub(crate) fn part_folder(self) -> String {
        format!("{:016x}/part/", self.0.get())
    }

    pub(crate) fn part(self, base: BaseId, number: u64) -> String {
        let folder = self.part_folder();
        format!(
            "{folder}{:016x}-{:016x}/{number:016x}",
            base.resume.0, base.id
        )
    }

    /// The place that a name under `log/` says.
    pub(crate) fn parse_log(self, name: &str) -> Option<Sequence> {
        let digits = name.strip_prefix(&self.log_folder())?;
        number(digits).map(Sequence)
    }

    /// The base that a name under `base/` says.
    pub(crate) fn parse_base(self, name: &str) -> Option<BaseId> {
        parse_base_id(name.strip_prefix(&self.base_folder())?)
    }

    /// The base that a name under `part/` belongs to.
    pub(crate) fn parse_part(self, name: &str) -> Option<BaseId> {
        let (base, _) = name.strip_prefix(&self.part_folder())?.split_once('/')?;
        parse_base_id(base)
    }
}

/// The cluster that a folder belongs to.
pub(crate) fn parse_cluster(folder: &str) -> Option<ClusterId> {
    number(folder).map(ClusterId::new)
}

fn parse_base_id(text: &str) -> Option<BaseId> {
    let (resume, id) = text.split_once('-')?;
    Some(BaseId {
        resume: Sequence(number(resume)?),
        id: number(id)?,
    })
}

fn number(digits: &str) -> Option<u64> {
    let is_hexadecimal = digits.bytes().all(|it| it.is_ascii_hexdigit());
    (digits.len() == 16 && is_hexadecimal)
        .then(|| u64::from_str_radix(digits, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_nothing_else_is() {
        let names = Names(ClusterId::new(0xabc));
        let base = BaseId {
            resume: Sequence(17),
            id: u64::MAX,
        };
        assert_eq!(
            names.log(Sequence(1)),
            "0000000000000abc/log/0000000000000001"
        );
        assert_eq!(names.parse_log(&names.log(Sequence(1))), Some(Sequence(1)));
        assert_eq!(names.parse_base(&names.base(base)), Some(base));
        assert_eq!(names.parse_part(&names.part(base, 3)), Some(base));
        assert_eq!(
            parse_cluster("0000000000000abc"),
            Some(ClusterId::new(0xabc))
        );
        let folder = names.log_folder();
        for strange in ["", "1", "+000000000000001", "000000000000000g"] {
            assert_eq!(
                names.parse_log(&format!("{folder}{strange}")),
                None,
                "{strange}"
            );
        }
    }
}
