//! Inputs made from good ones, the same in every run: what a fuzzer does, without one.

use std::fs;
use std::path::Path;

/// Numbers that lengths and counts are wrong with.
const NUMBERS: [u8; 8] = [0, 1, 0x7f, 0x80, 0xff, 0x40, 0x10, b'\n'];
/// Changes of one input.
const CHANGES_MAX: usize = 4;
const INPUT_BYTES_MAX: usize = 1 << 16;

/// Numbers that look random.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let below = u64::try_from(below.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.0 % below).unwrap_or_default()
    }
}

/// Gives `each` all files of a fuzzer's corpus, then so many inputs made from them; how many it was given.
/// The fuzzer is in the folder `fuzz` of the crate at `crate_folder`.
///
/// # Errors
///
/// If a file cannot be read, or there is none.
pub fn run(
    crate_folder: &str,
    fuzzer: &str,
    count: usize,
    mut each: impl FnMut(&[u8]),
) -> std::io::Result<usize> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(Path::new(crate_folder).join("fuzz/corpus").join(fuzzer))? {
        paths.push(entry?.path());
    }
    paths.sort();
    let inputs: Vec<Vec<u8>> = paths.iter().map(fs::read).collect::<Result<_, _>>()?;
    if inputs.is_empty() {
        return Err(std::io::ErrorKind::NotFound.into());
    }
    inputs.iter().for_each(|input| each(input));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count {
        let at = random.next(inputs.len());
        let mut input = inputs.get(at).cloned().unwrap_or_default();
        for _ in 0..=random.next(CHANGES_MAX) {
            change(&mut input, &inputs, &mut random);
        }
        input.truncate(INPUT_BYTES_MAX);
        each(&input);
    }
    Ok(inputs.len() + count)
}

fn change(input: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = random.next(input.len() + 1);
    let to = at + random.next(input.len() - at + 1);
    let number = NUMBERS.get(random.next(NUMBERS.len())).copied();
    let number = number.unwrap_or_default();
    match random.next(7) {
        0 => input.truncate(at),
        1 => drop(input.drain(at..to)),
        2 => {
            let again: Vec<u8> = input.get(at..to).unwrap_or_default().to_vec();
            input.splice(at..at, again);
        }
        3 => input.insert(at, number),
        4 => {
            let other = others.get(random.next(others.len()));
            let other = other.map_or(&[][..], Vec::as_slice);
            let from = random.next(other.len() + 1);
            input.splice(at..to, other.iter().skip(from).copied());
        }
        5 => input
            .iter_mut()
            .skip(at)
            .take(1)
            .for_each(|byte| *byte = number),
        _ => {
            let bit = 1 << random.next(8);
            input
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= bit);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn inputs_are_the_corpus_and_others_and_the_same_every_time() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = folder.path().join("fuzz/corpus/some");
        fs::create_dir_all(&corpus).unwrap();
        fs::write(corpus.join("a"), b"one good input").unwrap();
        fs::write(corpus.join("b"), b"another").unwrap();
        let inputs = || {
            let mut inputs = Vec::new();
            let folder = folder.path().to_str().unwrap();
            let given = run(folder, "some", 1000, |input| inputs.push(input.to_vec())).unwrap();
            assert_eq!(given, inputs.len());
            inputs
        };
        let first = inputs();
        assert_eq!(
            first[..2],
            [b"one good input".to_vec(), b"another".to_vec()]
        );
        assert_eq!(first, inputs());
        let different: HashSet<_> = first.into_iter().collect();
        assert!(different.len() > 700, "{}", different.len());
    }
}
