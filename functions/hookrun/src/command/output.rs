//! What commands print: for people aligned and safe for a terminal, for programs as data.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use anyhow::Context;
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::common::Form;

/// Prints a result: `text` for people, `value` for programs.
pub(crate) fn print(
    form: Form,
    value: &impl Serialize,
    text: impl FnOnce() -> String,
) -> anyhow::Result<()> {
    let shown = match form {
        Form::Text => text(),
        Form::Json => serde_json::to_string_pretty(value)? + "\n",
        Form::Yaml => serde_saphyr::to_string(value)?,
    };
    write(shown.as_bytes())
}

/// Writes to standard output.
pub(crate) fn write(bytes: &[u8]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .context("cannot write the output")
}

/// Rows under a header, in columns that are as wide as they have to be.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        let text = padded.collect::<Vec<_>>().join("  ");
        text.trim_end().to_owned() + "\n"
    };
    let rows = rows
        .iter()
        .map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(header)).chain(rows).collect()
}

/// A line of what is shown of one thing: a name, and its value beside it, whole, on one line.
pub(crate) fn fact(text: &mut String, indent: &str, name: &str, value: &str) {
    let width = 14 - indent.len();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{indent}{name:width$}{}", plain(value, usize::MAX));
}

/// Text from outside as one line of at most so many characters, without what would move a terminal's cursor.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let mut shown: String = text
        .chars()
        .take(most)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// How long ago a time was, as kubectl tells it: `5s`, `3m`, `2h`, `4d`; empty for what is no time.
pub(crate) fn age(time: &str, now: Timestamp) -> String {
    let Ok(time) = time.parse::<Timestamp>() else {
        return String::new();
    };
    let seconds = now.duration_since(time).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_by_characters() {
        let rows = [
            ["ä".to_owned(), "x".to_owned()],
            ["long".to_owned(), String::new()],
        ];
        assert_eq!(table(["A", "B"], &rows), "A     B\nä     x\nlong\n");
    }

    #[test]
    fn nothing_from_outside_moves_the_cursor() {
        assert_eq!(plain("a\u{1b}[2J\nb", 80), "a [2J b");
        assert_eq!(plain("äöü", 2), "äö…");
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let now: Timestamp = "2026-01-03T00:00:00Z".parse().expect("a time");
        for (time, told) in [
            ("2026-01-02T23:59:55.500Z", "4s"),
            ("2026-01-02T23:50:00Z", "10m"),
            ("2026-01-02T20:00:00Z", "4h"),
            ("2025-12-24T00:00:00Z", "10d"),
            ("2026-02-01T00:00:00Z", "0s"),
            ("soon", ""),
        ] {
            assert_eq!(age(time, now), told);
        }
    }
}
