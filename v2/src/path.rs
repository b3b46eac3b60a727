//! Paths of nodes.

use std::fmt;

use bytes::Bytes;

/// How deep a path may be. Listings are built level by level, so something must bound it.
const LEVELS_MAX: usize = 512;

/// Whether a path is what [`NodePath::parse`] makes of it.
fn is_shortest(raw: &[u8]) -> bool {
    let Some(components) = raw.strip_prefix(b"/") else {
        return raw.is_empty();
    };
    let mut levels = 0;
    components.split(|&byte| byte == b'/').all(|component| {
        levels += 1;
        levels <= LEVELS_MAX && !matches!(component, b"" | b"." | b"..")
    })
}

/// An absolute path in its shortest form: empty for the root, `/a/b` for a node.
///
/// Invariants:
/// 1. It is empty, or begins with a slash and does not end with one.
/// 2. No component is empty, `.` or `..`.
/// 3. It has at most 512 components.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePath(Bytes);

impl NodePath {
    /// The root of everything.
    pub const ROOT: Self = Self(Bytes::new());

    /// Reads a path as requests carry it: repeated slashes and dots are resolved as etcd resolves
    /// them.
    ///
    /// # Errors
    ///
    /// [`TooDeep`].
    pub fn parse(raw: &[u8]) -> Result<Self, TooDeep> {
        if is_shortest(raw) {
            return Ok(Self(Bytes::copy_from_slice(raw)));
        }
        let mut components: Vec<&[u8]> = Vec::new();
        for component in raw.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => {}
                b".." => {
                    components.pop();
                }
                name => components.push(name),
            }
        }
        if components.len() > LEVELS_MAX {
            return Err(TooDeep);
        }
        let mut path = Vec::with_capacity(raw.len() + 1);
        for component in components {
            path.push(b'/');
            path.extend_from_slice(component);
        }
        Ok(Self(path.into()))
    }

    /// The path as it is stored: the root is empty.
    #[must_use]
    pub const fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The path as clients see it: the root is a slash.
    #[must_use]
    pub fn shown(&self) -> Bytes {
        if self.0.is_empty() {
            Bytes::from_static(b"/")
        } else {
            self.0.clone()
        }
    }

    /// The directory that the node is in; the root is in none.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|&byte| byte == b'/')?;
        Some(Self(self.0.slice(..slash)))
    }

    /// The directories above, from the root's child down to the parent.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let slashes = self.0.iter().enumerate().skip(1);
        slashes
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| Self(self.0.slice(..at)))
    }

    /// The node of this name in this directory.
    ///
    /// # Errors
    ///
    /// [`TooDeep`].
    pub fn child(&self, name: &[u8]) -> Result<Self, TooDeep> {
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        path.push(b'/');
        path.extend_from_slice(name);
        Self::parse(&path)
    }

    /// Whether listings leave the node out: its name begins with an underscore.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        let name = self.0.iter().rposition(|&byte| byte == b'/');
        name.is_some_and(|slash| self.0.get(slash + 1) == Some(&b'_'))
    }

    /// Whether the node is in `directory`, at any depth.
    #[must_use]
    pub fn is_below(&self, directory: &Self) -> bool {
        let rest = self.0.strip_prefix(directory.0.as_ref());
        rest.is_some_and(|rest| rest.first() == Some(&b'/'))
    }

    /// Whether a watcher of `watched`, a directory above, does not see the node: something between
    /// them, or the node itself, is hidden.
    #[must_use]
    pub fn is_hidden_from(&self, watched: &Self) -> bool {
        let rest = self.0.get(watched.0.len()..).unwrap_or_default();
        rest.windows(2).any(|pair| pair == b"/_")
    }

    /// A path that was stored; `None` if it never was one.
    pub(crate) fn from_stored(bytes: &[u8]) -> Option<Self> {
        let path = Self::parse(bytes).ok()?;
        (path.0 == bytes).then_some(path)
    }
}

impl fmt::Display for NodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shown().escape_ascii())
    }
}

/// A path has more levels than a tree may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path has more than {LEVELS_MAX} levels")]
pub struct TooDeep;

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> NodePath {
        NodePath::parse(raw.as_bytes()).unwrap()
    }

    #[test]
    fn paths_are_brought_to_their_shortest_form() {
        for (raw, shortest) in [
            ("", ""),
            ("/", ""),
            ("a", "/a"),
            ("//a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../..", ""),
        ] {
            assert_eq!(path(raw).as_bytes(), shortest.as_bytes(), "{raw}");
        }
        assert_eq!(path("/").shown(), "/");
        assert!(NodePath::parse("/a".repeat(512).as_bytes()).is_ok());
        assert_eq!(NodePath::parse("/a".repeat(513).as_bytes()), Err(TooDeep));
    }

    #[test]
    fn a_path_knows_what_is_above_it() {
        let deep = path("/a/b/c");
        assert_eq!(deep.parent(), Some(path("/a/b")));
        assert_eq!(path("/a").parent(), Some(NodePath::ROOT));
        assert_eq!(NodePath::ROOT.parent(), None);
        let above: Vec<NodePath> = deep.ancestors().collect();
        assert_eq!(above, [path("/a"), path("/a/b")]);
        assert!(deep.is_below(&path("/a")) && deep.is_below(&NodePath::ROOT));
        assert!(!deep.is_below(&deep) && !path("/ab").is_below(&path("/a")));
    }

    #[test]
    fn what_is_hidden_is_hidden_from_above_alone() {
        assert!(path("/a/_b").is_hidden() && !path("/_a/b").is_hidden());
        assert!(path("/_a/b").is_hidden_from(&NodePath::ROOT));
        assert!(!path("/_a/b").is_hidden_from(&path("/_a")));
        assert!(!path("/a_/b").is_hidden_from(&NodePath::ROOT));
    }
}
