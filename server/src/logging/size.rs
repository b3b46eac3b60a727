//! Sizes as etcd shows them to people.

/// A size in powers of a thousand: `20 kB`, `2.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];

    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    let value = (value * 10.0 + 0.5).floor() / 10.0;
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_shown_as_etcds_tools_show_them() {
        for (bytes, shown) in [
            (5, "5 B"),
            (20_480, "20 kB"),
            (2_400_000, "2.4 MB"),
            (16_801_792, "17 MB"),
        ] {
            assert_eq!(size(bytes), shown);
        }
    }
}
