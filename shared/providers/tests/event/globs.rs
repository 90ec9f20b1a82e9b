//! Path globs against a table of cases, each as `git check-ignore` answers it for a file, but that Git knows bytes only
//! where these patterns know characters.

use providers::glob::{Glob, GlobError, matches_glob};

/// A pattern, paths that it matches, and paths that it does not.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
);

const CASES: &[Case] = &[
    // Without a slash: in every folder, and everything below a folder of that name.
    (
        "main.rs",
        &["main.rs", "src/main.rs", "main.rs/x"],
        &["main.rsx", "xmain.rs", "Main.rs"],
    ),
    (
        "docs",
        &["docs", "docs/a", "a/docs/b/c"],
        &["docs2", "mydocs/a"],
    ),
    (
        "*.md",
        &["a.md", "docs/a.md", ".md", "x.md/y"],
        &["a.mdx", "md"],
    ),
    ("*", &["a", "a/b", ".hidden"], &[]),
    ("**", &["a", "a/b/c"], &[]),
    // With a slash: from the root.
    ("/main.rs", &["main.rs", "main.rs/x"], &["src/main.rs"]),
    (
        "src/main.rs",
        &["src/main.rs"],
        &["a/src/main.rs", "src/x/main.rs"],
    ),
    ("/docs", &["docs", "docs/a/b"], &["a/docs"]),
    ("docs/*", &["docs/a", "docs/a/b"], &["docs", "x/docs/a"]),
    ("docs/*.md", &["docs/a.md"], &["docs/a/b.md", "a.md"]),
    ("/*", &["a", "a/b"], &[]),
    // With a slash at the end: folders only.
    ("docs/", &["docs/a", "x/docs/a"], &["docs", "x/docs"]),
    ("/docs/", &["docs/a"], &["docs", "x/docs/a"]),
    ("src/*/", &["src/a/b"], &["src/a", "src"]),
    ("**/", &["a/b"], &["a"]),
    // Two stars.
    (
        "**/docs",
        &["docs", "docs/a", "a/docs", "a/b/docs/c"],
        &["mydocs"],
    ),
    (
        "**/docs/*.md",
        &["docs/a.md", "x/y/docs/a.md"],
        &["docs/x/a.md"],
    ),
    ("src/**", &["src/a", "src/a/b"], &["src", "a/src/b"]),
    (
        "src/**/test",
        &["src/test", "src/a/test", "src/a/b/test/c"],
        &["src/atest", "test"],
    ),
    (
        "services/api/**",
        &["services/api/main.rs"],
        &["services/api", "services/apix/a", "services/web/a"],
    ),
    ("**/**/a", &["a", "b/a", "b/c/a"], &["b"]),
    ("/**", &["a", "a/b"], &[]),
    ("src/**/", &["src/a/b"], &["src/a"]),
    // Two stars beside something else are one.
    ("a**", &["a", "ab", "x/ab"], &["ba"]),
    ("src/a**b", &["src/ab", "src/axb"], &["src/a/b"]),
    ("src/**b", &["src/b", "src/ab"], &["src/a/b"]),
    // One character.
    ("a?c", &["abc", "x/a.c"], &["ac", "abbc"]),
    ("a/?", &["a/b"], &["a/", "a", "a/bc"]),
    ("a?b", &["aéb"], &["a/b"]),
    // Sets.
    ("[ab].rs", &["a.rs", "b.rs"], &["c.rs", "ab.rs"]),
    ("[!ab].rs", &["c.rs"], &["a.rs", ".rs"]),
    ("[^ab].rs", &["c.rs"], &["b.rs"]),
    ("[a-c]", &["b"], &["d", "-"]),
    ("[c-a]", &["c"], &["a", "b"]),
    ("[a-]", &["a", "-"], &["b"]),
    ("[]a]", &["]", "a"], &["b"]),
    ("[!]a]", &["b"], &["]", "a"]),
    ("[[:digit:]]", &["1"], &["a", "[", ":"]),
    ("[[:alpha:]_]", &["a", "_"], &["1"]),
    ("[\\]]", &["]"], &["\\"]),
    ("[*]", &["*"], &["a"]),
    ("a[!x]b", &["ayb"], &["a/b", "axb"]),
    ("[α-ω]", &["λ"], &["l"]),
    // Escapes.
    ("\\*", &["*"], &["a"]),
    ("\\!a", &["!a"], &["a"]),
    ("\\#a", &["#a"], &["a"]),
    ("a\\b", &["ab"], &["a\\b"]),
    ("a\\\\b", &["a\\b"], &["ab"]),
    ("\\[a]", &["[a]"], &["a"]),
    // Spaces at the end.
    ("a ", &["a"], &["a "]),
    ("a\\ ", &["a "], &["a"]),
    ("a b", &["a b"], &["a", "b"]),
    (" a", &[" a"], &["a"]),
];

#[test]
fn patterns_match_what_git_says() {
    for (pattern, good, bad) in CASES {
        for path in *good {
            assert!(matches_glob(pattern, path), "`{pattern}` matches `{path}`");
        }
        for path in *bad {
            assert!(
                !matches_glob(pattern, path),
                "`{pattern}` does not match `{path}`"
            );
        }
    }
}

/// In a list of Git's, such a line takes back what lines before it said; for a single one that leaves everything else.
#[test]
fn an_exclamation_mark_means_everything_else() {
    for (pattern, good, bad) in [
        (
            "!docs/",
            &["src/a", "docs"][..],
            &["docs/a", "x/docs/a"][..],
        ),
        ("!*.md", &["a.rs"], &["a.md", "docs/a.md"]),
        ("!/docs/**", &["a/docs/b"], &["docs/a"]),
    ] {
        for path in good {
            assert!(matches_glob(pattern, path), "`{pattern}` matches `{path}`");
        }
        for path in bad {
            assert!(
                !matches_glob(pattern, path),
                "`{pattern}` does not match `{path}`"
            );
        }
    }
}

/// One pattern is all there is, so that nothing begins a comment.
#[test]
fn a_number_sign_is_a_character() {
    assert!(matches_glob("#a", "#a"));
}

#[test]
fn what_is_no_pattern_matches_nothing_and_says_why() {
    for (pattern, error) in [
        ("", GlobError::Empty),
        ("   ", GlobError::Empty),
        ("/", GlobError::Empty),
        ("!", GlobError::Empty),
        ("[a", GlobError::Set),
        ("[", GlobError::Set),
        ("[]", GlobError::Set),
        ("[[:none:]]", GlobError::Set),
        ("a\\", GlobError::Escape),
        ("a\\/", GlobError::Escape),
        (&"a".repeat(513), GlobError::TooLong),
    ] {
        assert_eq!(Glob::new(pattern).err(), Some(error), "{pattern}");
        for path in ["a", "[a", "a/b", ""] {
            assert!(!matches_glob(pattern, path), "`{pattern}` `{path}`");
        }
    }
}

#[test]
fn a_path_that_begins_otherwise_takes_as_many_comparisons_as_the_beginning_has() {
    let glob = Glob::new("services/api/**").unwrap();
    let comparisons = |path: &str| glob.comparisons(path);
    assert_eq!(comparisons("docs/index.md"), "services/api/".len());
    assert_eq!(
        comparisons(&format!("docs/{}", "a".repeat(9_000))),
        "services/api/".len()
    );
    assert!(comparisons("services/api/main.rs") > comparisons("services/api/a"));
    // Every part of a set is compared.
    let set = |text: &str| Glob::new(text).unwrap().comparisons("a");
    assert!(set("[a-z0-9]") > set("[a-z]"));
}

#[test]
fn the_literal_beginning_of_a_pattern_is_compared_whole() {
    for (pattern, path, expected) in [
        ("/docs", "docs", true),
        ("/docs", "docs/a", true),
        ("/docs", "docsa", false),
        ("/docs", "doc", false),
        ("/docs/", "docs", false),
        ("/docs/", "docs/a", true),
        ("!/docs", "doc", true),
        ("/d\\*c*", "d*cs", true),
        ("/d\\*c*", "docs", false),
        ("a/**", "a/", false),
    ] {
        assert_eq!(
            matches_glob(pattern, path),
            expected,
            "`{pattern}` `{path}`"
        );
    }
}
