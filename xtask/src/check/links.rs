//! Links between the documents of the repository.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::shell::repository;

/// Fails with every link to a file or heading that is not there. Addresses outside the repository are not asked.
pub(crate) fn check() -> Result<()> {
    let mut wrong = Vec::new();
    for document in documents(repository())? {
        let text = fs::read_to_string(&document)?;
        let name = document.strip_prefix(repository())?.display();
        for (line, target) in links(&text) {
            if let Err(error) = follow(&document, target) {
                wrong.push(format!("{name}:{line}: {error:#}"));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn follow(document: &Path, target: &str) -> Result<()> {
    if target.contains("://") || target.starts_with("mailto:") {
        return Ok(());
    }
    let (file, heading) = match target.split_once('#') {
        Some((file, heading)) => (file, Some(heading)),
        None => (target, None),
    };
    let path = match file {
        "" => document.to_owned(),
        file => document.parent().unwrap_or(document).join(file),
    };
    ensure!(path.exists(), "`{target}` leads to no file");
    if let Some(heading) = heading
        && path.extension().is_some_and(|extension| extension == "md")
    {
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        ensure!(
            headings(&text).any(|anchor| anchor == heading),
            "`{target}` leads to no heading"
        );
    }
    Ok(())
}

/// Every Markdown file that is ours.
fn documents(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                found.extend(documents(&path)?);
            }
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The lines outside fenced code, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(index, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((index + 1, line))
    })
}

/// Targets of `[text](target)` and `![text](target)`, each with its line; code is left out.
fn links(text: &str) -> impl Iterator<Item = (usize, &str)> {
    prose(text).flat_map(|(number, line)| {
        // Between back quotes is code: every second piece.
        line.split('`').step_by(2).flat_map(move |piece| {
            piece.split("](").skip(1).filter_map(move |rest| {
                let target = rest.split_once(')')?.0;
                let target = target.split_whitespace().next()?;
                Some((number, target.trim_matches(['<', '>'])))
            })
        })
    })
}

/// The anchors of a document's headings, as the usual sites make them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len() && title.starts_with(' ')).then(|| anchor(title.trim()))
    })
}

fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            '-' | '_' => Some(c),
            c if c.is_alphanumeric() => Some(c),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code() {
        let text = "See [a](a.md) and [b](<b.md> \"title\"),\nnot `[c](c.md)`.\n```\n[d](d.md)\n```\n![e](e.svg)";
        let found: Vec<_> = links(text).collect();
        assert_eq!(found, [(1, "a.md"), (1, "b.md"), (6, "e.svg")]);
    }

    #[test]
    fn links_around_code_are_found() {
        let found: Vec<_> = links("[`flow`](flow.md) and `x` [y](y.md)").collect();
        assert_eq!(found, [(1, "flow.md"), (1, "y.md")]);
    }

    #[test]
    fn anchors_are_those_of_the_usual_sites() {
        let found: Vec<_> =
            headings("# Way of `one` event\n## 2. What's absent\n#hash\n").collect();
        assert_eq!(found, ["way-of-one-event", "2-whats-absent"]);
    }
}
