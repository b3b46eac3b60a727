//! Reads and puts mixed, in a given ratio.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::load::{Call, Workload};
use crate::scenario::Keyed;

/// Reads of single keys among puts.
#[derive(Clone, Debug)]
pub struct Mixed {
    reads: Keyed,
    puts: Keyed,
    reads_percent: u8,
}

impl Mixed {
    /// `reads_percent` in 100 requests are reads (at most 100), in random order.
    #[must_use]
    pub fn new(reads: Keyed, puts: Keyed, reads_percent: u8) -> Self {
        Self {
            reads,
            puts,
            reads_percent: reads_percent.min(100),
        }
    }
}

impl Workload for Mixed {
    fn kinds(&self) -> &[&'static str] {
        &["range", "put"]
    }

    fn client(&self, index: usize) -> Box<dyn FnMut(u64) -> Call> {
        let mut read = self.reads.client(index);
        let mut put = self.puts.client(index);
        let mut rng = SmallRng::seed_from_u64(index as u64);
        let reads_percent = self.reads_percent;
        Box::new(move |ticket| {
            if rng.random_range(0..100) < reads_percent {
                read(ticket)
            } else {
                Call {
                    kind: 1,
                    ..put(ticket)
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Method;
    use crate::key_space::{KeySpace, Order};
    use crate::load::Payload;
    use crate::scenario::{Consistency, puts, reads};

    #[test]
    fn the_ratio_holds_and_each_request_has_its_kind() {
        let keys = KeySpace::new("m/", 100, 16);
        let reads = reads(keys.clone(), Order::Random, Consistency::Linearizable);
        let mixed = Mixed::new(reads, puts(keys, Order::Random, 16), 75);
        let mut client = mixed.client(0);
        let mut reads = 0;
        for ticket in 0..10_000 {
            let call = client(ticket);
            let Payload::Grpc { method, .. } = call.payload else {
                panic!("not gRPC")
            };
            assert_eq!(call.kind == 0, method == Method::Range);
            reads += usize::from(call.kind == 0);
        }
        assert!((7_000..8_000).contains(&reads), "{reads}");
    }
}
