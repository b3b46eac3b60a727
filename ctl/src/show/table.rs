//! Tables in the look of etcdctl 3.6 and later: frames, heads in the middle, rows to the right.

use std::fmt;

use unicode_width::UnicodeWidthStr as _;

/// A head and rows of as many columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self {
            head: head.iter().map(|name| name.to_uppercase()).collect(),
            rows,
        }
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.head.iter().map(|cell| cell.width()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.width());
            }
        }
        widths
    }
}

fn rule(widths: &[usize], [left, middle, right]: [&str; 3]) -> String {
    let bars: Vec<String> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
    format!("{left}{}{right}\n", bars.join(middle))
}

fn row(cells: &[String], widths: &[usize], is_centred: bool) -> String {
    let padded: Vec<String> = cells
        .iter()
        .zip(widths)
        .map(|(cell, width)| {
            let blanks = width - cell.width();
            let left = if is_centred { blanks / 2 } else { blanks };
            format!("{:left$}{cell}{:2$}", "", "", blanks - left)
        })
        .collect();
    format!("│ {} │\n", padded.join(" │ "))
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        f.write_str(&rule(&widths, ["┌", "┬", "┐"]))?;
        f.write_str(&row(&self.head, &widths, true))?;
        f.write_str(&rule(&widths, ["├", "┼", "┤"]))?;
        for cells in &self.rows {
            f.write_str(&row(cells, &widths, false))?;
        }
        f.write_str(&rule(&widths, ["└", "┴", "┘"]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_stand_in_the_middle_and_rows_to_the_right() {
        let row = ["2e1259d415f2a040", "started", "false"].map(str::to_owned);
        let table = Table::new(&["ID", "Status", "Is Learner"], vec![row.to_vec()]);
        let expected = "\
┌──────────────────┬─────────┬────────────┐
│        ID        │ STATUS  │ IS LEARNER │
├──────────────────┼─────────┼────────────┤
│ 2e1259d415f2a040 │ started │      false │
└──────────────────┴─────────┴────────────┘
";
        assert_eq!(table.to_string(), expected);
    }
}
