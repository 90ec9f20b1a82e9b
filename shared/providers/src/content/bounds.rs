//! How much JSON is read: found out without parsing it.

/// Deepest nesting. Payloads of the providers have less than 12 levels.
const DEEPEST: usize = 64;

/// Most values. The largest payload of GitHub, 25 MB of commits, has fewer.
pub(super) const MOST_VALUES: usize = 1_000_000;

/// Bytes of memory that one parsed body takes at most. Half as much again as 25 MiB of commits take, and a third of
/// what a pod of the manifests has.
pub(super) const MOST_MEMORY: usize = 128 << 20;

/// What the parts of JSON take in memory at most, measured with the parser's own types: a number or the place of a
/// value in a list that has just doubled, a text beside its characters, a list, an entry of an object, and the first
/// one, which brings room for eleven.
const VALUE: usize = 64;
const TEXT: usize = 32;
const LIST: usize = 120;
const ENTRY: usize = 100;
const OBJECT: usize = 560;

/// What one byte of JSON takes at most: objects of one entry without a name, `{"":0},`.
pub(super) const WORST: usize = 110;

/// What is found without parsing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Extent {
    deepest: usize,
    values: usize,
    memory: usize,
    longest_text: usize,
}

/// Counts brackets and separators outside of texts. What is not JSON passes here and fails in the parser.
fn extent(bytes: &[u8]) -> Extent {
    let (mut depth, mut text, mut escaped, mut opened) = (0_usize, None, false, false);
    let mut found = Extent {
        values: 1,
        memory: bytes.len(),
        ..Extent::default()
    };
    for (at, byte) in bytes.iter().enumerate() {
        if let Some(from) = text {
            if *byte == b'"' && !escaped {
                found.longest_text = found.longest_text.max(at - from);
                text = None;
            }
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => {
                text = Some(at + 1);
                found.memory += TEXT;
            }
            b'[' | b'{' => {
                depth += 1;
                found.deepest = found.deepest.max(depth);
                found.values += 1;
                opened = *byte == b'{';
                found.memory += if opened { 0 } else { LIST };
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => {
                found.values += 1;
                found.memory += VALUE;
            }
            b':' => {
                found.memory += if opened { OBJECT + ENTRY } else { ENTRY };
                opened = false;
            }
            _ => {}
        }
    }
    found
}

/// How much memory the values take at most, once they are parsed.
pub(super) fn memory(bytes: &[u8]) -> usize {
    extent(bytes).memory
}

/// The same where one of the texts may hold more JSON, in base64: that counts as the worst that it can be.
pub(super) fn memory_with_hidden(bytes: &[u8]) -> usize {
    let found = extent(bytes);
    // Four characters are three bytes.
    let hidden = found.longest_text / 4 * 3;
    found.memory.saturating_add(hidden.saturating_mul(WORST))
}

/// Whether there is no more of anything than is read.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let found = extent(bytes);
    if found.deepest > DEEPEST {
        return Err(format!("values that are nested more than {DEEPEST} deep"));
    }
    if found.values > MOST_VALUES {
        return Err(format!("more than {MOST_VALUES} values"));
    }
    if found.memory > MOST_MEMORY {
        let most = MOST_MEMORY >> 20;
        return Err(format!("values that take more than {most} MiB of memory"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_and_commas_in_texts_do_not_count() {
        let text = format!(
            "{{\"a\":\"{}\\\"{}\"}}",
            "[".repeat(1000),
            ",".repeat(MOST_VALUES)
        );
        assert_eq!(check(text.as_bytes()), Ok(()));
        assert_eq!(extent(text.as_bytes()).longest_text, MOST_VALUES + 1002);
    }

    #[test]
    fn nesting_and_numbers_are_bounded() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(nested(DEEPEST).as_bytes()), Ok(()));
        assert!(check(nested(DEEPEST + 1).as_bytes()).is_err());
        assert!(check(("[".to_owned() + &"0,".repeat(MOST_VALUES)).as_bytes()).is_err());
        assert!(check("[]".repeat(MOST_VALUES).as_bytes()).is_err());
    }

    #[test]
    fn small_objects_are_bounded_by_their_memory() {
        let objects = |count| format!("[{}0]", "{\"a\":1},".repeat(count));
        assert_eq!(check(objects(150_000).as_bytes()), Ok(()));
        let refused = check(objects(200_000).as_bytes()).unwrap_err();
        assert!(refused.contains("MiB"), "{refused}");
    }

    #[test]
    fn nothing_takes_more_for_each_byte_than_the_worst() {
        for part in [
            "{\"\":0},",
            "{\"a\":1},",
            "[0],",
            "[[[]]],",
            "{},",
            "0,",
            "\"\",",
            "\"a\",",
        ] {
            let bytes = format!("[{}0]", part.repeat(1000));
            assert!(memory(bytes.as_bytes()) <= WORST * bytes.len(), "{part}");
        }
    }
}
