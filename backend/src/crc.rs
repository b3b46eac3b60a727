//! CRC-32C of a row, as fast as a row is read.
//!
//! A processor computes one step of eight bytes in three cycles, but a step of each of three chains in
//! the same three. So a row is cut into three, and the parts' checksums are put together by a
//! multiplication. What has no such instructions uses the crate that everything else uses.

/// The checksum of what `crc` is the checksum of, and `key`, and `value`.
#[inline]
pub(crate) fn of_row(crc: u32, key: &[u8], value: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("sse4.2")
        && std::arch::is_x86_feature_detected!("pclmulqdq")
    {
        #[expect(unsafe_code, reason = "instructions that not every processor has")]
        // SAFETY: the processor has them.
        return unsafe { x86::of_row(crc, key, value) };
    }
    crc32c::crc32c_append(crc32c::crc32c_append(crc, key), value)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        _mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64,
        _mm_cvtsi64_si128, _mm_cvtsi128_si64, _mm_set_epi64x,
    };

    /// The most words of eight bytes in a part.
    const PART_WORDS_MAX: usize = 128;

    /// Shorter values are not worth cutting up.
    const CUT_WORDS_MIN: usize = 12;

    /// The polynomial, its bits reversed.
    const POLYNOMIAL: u32 = 0x82f6_3b78;

    /// For each number of words, what a checksum is multiplied by to have so many zeros follow: the
    /// multiplication gives 64 bits, and the instruction that reduces them adds 32 and takes 1 away.
    static FOLLOWED_BY: [u32; PART_WORDS_MAX + 1] = followed_by();

    #[expect(
        clippy::indexing_slicing,
        reason = "iterators are not for compile time, and an index too large would not compile"
    )]
    const fn followed_by() -> [u32; PART_WORDS_MAX + 1] {
        let mut table = [0; PART_WORDS_MAX + 1];
        // x^0, bits reversed.
        let mut power: u32 = 1 << 31;
        let mut exponent = 0;
        let mut words = 1;
        while words <= PART_WORDS_MAX {
            while exponent < 64 * words - 33 {
                power = (power >> 1) ^ if power & 1 == 1 { POLYNOMIAL } else { 0 };
                exponent += 1;
            }
            table[words] = power;
            words += 1;
        }
        table
    }

    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) fn of_row(crc: u32, key: &[u8], value: &[u8]) -> u32 {
        let crc = of_words(u64::from(!crc), key);
        !of_long(crc, value)
    }

    /// Goes on with bytes, three parts at a time.
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn of_long(crc: u32, mut bytes: &[u8]) -> u32 {
        let mut crc = u64::from(crc);
        while bytes.len() >= 8 * CUT_WORDS_MIN {
            let part = (bytes.len() / 24).min(PART_WORDS_MAX);
            let (first, rest) = bytes.split_at(8 * part);
            let (second, rest) = rest.split_at(8 * part);
            let (third, rest) = rest.split_at(8 * part);
            let (mut b, mut c) = (0, 0);
            let parts = first.as_chunks::<8>().0.iter();
            let parts = parts.zip(second.as_chunks::<8>().0);
            for ((x, y), z) in parts.zip(third.as_chunks::<8>().0) {
                crc = _mm_crc32_u64(crc, u64::from_le_bytes(*x));
                b = _mm_crc32_u64(b, u64::from_le_bytes(*y));
                c = _mm_crc32_u64(c, u64::from_le_bytes(*z));
            }
            crc = follow(crc, part) ^ b;
            crc = follow(crc, part) ^ c;
            bytes = rest;
        }
        of_words(crc, bytes)
    }

    /// The checksum with `words` words of zeros behind it; `words` is at most `PART_WORDS_MAX`.
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn follow(crc: u64, words: usize) -> u64 {
        let by = FOLLOWED_BY.get(words).copied().unwrap_or_default();
        let product = _mm_clmulepi64_si128(
            _mm_cvtsi64_si128(crc.cast_signed()),
            _mm_set_epi64x(0, i64::from(by)),
            0,
        );
        _mm_crc32_u64(0, _mm_cvtsi128_si64(product).cast_unsigned())
    }

    /// Goes on with bytes, one step after the other.
    #[target_feature(enable = "sse4.2")]
    fn of_words(mut crc: u64, bytes: &[u8]) -> u32 {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            crc = _mm_crc32_u64(crc, u64::from_le_bytes(*word));
        }
        #[expect(clippy::cast_possible_truncation, reason = "the upper half is zero")]
        let mut crc = crc as u32;
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            crc = _mm_crc32_u32(crc, u32::from_le_bytes(*word));
        }
        let (words, rest) = rest.as_chunks::<2>();
        for word in words {
            crc = _mm_crc32_u16(crc, u16::from_le_bytes(*word));
        }
        for byte in rest {
            crc = _mm_crc32_u8(crc, *byte);
        }
        crc
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length_have_the_checksum_that_the_crate_computes() {
        let mut state = 1_u64;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()[0]
        })
        .take(8192)
        .collect();
        let lengths = (0..1200).chain([3071, 3072, 3073, 4096, 6151, 8000]);
        for length in lengths {
            for key in [0, 1, 8, 17, 18] {
                let (key, rest) = bytes.split_at(key);
                let value = &rest[length % 8..][..length];
                let expected = crc32c::crc32c_append(crc32c::crc32c_append(7, key), value);
                assert_eq!(of_row(7, key, value), expected, "{length}");
            }
        }
    }
}
