//! Functions and how long they are, read off formatted text.
//!
//! rustfmt puts a function's closing brace at the indentation of its `fn`, which is all that is
//! needed here; unformatted text is another check's business.

/// Words that may stand before `fn`.
const QUALIFIERS: [&str; 6] = ["pub", "const", "async", "unsafe", "extern", "default"];

/// A function's extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) name: &'a str,
    /// Where its `fn` stands, counted from 1.
    pub(super) line: usize,
    /// From `fn` to the closing brace, both counted.
    pub(super) lines: usize,
}

/// The functions with a body.
pub(super) fn functions(text: &str) -> Vec<Function<'_>> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let length = lines.get(at..).and_then(body_end);
        if let Some(lines) = length {
            found.push(Function {
                name,
                line: at + 1,
                lines,
            });
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let qualified = before.split_whitespace().all(|word| {
        QUALIFIERS.contains(&word) || word.starts_with("pub(") || word == "\"C\"" || word == "in"
    });
    if !qualified {
        return None;
    }
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    after.get(..end).filter(|name| !name.is_empty())
}

/// How many lines a function takes that begins with the first of these; `None` without a body.
fn body_end(lines: &[&str]) -> Option<usize> {
    let (first, rest) = lines.split_first()?;
    let indent = indentation(first);
    if first.ends_with('}') {
        return Some(1);
    }
    if first.ends_with(';') {
        return None;
    }
    for (at, line) in rest.iter().enumerate() {
        if line.trim().is_empty() || indentation(line) != indent {
            continue;
        }
        if line.trim_start().starts_with('}') {
            return Some(at + 2);
        }
        if line.ends_with(';') {
            return None;
        }
    }
    None
}

fn indentation(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extents(text: &str) -> Vec<(&str, usize, usize)> {
        functions(text)
            .into_iter()
            .map(|function| (function.name, function.line, function.lines))
            .collect()
    }

    #[test]
    fn a_function_ends_at_the_brace_below_its_fn() {
        let text = "impl A {\n    pub(crate) async fn one(\n        a: u8,\n    ) -> u8\n    where\n        u8: Copy,\n    {\n        {\n        }\n    }\n}\n\nfn two() {}\n";
        assert_eq!(extents(text), [("one", 2, 9), ("two", 13, 1)]);
    }

    #[test]
    fn declarations_and_function_types_are_no_functions() {
        let text = "trait A {\n    fn one(&self);\n    fn two(\n        &self,\n    );\n}\nstruct B(fn (u8));\n// a fn in prose\n";
        assert_eq!(extents(text), []);
    }
}
