//! Ranges of keys as the API writes them.

/// An end that stands for no end.
pub(crate) const OPEN_END: [u8; 1] = [0];

/// The end of the range of all keys that begin with a prefix; of the empty one there is no end.
pub(crate) fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    OPEN_END.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(prefix_end(b"ab"), b"ac");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff\xff"), OPEN_END);
        assert_eq!(prefix_end(b""), OPEN_END);
    }
}
