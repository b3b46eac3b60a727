//! Merged ranges against a model that asks each key.

use bytes::Bytes;
use cairn_auth::KeyRanges;
use cairn_index::KeyRange;
use proptest::prelude::*;

const LETTERS: [u8; 3] = [0, b'a', b'b'];

/// All keys of one to three letters, and one after all of them. Whatever a span of keys of up to two
/// letters leaves out, begins with one of these.
fn universe() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = LETTERS.iter().map(|letter| vec![*letter]).collect();
    let mut longest = keys.clone();
    for _ in 1..3 {
        let longer = |key: &Vec<u8>| LETTERS.map(|letter| [key.as_slice(), &[letter]].concat());
        longest = longest.iter().flat_map(longer).collect();
        keys.extend(longest.clone());
    }
    keys.push(vec![0xff; 4]);
    keys
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(LETTERS.to_vec()), 1..=2)
}

fn range() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let end = prop_oneof![Just(vec![]), Just(vec![0]), key()];
    (key(), end)
}

/// A range that ends where it starts, or before.
fn empty_range() -> impl Strategy<Value = (Vec<u8>, Vec<u8>)> {
    let reversed = (key(), key()).prop_map(|(a, b)| if a < b { (b, a) } else { (a, b) });
    // One zero byte would be no end at all.
    reversed.prop_filter("an end", |(_, end)| end.as_slice() != [0])
}

fn wire((key, range_end): &(Vec<u8>, Vec<u8>)) -> KeyRange {
    KeyRange::from_wire(Bytes::from(key.clone()), Bytes::from(range_end.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_span_is_covered_if_each_of_its_keys_is(
        granted in prop::collection::vec(range(), 0..6),
        asked in range(),
    ) {
        let asked = wire(&asked);
        prop_assume!(!asked.is_empty());
        let granted: Vec<_> = granted.iter().map(wire).collect();
        let ranges = KeyRanges::merge(granted.iter().cloned());
        let in_asked = universe().into_iter().filter(|key| asked.contains(key));
        let expected = in_asked
            .into_iter()
            .all(|key| granted.iter().any(|range| range.contains(&key)));
        prop_assert_eq!(ranges.covers(&asked), expected);
    }

    /// Of a span that has no key, nothing is looked at; it must not be a way around the rules either.
    #[test]
    fn an_empty_span_is_covered_only_where_its_first_key_is(
        granted in prop::collection::vec(range(), 0..6),
        asked in empty_range(),
    ) {
        let first = asked.0.clone();
        let asked = wire(&asked);
        prop_assert!(asked.is_empty());
        let granted: Vec<_> = granted.iter().map(wire).collect();
        let ranges = KeyRanges::merge(granted.iter().cloned());
        let first = granted.iter().any(|range| range.contains(&first));
        prop_assert!(!ranges.covers(&asked) || first);
    }
}
