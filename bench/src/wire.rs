//! Fields of an encoded protobuf message, looked at in place.
//!
//! For watch answers only: ten thousand of them for one put are too many to decode into structs.

/// The wire types that etcd's messages use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// An integer or a truth value.
    Varint(u64),
    /// Bytes, text, or a message.
    Bytes(&'a [u8]),
}

/// The fields of a message in order, with their numbers; ends early at malformed bytes.
pub fn fields(message: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    let mut rest = message;
    std::iter::from_fn(move || {
        let tag = varint(&mut rest)?;
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut rest)?),
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                let (bytes, tail) = rest.split_at_checked(len)?;
                rest = tail;
                Field::Bytes(bytes)
            }
            _ => return None,
        };
        Some((tag >> 3, field))
    })
}

/// The first field of that number that holds bytes.
#[must_use]
pub fn bytes_field(message: &[u8], number: u64) -> Option<&[u8]> {
    fields(message).find_map(|(found, field)| match field {
        Field::Bytes(bytes) if found == number => Some(bytes),
        _ => None,
    })
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_come_in_order_with_their_numbers() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x58, 1];
        let seen: Vec<_> = fields(&message).collect();
        let expected = [
            (1, Field::Varint(150)),
            (2, Field::Bytes(b"hi")),
            (11, Field::Varint(1)),
        ];
        assert_eq!(seen, expected);
        assert_eq!(bytes_field(&message, 2), Some(&b"hi"[..]));
        assert_eq!(bytes_field(&message, 1), None);
    }

    #[test]
    fn a_message_cut_within_a_field_ends_before_it() {
        let message = [0x08, 1, 0x12, 5, b'h'];
        assert_eq!(fields(&message).count(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(fields(&bytes).count() <= bytes.len());
        }
    }
}
