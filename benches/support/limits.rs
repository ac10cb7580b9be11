//! What was measured, each beside its limit.

use std::fmt;

/// The limits, in the order in which they were checked.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    measured: f64,
    most: f64,
}

impl Limits {
    /// Holds something measured to the most that it may be.
    pub(crate) fn hold(&mut self, what: &str, measured: f64, most: f64) {
        self.rows.push(Row { what: what.to_owned(), measured, most });
    }

    /// Whether no limit is broken.
    pub(crate) fn all_hold(&self) -> bool {
        self.rows.iter().all(Row::holds)
    }
}

impl Row {
    fn holds(&self) -> bool {
        self.measured <= self.most
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<52} {:>10} {:>10}", "held to limits", "measured", "at most")?;
        for row in &self.rows {
            let word = if row.holds() { "holds" } else { "BROKEN" };
            writeln!(f, "{:<52} {:>10.2} {:>10.2}  {word}", row.what, row.measured, row.most)?;
        }
        Ok(())
    }
}
