//! What differs from server to server by right, taken out of `etcdctl`'s output.

use super::script::Sameness;

/// A word that follows one of these is an id, an address, a time or a size.
const BEFORE_MASKED: [&str; 19] = [
    "127.0.0.1:",
    "\"cluster_id\":",
    "\"member_id\":",
    "\"raft_term\":",
    "\"ID\":",
    "\"ClusterID\" : ",
    "\"MemberID\" : ",
    "\"RaftTerm\" : ",
    "\"ID\" : ",
    "\"Raft Term\" : ",
    "took = ",
    // HashKV says since 3.6 which revision it hashed.
    "\"hash_revision\":",
    "\"ts\":\"",
    "\"cluster_id\" : ",
    "\"member_id\" : ",
    "\"raft_term\" : ",
    "took: ",
    "\"Took\" : ",
    // What a defragmentation took, as etcdctl 3.7 tells it.
    "]. took ",
];

/// Makes outputs equal that mean the same.
pub(super) fn mask(text: &str, sameness: Sameness) -> String {
    let mut lines = Vec::new();
    let mut is_usage = false;
    for line in text.lines() {
        // How a command is called, each program says in its own words, up to its exit status.
        is_usage = line.starts_with("Usage:") || is_usage && !line.starts_with("[exit");
        // Log lines are etcdctl's own affair.
        if is_usage || line.starts_with("{\"level\"") {
            continue;
        }
        // What stands before the status may have been such lines.
        if line.starts_with("[exit") {
            while lines.pop_if(|last: &mut String| last.is_empty()).is_some() {}
        }
        lines.push(match sameness {
            Sameness::Exact => mask_ids(line),
            Sameness::Shape => mask_numbers(line),
            Sameness::Words => sorted_words(&mask_ids(line)),
        });
    }
    if sameness == Sameness::Words {
        lines.sort();
    }
    lines.join("\n")
}

fn mask_ids(line: &str) -> String {
    let mut masked = line.to_owned();
    for before in BEFORE_MASKED {
        let mut rest = std::mem::take(&mut masked);
        while let Some(at) = rest.find(before) {
            let after = rest.split_off(at + before.len());
            masked.push_str(&rest);
            masked.push('#');
            let word =
                after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || ".µ".contains(c));
            rest = word.to_owned();
        }
        masked.push_str(&rest);
    }
    let words: Vec<String> = masked.split(' ').map(mask_id).collect();
    // Ids are padded with blanks.
    words.join(" ").replace("  #", " #")
}

/// An id may be the end of a key, as of a lock's.
fn mask_id(word: &str) -> String {
    match word.rsplit_once('/') {
        _ if is_id(word) => "#".to_owned(),
        Some((before, last)) if is_id(last) => format!("{before}/#"),
        _ => word.to_owned(),
    }
}

fn sorted_words(line: &str) -> String {
    let mut words: Vec<&str> = line
        .split(|c: char| c.is_whitespace() || "{}[],\"".contains(c))
        .collect();
    words.sort_unstable();
    words.join(" ")
}

/// Whether a word is an id as `member list` shows it: 64 bits in hexadecimal.
fn is_id(word: &str) -> bool {
    let word = word.trim_end_matches(',');
    (11..=16).contains(&word.len()) && word.chars().all(|c| c.is_ascii_hexdigit())
}

/// Words with digits become one mark; the widths of columns do not count.
fn mask_numbers(line: &str) -> String {
    let mut masked = String::new();
    let separators = [
        ' ', ',', ':', '|', '+', '-', '─', '{', '}', '[', ']', '"', '/',
    ];
    for word in line.split_inclusive(separators) {
        let (text, separator) = word
            .char_indices()
            .next_back()
            .filter(|(_, last)| separators.contains(last))
            .map_or((word, ""), |(at, _)| word.split_at(at));
        let unit = ["kB", "MB", "B", "KiB", "MiB"].contains(&text);
        if unit {
            continue;
        }
        if text.chars().any(|c| c.is_ascii_digit()) || is_id(text) {
            masked.push('#');
        } else {
            masked.push_str(text);
        }
        let blank = [" ", "-", "─"].contains(&separator);
        if !blank || !masked.ends_with(separator) {
            masked.push_str(separator);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_addresses_go_and_revisions_stay() {
        let line = r#"{"header":{"cluster_id":14841639068965178418,"revision":2,"raft_term":2}}"#;
        let masked = r##"{"header":{"cluster_id":#,"revision":2,"raft_term":#}}"##;
        assert_eq!(mask(line, Sameness::Exact), masked);
        let line = "lock/694d72a02758b52d";
        assert_eq!(mask(line, Sameness::Exact), "lock/#");
        let line = "Member 8e9e05c52164694d updated in cluster  e9e05c52164694d";
        let masked = "Member # updated in cluster #";
        assert_eq!(mask(line, Sameness::Exact), masked);
        let line = "8e9e05c52164694d, started, one, http://127.0.0.1:4001, http://127.0.0.1:1";
        let masked = "# started, one, http://127.0.0.1:#, http://127.0.0.1:#";
        assert_eq!(mask(line, Sameness::Exact), masked);
    }

    #[test]
    fn log_lines_and_usages_go_and_statuses_stay() {
        let one = "Error: unknown flag: --x\nUsage:\n  a\n\nFlags:\n\n[exit status: 1]";
        let other =
            "{\"level\":\"warn\"}\nError: unknown flag: --x\nUsage:\n  b\n\n[exit status: 1]";
        let masked = "Error: unknown flag: --x\n[exit status: 1]";
        assert_eq!(mask(one, Sameness::Exact), masked);
        assert_eq!(mask(other, Sameness::Exact), masked);
        assert_eq!(
            mask("OK\n\n[exit status: 0]", Sameness::Exact),
            "OK\n[exit status: 0]"
        );
    }

    #[test]
    fn lists_are_equal_in_any_order() {
        let one = "{\"ids\":[{\"ID\":1,\"name\":\"m1\"},{\"ID\":2,\"name\":\"m2\"}]}\nb\na";
        let two = "a\n{\"ids\":[{\"ID\":3,\"name\":\"m2\"},{\"ID\":4,\"name\":\"m1\"}]}\nb";
        assert_eq!(mask(one, Sameness::Words), mask(two, Sameness::Words));
        assert_ne!(mask(one, Sameness::Words), mask("a\nb", Sameness::Words));
    }

    #[test]
    fn a_shape_has_neither_numbers_nor_widths() {
        let short = "| 127.0.0.1:1 | 8e9e05c52164694d | 3.4.23 | 20 kB | true |";
        let long = "| 127.0.0.1:12345 |  8e9e05c52164694d |  3.7.1 | 1.1 MB |  true |";
        assert_eq!(mask(short, Sameness::Shape), mask(long, Sameness::Shape));
        let (short, long) = ("┌──┬───┐", "┌───┬──┐");
        assert_eq!(mask(short, Sameness::Shape), mask(long, Sameness::Shape));
        assert_ne!(
            mask(short, Sameness::Shape),
            mask("| true |", Sameness::Shape)
        );
    }
}
