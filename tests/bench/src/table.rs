//! The one table that comes out.

use std::fmt;

/// Figures in their order.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<[String; 5]>,
}

const HEAD: [&str; 5] = ["figure", "hookrun", "beside", "ratio", "limit"];

impl Table {
    /// A figure, what it is measured beside, their relation, and the limit; empty where there is none.
    pub(crate) fn row(
        &mut self,
        figure: impl Into<String>,
        measured: impl Into<String>,
        peer: impl Into<String>,
        ratio: impl Into<String>,
        limit: impl Into<String>,
    ) {
        let row = [
            figure.into(),
            measured.into(),
            peer.into(),
            ratio.into(),
            limit.into(),
        ];
        // Whoever waits sees each figure as it comes.
        eprintln!(
            "  {}",
            row.iter()
                .filter(|cell| !cell.is_empty())
                .cloned()
                .collect::<Vec<_>>()
                .join(" | ")
        );
        self.rows.push(row);
    }
}

/// Markdown, so that it can be put into a document as it is.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = HEAD.map(str::to_owned);
        let all = || std::iter::once(&head).chain(&self.rows);
        let widths: [usize; 5] = std::array::from_fn(|column| {
            all()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        });
        for (number, row) in all().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell:width$}"))
                .collect();
            writeln!(f, "| {} |", cells.join(" | "))?;
            if number == 0 {
                let lines: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
                writeln!(f, "| {} |", lines.join(" | "))?;
            }
        }
        Ok(())
    }
}

/// The middle one of several measurements; they are sorted in passing.
pub(crate) fn median<T: PartialOrd + Copy + Default>(values: &mut [T]) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// A duration with a unit that suits it.
pub(crate) fn time(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1e-3 {
        format!("{:.0} µs", seconds * 1e6)
    } else if seconds < 1.0 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{seconds:.2} s")
    }
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
