//! How much JSON is read: found out without parsing it.

/// Deepest nesting. Payloads of the providers have less than 12 levels.
const DEEPEST: usize = 64;

/// Most values. The largest payload of GitHub, 25 MB of commits, has fewer.
pub(super) const MOST_VALUES: usize = 1_000_000;

/// Counts brackets and separators outside of texts. What is not JSON passes here and fails in the parser.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let (mut depth, mut values, mut text, mut escaped) = (0_usize, 1_usize, false, false);
    for byte in bytes {
        if text {
            text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        match byte {
            b'"' => text = true,
            b'[' | b'{' => {
                depth += 1;
                values += 1;
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' => values += 1,
            _ => {}
        }
        if depth > DEEPEST {
            return Err(format!("values that are nested more than {DEEPEST} deep"));
        }
        if values > MOST_VALUES {
            return Err(format!("more than {MOST_VALUES} values"));
        }
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
    }

    #[test]
    fn nesting_and_numbers_are_bounded() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(nested(DEEPEST).as_bytes()), Ok(()));
        assert!(check(nested(DEEPEST + 1).as_bytes()).is_err());
        assert!(check(("[".to_owned() + &"0,".repeat(MOST_VALUES)).as_bytes()).is_err());
        assert!(check("[]".repeat(MOST_VALUES).as_bytes()).is_err());
    }
}
