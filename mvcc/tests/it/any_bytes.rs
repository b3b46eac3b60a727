//! Databases of another member that are any bytes. The function serves the fuzzer in `fuzz/` too.

use cairn_backend::{Applied, Backend, BackendOptions, MemoryEngine};
use cairn_mvcc::{ReadAt, Store};

const APPLIED: Applied = Applied { index: 5, term: 1 };
const TABLES: [&str; 3] = ["key", "lease", "meta"];
const BEGIN: u8 = 1;
const ROWS: u8 = 2;
const END: u8 = 3;

/// The first byte says what the others are: chunks of a transfer, each behind its length in two bytes,
/// or else rows, each behind a byte for its table, its key's length and its value's, in one byte each,
/// which are sent as they should be. Checksums are right: chance does not find them. What is taken
/// for good can be read whole.
///
/// # Panics
///
/// If it cannot.
pub(crate) fn received(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else {
        return;
    };
    let chunks = if *kind == 0 {
        chunks(rest)
    } else {
        transfer(rest)
    };
    let backend = Backend::open(MemoryEngine::new(), BackendOptions::default());
    let store = Store::restore(backend.unwrap()).unwrap();
    let mut receiving = store.receive().unwrap();
    let mut checksum = 0;
    for chunk in chunks {
        checksum = crc32c::crc32c_append(checksum, &chunk);
        let chunk = [checksum.to_be_bytes().to_vec(), chunk].concat();
        if receiving.write(&chunk).is_err() {
            return;
        }
    }
    if let Ok(prepared) = receiving.finish(APPLIED) {
        store.install(prepared).unwrap();
        store.hash_kv(ReadAt::Latest).unwrap();
    }
}

fn chunks(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length));
        let (chunk, rest) = rest.split_at(length.min(rest.len()));
        chunks.push(chunk.to_vec());
        bytes = rest;
    }
    chunks
}

/// The chunks of these rows, of those that say what was applied, and of what stands around them.
fn transfer(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut rows = vec![
        (
            2,
            b"consistent_index".to_vec(),
            APPLIED.index.to_be_bytes().to_vec(),
        ),
        (2, b"term".to_vec(), APPLIED.term.to_be_bytes().to_vec()),
    ];
    while let Some(([table, key, value], rest)) = bytes.split_first_chunk::<3>() {
        let (key, rest) = rest.split_at(rest.len().min((*key).into()));
        let (value, rest) = rest.split_at(rest.len().min((*value).into()));
        rows.push((
            usize::from(*table) % TABLES.len(),
            key.to_vec(),
            value.to_vec(),
        ));
        bytes = rest;
    }
    // In order, each key once.
    rows.sort();
    rows.dedup_by(|a, b| (a.0, &a.1) == (b.0, &b.1));
    let mut begin = vec![BEGIN];
    begin.extend(b"CAIRNSNP");
    begin.extend(1_u16.to_be_bytes());
    for number in [APPLIED.index, APPLIED.term, 0] {
        begin.extend(number.to_be_bytes());
    }
    let mut end = vec![END];
    let sizes = rows.iter().map(|(_, key, value)| key.len() + value.len());
    for number in [rows.len(), sizes.sum()] {
        end.extend(u64::try_from(number).unwrap().to_be_bytes());
    }
    let rows = rows.iter().map(|(table, key, value)| {
        let table = TABLES[*table];
        let mut chunk = vec![ROWS, u8::try_from(table.len()).unwrap()];
        chunk.extend(table.bytes());
        chunk.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
        chunk.extend(key);
        chunk.extend(u32::try_from(value.len()).unwrap().to_be_bytes());
        chunk.extend(value);
        chunk
    });
    let mut chunks = vec![begin];
    chunks.extend(rows);
    chunks.push(end);
    chunks
}

#[cfg(test)]
mod tests {
    use cairn_testbed::mutations::run;

    #[test]
    fn no_database_of_a_peer_is_installed_that_cannot_be_read_and_none_makes_this_one_panic() {
        run(
            env!("CARGO_MANIFEST_DIR"),
            "received",
            2000,
            super::received,
        )
        .unwrap();
    }
}
