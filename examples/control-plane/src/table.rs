//! Tables for people.

use std::fmt;

/// Rows under the names of their columns.
#[derive(Debug)]
pub(crate) struct Table<const COLUMNS: usize> {
    rows: Vec<[String; COLUMNS]>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    pub(crate) fn new(names: [&str; COLUMNS]) -> Self {
        let names = names.map(str::to_owned);
        Self { rows: vec![names] }
    }

    pub(crate) fn row(&mut self, cells: [String; COLUMNS]) {
        self.rows.push(cells);
    }

    /// Returns the table, or `nothing` if it has no rows.
    pub(crate) fn or(&self, nothing: &str) -> String {
        match self.rows.len() {
            1 => nothing.to_owned(),
            _ => self.to_string(),
        }
    }
}

/// Returns a cell for an optional value.
pub(crate) fn cell(content: Option<impl fmt::Display>) -> String {
    content.map_or_else(|| "-".to_owned(), |content| content.to_string())
}

impl<const COLUMNS: usize> fmt::Display for Table<COLUMNS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut widths = [0; COLUMNS];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            let cells = row.iter().zip(widths);
            let padded: Vec<_> = cells
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "{}", padded.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["RUN", "PHASE"]);
        assert_eq!(table.or("no runs"), "no runs");
        table.row(["r-1".to_owned(), cell(None::<u8>)]);
        table.row(["r-2345".to_owned(), cell(Some("failed"))]);
        assert_eq!(
            table.or("no runs"),
            "RUN     PHASE\nr-1     -\nr-2345  failed\n"
        );
    }
}
