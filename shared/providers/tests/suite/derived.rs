//! Refusals that follow from every vector that is accepted: forged, cut, doubled, moved, old.

use http::HeaderValue;
use providers::provider::{Encoding, Proof, Time};
use providers::{PROVIDERS, Proven, Refusal, verify};

use crate::vector::{Vector, all};

/// Where the proof of a vector is, and what it holds: of several signatures in one header, the one that counts.
pub(crate) struct Sample {
    pub(crate) vector: Vector,
    header: String,
    pub(crate) value: String,
    /// Whether the body is signed.
    signed: bool,
    encoding: Option<Encoding>,
}

impl Sample {
    pub(crate) fn with(&self, value: &[u8]) -> Vector {
        let mut vector = self.vector.clone();
        vector.set(&self.header, value);
        vector
    }
}

/// All accepted vectors that have a proof in a header which this layer checks.
fn samples() -> Vec<Sample> {
    let accepted = all().into_iter().filter(|vector| vector.expect == "accept");
    let in_header = accepted.filter(|vector| {
        vector.token.is_none() && !matches!(vector.verify(), Ok(Proven::Token(_)))
    });
    in_header.map(sample).collect()
}

pub(crate) fn sample(mut vector: Vector) -> Sample {
    let (mut header, mut separator, mut signed, mut encoding) = (None, None, false, None);
    for proof in vector.provider.proofs {
        let (name, split, signs, writes) = match proof {
            Proof::Signature(scheme) => (
                scheme.header,
                scheme.separator,
                true,
                Some(scheme.items[0].encoding),
            ),
            Proof::Configured => {
                let options = vector
                    .settings
                    .hmac
                    .as_ref()
                    .map(|hmac| hmac.options().clone())
                    .unwrap_or_default();
                let encoding = if options.encoding == "hex" {
                    Encoding::Hex
                } else {
                    Encoding::Base64
                };
                (
                    header.insert(options.header).as_str(),
                    None,
                    true,
                    Some(encoding),
                )
            }
            Proof::Value(value) => (value.header, None, false, None),
            Proof::PathToken | Proof::Jwt(_) => continue,
        };
        if vector.headers.contains_key(name) {
            (separator, signed, encoding) = (split, signs, writes);
            header = Some(name.to_owned());
            break;
        }
    }
    if let Some(chosen) = &vector.settings.header {
        header = Some(chosen.clone());
    }
    let header = header.unwrap();
    let mut value = vector.headers[&header].to_str().unwrap().to_owned();
    if let Some(separator) = separator {
        value = only_good(&vector, &header, &value, separator);
        vector.set(&header, value.as_bytes());
    }
    assert_eq!(vector.outcome(), Ok(vector.secret), "{}", vector.id);
    Sample {
        vector,
        header,
        value,
        signed,
        encoding,
    }
}

/// The list without the signatures that do not count.
fn only_good(vector: &Vector, header: &str, list: &str, separator: char) -> String {
    let (times, items): (Vec<&str>, Vec<&str>) = list
        .split(separator)
        .partition(|item| item.starts_with("t="));
    let alone = |item: &&str| {
        let kept: Vec<&str> = times.iter().copied().chain([item.trim_start()]).collect();
        kept.join(&separator.to_string())
    };
    let good = |list: &String| {
        let mut vector = vector.clone();
        vector.set(header, list.as_bytes());
        vector.outcome().is_ok()
    };
    items.iter().map(alone).find(good).unwrap()
}

pub(crate) fn refused(vector: &Vector, what: &str) {
    assert!(vector.outcome().is_err(), "{}: {what}", vector.id);
}

/// Another character of the same kind, never the same in the other case.
fn other(byte: u8) -> u8 {
    match byte {
        b'9' => b'0',
        b'0'..=b'8' => byte + 1,
        b'f' | b'z' => b'a',
        b'F' | b'Z' => b'A',
        b'a'..=b'y' | b'A'..=b'Y' => byte + 1,
        _ => b'A',
    }
}

#[test]
fn a_proof_that_differs_in_any_character_is_refused() {
    for sample in samples() {
        for position in 0..sample.value.len() {
            let mut value = sample.value.clone().into_bytes();
            value[position] = other(value[position]);
            refused(&sample.with(&value), &format!("character {position}"));
        }
    }
}

#[test]
fn a_signature_that_differs_in_any_bit_is_refused() {
    let hex = samples()
        .into_iter()
        .filter(|sample| sample.encoding == Some(Encoding::Hex));
    for sample in hex {
        let start = sample.value.len()
            - sample
                .value
                .bytes()
                .rev()
                .take_while(u8::is_ascii_hexdigit)
                .count();
        for position in start..sample.value.len() {
            for bit in 0..4 {
                let mut value = sample.value.clone().into_bytes();
                let digit = char::from(value[position]).to_digit(16).unwrap() ^ (1 << bit);
                value[position] = u8::try_from(char::from_digit(digit, 16).unwrap()).unwrap();
                refused(
                    &sample.with(&value),
                    &format!("bit {bit} of digit {position}"),
                );
            }
        }
    }
}

#[test]
fn a_proof_that_is_cut_is_refused() {
    for sample in samples() {
        for length in 0..sample.value.len() {
            refused(
                &sample.with(&sample.value.as_bytes()[..length]),
                &format!("{length} bytes"),
            );
        }
    }
}

#[test]
fn a_proof_with_anything_around_it_is_refused() {
    for sample in samples() {
        for (before, after) in [
            ("", " "),
            (" ", ""),
            ("", "\t"),
            ("", "0"),
            ("", ","),
            ("", "A"),
        ] {
            let value = format!("{before}{}{after}", sample.value);
            refused(
                &sample.with(value.as_bytes()),
                &format!("{before:?} and {after:?}"),
            );
        }
        let line_feed = format!("{}\n", sample.value);
        assert!(HeaderValue::from_bytes(line_feed.as_bytes()).is_err());
    }
}

#[test]
fn a_proof_that_comes_twice_is_refused() {
    for sample in samples() {
        let mut bad = sample.value.clone().into_bytes();
        let last = bad.len() - 2;
        bad[last] = other(bad[last]);
        let good = sample.value.clone().into_bytes();
        for pair in [[&good, &bad], [&bad, &good], [&good, &good]] {
            let mut vector = sample.vector.clone();
            vector.headers.remove(&sample.header);
            for value in pair {
                let name: http::HeaderName = sample.header.parse().unwrap();
                vector
                    .headers
                    .append(name, HeaderValue::from_bytes(value).unwrap());
            }
            let refusal = vector.outcome().unwrap_err();
            assert!(
                matches!(refusal, Refusal::Repeated(_)),
                "{}: {refusal}",
                vector.id
            );
        }
    }
}

#[test]
fn a_proof_under_the_header_of_another_provider_is_refused() {
    let mut names: Vec<&str> = vec!["X-Signature", "Authorization"];
    for proof in PROVIDERS.iter().flat_map(|provider| provider.proofs) {
        match proof {
            Proof::Signature(signature) => names.push(signature.header),
            Proof::Value(value) => names.push(value.header),
            _ => {}
        }
    }
    for sample in samples() {
        for name in names
            .iter()
            .filter(|name| !name.eq_ignore_ascii_case(&sample.header))
        {
            let mut vector = sample.vector.clone();
            vector.headers.remove(&sample.header);
            vector.set(name, sample.value.as_bytes());
            refused(&vector, name);
        }
    }
}

#[test]
fn a_missing_empty_or_foreign_secret_refuses_everything() {
    for vector in all()
        .into_iter()
        .filter(|vector| vector.expect == "accept" && !vector.secrets.is_empty())
    {
        let ask = |secrets: &[Vec<u8>]| {
            verify(
                vector.provider,
                &vector.settings,
                secrets,
                &vector.request(),
                vector.now,
            )
        };
        let id = &vector.id;
        assert!(matches!(ask(&[]), Err(Refusal::NotConfigured(_))), "{id}");
        assert!(
            matches!(ask(&[Vec::new()]), Err(Refusal::NotConfigured(_))),
            "{id}"
        );
        let mut with_empty = vector.secrets.clone();
        with_empty.push(Vec::new());
        assert!(
            matches!(ask(&with_empty), Err(Refusal::NotConfigured(_))),
            "{id}"
        );
        let foreign = |secret: &Vec<u8>| {
            let mut secret = secret.clone();
            let last = secret.len() - 3;
            secret[last] = other(secret[last]);
            secret
        };
        let foreign: Vec<Vec<u8>> = vector.secrets.iter().map(foreign).collect();
        assert!(ask(&foreign).is_err(), "{id}");
    }
}

#[test]
fn an_older_secret_still_counts_and_is_named() {
    for mut vector in all()
        .into_iter()
        .filter(|vector| vector.expect == "accept" && vector.secrets.len() == 1)
    {
        let mut newer = vector.secrets[0].clone();
        let position = newer.len() - 3;
        newer[position] = other(newer[position]);
        // A public key that is no point of the curve is not usable at all, but must not hide the other one.
        vector.secrets.insert(0, newer);
        assert_eq!(vector.outcome(), Ok(1), "{}", vector.id);
    }
}

#[test]
fn a_signed_body_that_differs_in_any_byte_is_refused() {
    for sample in samples() {
        let mut changed: Vec<Vec<u8>> = Vec::new();
        for position in 0..sample.vector.body.len() {
            let mut body = sample.vector.body.clone();
            body[position] ^= 1;
            changed.push(body);
        }
        changed.push([&sample.vector.body[..], b"\n"].concat());
        changed.push(sample.vector.body[1..].to_vec());
        changed.push(Vec::new());
        for body in changed {
            let vector = Vector {
                body,
                ..sample.vector.clone()
            };
            assert_eq!(vector.outcome().is_ok(), !sample.signed, "{}", vector.id);
        }
    }
}

#[test]
fn a_signed_time_may_be_300_seconds_off_and_no_more() {
    let mut timed = 0;
    for sample in samples() {
        let vector = &sample.vector;
        let signature = vector.provider.proofs.iter().find_map(|proof| match proof {
            Proof::Signature(signature) if sample.signed => Some(signature),
            _ => None,
        });
        let configured = vector
            .settings
            .hmac
            .as_ref()
            .and_then(|hmac| hmac.options().timestamp_header.clone());
        if signature.is_none_or(|signature| signature.time.is_none()) && configured.is_none() {
            continue;
        }
        timed += 1;
        for (offset, fine) in [
            (-301, false),
            (-300, true),
            (0, true),
            (300, true),
            (301, false),
        ] {
            let at = Vector {
                now: 1_700_000_000 + offset,
                ..vector.clone()
            };
            let stale = matches!(at.outcome(), Err(Refusal::Stale { .. }));
            assert_eq!(stale, !fine, "{} {offset}", vector.id);
        }
        for now in [i64::MIN, i64::MAX] {
            refused(
                &Vector {
                    now,
                    ..vector.clone()
                },
                "absurd clock",
            );
        }
        let header = match signature.and_then(|signature| signature.time) {
            Some(Time::Header(name)) => name.to_owned(),
            Some(Time::Item(_)) => continue,
            None => configured.unwrap(),
        };
        let mut at = vector.clone();
        for time in ["1700000001", "01700000000"] {
            at.set(&header, time.as_bytes());
            assert_eq!(at.outcome(), Err(Refusal::Mismatch), "{} {time}", vector.id);
        }
        let huge = "9".repeat(20);
        for time in ["+1700000000", "1700000000 ", "", "1e9", "-1", huge.as_str()] {
            at.set(&header, time.as_bytes());
            let kind = at.outcome().unwrap_err().kind();
            assert_eq!(kind, "malformed", "{} {time}", vector.id);
        }
        let mut vector = vector.clone();
        vector.headers.append(
            http::HeaderName::try_from(&header).unwrap(),
            HeaderValue::from_static("1700000000"),
        );
        assert!(
            matches!(vector.outcome(), Err(Refusal::Repeated(_))),
            "{}",
            vector.id
        );
    }
    assert!(timed >= 8, "{timed}");
}

#[test]
fn upper_case_hexadecimal_digits_are_the_same_bytes() {
    let mut seen = 0;
    for sample in samples()
        .into_iter()
        .filter(|sample| sample.encoding == Some(Encoding::Hex))
    {
        let start = sample.value.len()
            - sample
                .value
                .bytes()
                .rev()
                .take_while(u8::is_ascii_hexdigit)
                .count();
        let (prefix, digits) = sample.value.split_at(start);
        let value = format!("{prefix}{}", digits.to_ascii_uppercase());
        let vector = sample.with(value.as_bytes());
        assert_eq!(vector.outcome(), Ok(vector.secret), "{}", vector.id);
        seen += 1;
    }
    assert!(seen >= 15, "{seen}");
}
