//! Path globs as in `.gitignore`: which files of a push a rule is about.
//!
//! Every pattern is compared in one pass over the path, in time proportional to the product of both lengths, whatever
//! stands in them: all positions of the pattern that the path may have reached are followed at once, and nothing is
//! tried again. A path that does not begin like the pattern takes less: it is compared up to there.

use thiserror::Error;

/// Longest pattern, in bytes.
pub const PATTERN_BYTES: usize = 512;

/// A pattern for paths of files, relative to the repository, with `/` between their parts.
///
/// As in `.gitignore`: a pattern with a `/` before its end starts at the repository's root, any other one holds in
/// every folder; what matches a folder matches all that is in it; a `/` at the end means folders only. `*` and `?`
/// stand for anything but `/`, `**/` for any number of folders, `/**` for everything inside, `[a-z]`, `[!a-z]` and
/// `[[:digit:]]` for one character of a set, and a backslash takes the meaning from what follows. A `!` at the
/// beginning turns the answer around: `!docs/` is any file outside of `docs`. Case counts. Spaces at the end do not,
/// unless there is a backslash before them.
///
/// Other than there, one pattern is all there is: `#` begins no comment, and `?` is a character rather than a byte.
///
/// ```
/// use providers::glob::Glob;
///
/// let glob = Glob::new("services/api/**")?;
/// assert!(glob.matches("services/api/src/main.rs") && !glob.matches("docs/services/api/index.md"));
/// # Ok::<(), providers::glob::GlobError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Glob {
    /// What every path begins with that matches: most paths of a push are told from the pattern by this alone.
    start: String,
    /// What comes behind it.
    tokens: Vec<Token>,
    /// With how much one character behind the beginning is compared.
    each: usize,
    negated: bool,
    folders_only: bool,
}

/// Why a text is no pattern. Git lets such a pattern match nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum GlobError {
    /// There is nothing in it.
    #[error("the pattern is empty; `*` matches every file")]
    Empty,
    /// It is longer than [`PATTERN_BYTES`].
    #[error("the pattern has more than {PATTERN_BYTES} bytes; use several shorter ones")]
    TooLong,
    /// A `[` without its `]`, or a class such as `[:digit:]` that does not exist.
    #[error(
        "the pattern has a `[` without its `]`, or an unknown class in it; write `\\[` for the character itself"
    )]
    Set,
    /// A backslash before nothing.
    #[error("the pattern ends with a backslash; write `\\\\` for the character itself")]
    Escape,
}

/// Whether a path is matched by a pattern; a text that is no pattern matches nothing.
#[must_use]
pub fn matches_glob(pattern: &str, path: &str) -> bool {
    Glob::new(pattern).is_ok_and(|glob| glob.matches(path))
}

#[derive(Clone, Debug)]
enum Token {
    /// This character.
    Is(char),
    /// Any character but `/`.
    Any,
    /// One character of a set, but no `/`.
    Set(Set),
    /// Any number of characters but `/`.
    Star,
    /// Any number of folders, each with its `/`.
    Folders,
    /// One character or more, whatever they are.
    Everything,
}

#[derive(Clone, Debug, Default)]
struct Set {
    negated: bool,
    ranges: Vec<(char, char)>,
    classes: Vec<fn(&char) -> bool>,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// Where the text is no pattern.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        if pattern.len() > PATTERN_BYTES {
            return Err(GlobError::TooLong);
        }
        let pattern = without_spaces(pattern);
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        let (folders_only, pattern) = match pattern.strip_suffix('/') {
            Some(pattern) => (true, pattern),
            None => (false, pattern),
        };
        if pattern.is_empty() {
            return Err(GlobError::Empty);
        }
        let mut tokens = Vec::new();
        if !pattern.contains('/') {
            tokens.push(Token::Folders);
        }
        let pattern: Vec<char> = pattern
            .strip_prefix('/')
            .unwrap_or(pattern)
            .chars()
            .collect();
        read(&pattern, &mut tokens)?;
        let literal = |token: &Token| match token {
            Token::Is(c) => Some(*c),
            _ => None,
        };
        let start: Vec<char> = tokens.iter().map_while(literal).collect();
        tokens.drain(..start.len());
        let each: usize = tokens.iter().map(Token::comparisons).sum();
        Ok(Self {
            start: start.into_iter().collect(),
            tokens,
            each: 1 + each,
            negated,
            folders_only,
        })
    }

    /// Whether the pattern matches the file of this path, or a folder that it is in.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.reaches(path) != self.negated
    }

    /// How many comparisons this path takes at most: what is to be paid before it is compared.
    #[must_use]
    pub fn comparisons(&self, path: &str) -> usize {
        let rest = path.strip_prefix(&self.start);
        let behind = rest.map_or(0, |rest| rest.len().saturating_mul(self.each));
        behind.saturating_add(self.start.len())
    }

    fn reaches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix(&self.start) else {
            return false;
        };
        let mut reached = Reached::new(&self.tokens);
        for c in rest.chars() {
            if c == '/' && reached.is_end() {
                return true;
            }
            reached.step(c);
        }
        reached.is_end() && !self.folders_only
    }
}

impl Token {
    /// With how much a character is compared.
    fn comparisons(&self) -> usize {
        match self {
            Self::Set(set) => 1 + set.ranges.len() + set.classes.len(),
            Self::Is(_) | Self::Any | Self::Star | Self::Folders | Self::Everything => 1,
        }
    }
}

/// The positions in a pattern that a path may have reached.
struct Reached<'a> {
    tokens: &'a [Token],
    /// For each position, whether it is reached.
    at: Vec<bool>,
    /// The same before the last character, kept for its memory.
    before: Vec<bool>,
}

impl<'a> Reached<'a> {
    fn new(tokens: &'a [Token]) -> Self {
        let nowhere = vec![false; tokens.len() + 1];
        let mut start = Self {
            tokens,
            at: nowhere.clone(),
            before: nowhere,
        };
        start.enter(0);
        start
    }

    fn is_end(&self) -> bool {
        self.at.last() == Some(&true)
    }

    fn mark(&mut self, position: usize) {
        if let Some(at) = self.at.get_mut(position) {
            *at = true;
        }
    }

    /// Marks a position, and those behind it that are reached without a character.
    fn enter(&mut self, position: usize) {
        self.mark(position);
        if let Some(Token::Star | Token::Folders) = self.tokens.get(position) {
            self.enter(position + 1);
        }
    }

    fn step(&mut self, c: char) {
        std::mem::swap(&mut self.at, &mut self.before);
        self.at.fill(false);
        let before = std::mem::take(&mut self.before);
        let here = self.tokens.iter().zip(&before).enumerate();
        for (position, (token, _)) in here.filter(|(_, (_, reached))| **reached) {
            match token {
                Token::Is(own) if *own == c => self.enter(position + 1),
                Token::Any if c != '/' => self.enter(position + 1),
                Token::Set(set) if c != '/' && set.has(c) => self.enter(position + 1),
                Token::Star if c != '/' => self.enter(position),
                Token::Folders => {
                    self.mark(position);
                    if c == '/' {
                        self.enter(position + 1);
                    }
                }
                Token::Everything => {
                    self.mark(position);
                    self.enter(position + 1);
                }
                Token::Is(_) | Token::Any | Token::Set(_) | Token::Star => {}
            }
        }
        self.before = before;
    }
}

impl Set {
    fn has(&self, c: char) -> bool {
        let within = |(first, last): &(char, char)| (*first..=*last).contains(&c);
        let found = self.ranges.iter().any(within) || self.classes.iter().any(|class| class(&c));
        found != self.negated
    }
}

/// Without the spaces at the end; a space behind a backslash stays.
fn without_spaces(pattern: &str) -> &str {
    let short = pattern.trim_end_matches(' ');
    let backslashes = short.len() - short.trim_end_matches('\\').len();
    if backslashes % 2 == 1 && short.len() < pattern.len() {
        return pattern.get(..=short.len()).unwrap_or(pattern);
    }
    short
}

fn read(pattern: &[char], tokens: &mut Vec<Token>) -> Result<(), GlobError> {
    let mut rest = pattern;
    let mut starts_part = true;
    while !rest.is_empty() {
        let part_starts = std::mem::replace(&mut starts_part, false);
        let (token, after) = match rest {
            ['*', '*'] if part_starts && !matches!(tokens.last(), Some(Token::Folders)) => {
                (Token::Everything, &[][..])
            }
            ['*', '*', '/', after @ ..] if part_starts => (Token::Folders, after),
            ['*', after @ ..] => (Token::Star, after),
            ['?', after @ ..] => (Token::Any, after),
            ['[', after @ ..] => {
                let (set, after) = read_set(after).ok_or(GlobError::Set)?;
                (Token::Set(set), after)
            }
            _ => {
                let (c, after) = read_character(rest).ok_or(GlobError::Escape)?;
                (Token::Is(c), after)
            }
        };
        starts_part = matches!(token, Token::Is('/') | Token::Folders);
        let again = matches!(
            (tokens.last(), &token),
            (Some(Token::Star), Token::Star) | (Some(Token::Folders), Token::Folders)
        );
        if !again {
            tokens.push(token);
        }
        rest = after;
    }
    Ok(())
}

fn read_character(rest: &[char]) -> Option<(char, &[char])> {
    match rest {
        ['\\', c, after @ ..] => Some((*c, after)),
        ['\\'] | [] => None,
        [c, after @ ..] => Some((*c, after)),
    }
}

/// Reads a set behind its `[`. A `]` in the first place is one of its characters.
fn read_set(rest: &[char]) -> Option<(Set, &[char])> {
    let mut set = Set::default();
    let mut rest = rest;
    if let ['!' | '^', after @ ..] = rest {
        set.negated = true;
        rest = after;
    }
    let mut first = true;
    loop {
        if let ([']', after @ ..], false) = (rest, first) {
            return Some((set, after));
        }
        first = false;
        if let Some((name, after)) = class_name(rest) {
            set.classes.push(class(&name)?);
            rest = after;
            continue;
        }
        let (start, after) = read_character(rest)?;
        let (end, after) = match after {
            ['-', next, ..] if *next != ']' => read_character(after.get(1..)?)?,
            _ => (start, after),
        };
        // As in Git, a range that runs backwards is its first character.
        set.ranges.push((start, end.max(start)));
        rest = after;
    }
}

/// The name in `[:name:]`.
fn class_name(rest: &[char]) -> Option<(String, &[char])> {
    let rest = rest.strip_prefix(&['[', ':'])?;
    let end = rest.windows(2).position(|pair| pair == [':', ']'])?;
    Some((rest.get(..end)?.iter().collect(), rest.get(end + 2..)?))
}

/// The characters of a class, as in the POSIX locale.
fn class(name: &str) -> Option<fn(&char) -> bool> {
    Some(match name {
        "alnum" => char::is_ascii_alphanumeric,
        "alpha" => char::is_ascii_alphabetic,
        "blank" => |c| matches!(c, ' ' | '\t'),
        "cntrl" => char::is_ascii_control,
        "digit" => char::is_ascii_digit,
        "graph" => char::is_ascii_graphic,
        "lower" => char::is_ascii_lowercase,
        "print" => |c| matches!(c, ' '..='~'),
        "punct" => char::is_ascii_punctuation,
        "space" => |c| c.is_ascii_whitespace() || *c == '\u{b}',
        "upper" => char::is_ascii_uppercase,
        "xdigit" => char::is_ascii_hexdigit,
        _ => return None,
    })
}
