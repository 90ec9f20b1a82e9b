//! What a Hook configures beyond its provider, and whether that makes sense.
//!
//! All of it is checked before the first request: what [`check`] and [`check_secret`](crate::check_secret) let through
//! never fails for a reason that the sender could not have caused.

use std::fmt;

use http::HeaderName;

use crate::provider::{Algorithm, Encoding, Item, Key, Part, Proof, Provider};

/// Seconds of a day.
const DAY: u32 = 86_400;

/// What a Hook configures beyond its provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether the provider's older and weaker proofs count, too.
    pub legacy: bool,
    /// Header that carries a literal value, where the sender lets its administrator choose one.
    pub header: Option<String>,
    /// The signature of `generic-hmac`; without it, the one of [`HmacOptions::default`].
    pub hmac: Option<Hmac>,
    /// What a signed token has to say.
    pub token: Option<Token>,
    /// Origins that may register by a CloudEvents `OPTIONS` request; hosts compare without case.
    pub allowed_origins: Vec<String>,
    /// Events per minute that such an origin is allowed.
    pub allowed_rate: Option<u32>,
}

/// What a signed token (JWT) has to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Token {
    /// The audience that the sender was configured with.
    pub audience: String,
    /// The account that the token was made for. Without it any account of the issuer would be let in, so it is
    /// required.
    pub account: String,
    /// Issuer, where the provider leaves it open.
    pub issuer: Option<String>,
}

/// An HMAC signature, as somebody wrote it down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HmacOptions {
    /// Header with the signature.
    pub header: String,
    /// Accepted algorithms: `sha1`, `sha256`, `sha512`.
    pub algorithms: Vec<String>,
    /// What stands before the signature; `{algorithm}` is the algorithm's name. Without that, exactly one algorithm is
    /// accepted.
    pub prefix: String,
    /// `hex` or `base64`.
    pub encoding: String,
    /// What is signed: text around `{body}`, `{timestamp}` and `{id}`.
    pub signed: String,
    /// Header with the time in seconds since 1970.
    pub timestamp_header: Option<String>,
    /// Seconds that the time may differ from ours; at most a day.
    pub tolerance_seconds: u32,
    /// Header with the identity of the delivery.
    pub id_header: Option<String>,
    /// Header with the type of the event.
    pub event_header: Option<String>,
    /// JSON pointer to the type of the event.
    pub event_pointer: Option<String>,
    /// Seconds for which an identical body is the same event, where no header names it; at most a day. Without it every
    /// request is an event of its own.
    pub duplicate_seconds: Option<u32>,
}

impl Default for HmacOptions {
    /// What Flux sends: `X-Signature: sha256=<hex>` over the body.
    fn default() -> Self {
        Self {
            header: "X-Signature".to_owned(),
            algorithms: vec!["sha256".to_owned(), "sha512".to_owned()],
            prefix: "{algorithm}=".to_owned(),
            encoding: "hex".to_owned(),
            signed: "{body}".to_owned(),
            timestamp_header: None,
            tolerance_seconds: 300,
            id_header: None,
            event_header: None,
            event_pointer: None,
            duplicate_seconds: None,
        }
    }
}

/// Something that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field inside `verification`, such as `hmac.algorithms`.
    pub place: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

fn problem(place: &str, message: impl Into<String>) -> Problem {
    Problem {
        place: place.to_owned(),
        message: message.into(),
    }
}

/// An HMAC signature that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    options: HmacOptions,
    forms: Vec<(String, Algorithm)>,
    encoding: Encoding,
}

impl Hmac {
    /// Checks what somebody wrote down.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, at once.
    pub fn new(options: HmacOptions) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let forms = forms(&options, &mut problems);
        let encoding = match options.encoding.as_str() {
            "hex" => Encoding::Hex,
            "base64" => Encoding::Base64,
            other => {
                problems.push(problem(
                    "hmac.encoding",
                    format!("`{other}` is not known; use `hex` or `base64`"),
                ));
                Encoding::Hex
            }
        };
        match parts(&options.signed) {
            Ok(parts) => needs(&options, &parts, &mut problems),
            Err(message) => problems.push(problem("hmac.signed", message)),
        }
        header_names(&options, &mut problems);
        if options.tolerance_seconds > DAY {
            problems.push(problem(
                "hmac.toleranceSeconds",
                "more than a day (86400) protects against nothing",
            ));
        }
        let seconds = options.duplicate_seconds;
        if seconds.is_some_and(|seconds| !(1..=DAY).contains(&seconds)) {
            problems.push(problem(
                "hmac.duplicateSeconds",
                "it has to be 1 s to a day (86400); leave it out where identical bodies are meant",
            ));
        }
        if options
            .event_pointer
            .as_ref()
            .is_some_and(|pointer| !pointer.starts_with('/'))
        {
            problems.push(problem(
                "hmac.eventPointer",
                "a JSON pointer starts with `/`",
            ));
        }
        if problems.is_empty() {
            Ok(Self {
                options,
                forms,
                encoding,
            })
        } else {
            Err(problems)
        }
    }

    /// What was written down.
    #[must_use]
    pub const fn options(&self) -> &HmacOptions {
        &self.options
    }

    pub(crate) fn items(&self) -> Vec<Item<'_>> {
        self.forms
            .iter()
            .map(|(prefix, algorithm)| Item {
                prefix,
                algorithm: *algorithm,
                encoding: self.encoding,
                key: Key::Text,
            })
            .collect()
    }

    pub(crate) fn signed(&self) -> Vec<Part<'_>> {
        parts(&self.options.signed).unwrap_or_default()
    }
}

/// The forms that a signature may have. Two forms with the same prefix could not be told apart.
fn forms(options: &HmacOptions, problems: &mut Vec<Problem>) -> Vec<(String, Algorithm)> {
    let place = "hmac.algorithms";
    let mut forms: Vec<(String, Algorithm)> = Vec::new();
    for name in &options.algorithms {
        let algorithm = match name.as_str() {
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            other => {
                let message = format!(
                    "`{other}` is not known; use `sha256`, `sha512` or, if it must be, `sha1`"
                );
                problems.push(problem(place, message));
                continue;
            }
        };
        forms.push((options.prefix.replace("{algorithm}", name), algorithm));
    }
    if options.algorithms.is_empty() {
        problems.push(problem(place, "name at least one algorithm"));
    }
    let unlabelled = !options.prefix.contains("{algorithm}");
    if unlabelled && options.algorithms.len() > 1 {
        let message =
            "without `{algorithm}` in `hmac.prefix` exactly one algorithm can be accepted";
        problems.push(problem(place, message));
    }
    forms
}

/// The parts of a template such as `{id}.{timestamp}.{body}`.
fn parts(template: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let (text, after) = rest.split_once('{').unwrap_or((rest, ""));
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        if text.len() == rest.len() {
            break;
        }
        let (name, after) = after.split_once('}').ok_or("a `{` is not closed")?;
        parts.push(match name {
            "body" => Part::Body,
            "timestamp" => Part::Time,
            "id" => Part::Id,
            other => {
                return Err(format!(
                    "`{{{other}}}` is not known; use `{{body}}`, `{{timestamp}}`, `{{id}}`"
                ));
            }
        });
        rest = after;
    }
    Ok(parts)
}

/// What a template needs beside itself.
fn needs(options: &HmacOptions, parts: &[Part<'_>], problems: &mut Vec<Problem>) {
    if parts.iter().filter(|part| **part == Part::Body).count() != 1 {
        problems.push(problem("hmac.signed", "`{body}` has to be signed, once"));
    }
    let pairs = [
        (
            Part::Time,
            "hmac.timestampHeader",
            "{timestamp}",
            &options.timestamp_header,
        ),
        (Part::Id, "hmac.idHeader", "{id}", &options.id_header),
    ];
    for (part, place, name, header) in pairs {
        if parts.contains(&part) && header.is_none() {
            problems.push(problem(
                place,
                format!("`{name}` is signed, so say which header it is in"),
            ));
        }
    }
    if options.timestamp_header.is_some() && !parts.contains(&Part::Time) {
        let message = "the time is not part of `hmac.signed`, so anybody could write it; sign it or leave it out";
        problems.push(problem("hmac.timestampHeader", message));
    }
}

fn header_names(options: &HmacOptions, problems: &mut Vec<Problem>) {
    let names = [
        ("hmac.header", Some(&options.header)),
        ("hmac.timestampHeader", options.timestamp_header.as_ref()),
        ("hmac.idHeader", options.id_header.as_ref()),
        ("hmac.eventHeader", options.event_header.as_ref()),
    ];
    for (place, name) in names {
        problems.extend(name.and_then(|name| header_problem(place, name)));
    }
}

fn header_problem(place: &str, name: &str) -> Option<Problem> {
    let message = format!("`{name}` cannot be the name of a header");
    HeaderName::try_from(name)
        .is_err()
        .then(|| problem(place, message))
}

/// Everything in `settings` that does not fit the provider.
#[must_use]
pub fn check(provider: &Provider, settings: &Settings) -> Vec<Problem> {
    let name = provider.name;
    let mut problems = Vec::new();
    if let Some(header) = &settings.header {
        if !provider.chosen_header {
            problems.push(problem(
                "header",
                format!("`{name}` has a header of its own; leave this out"),
            ));
        }
        problems.extend(header_problem("header", header));
        problems.extend(kept_problem(provider, "header", header));
    }
    let configured = provider
        .proofs
        .iter()
        .any(|proof| matches!(proof, Proof::Configured));
    if settings.hmac.is_some() && !configured {
        problems.push(problem(
            "hmac",
            format!("only for `generic-hmac`; `{name}` knows how it is signed"),
        ));
    }
    let signature = settings.hmac.as_ref().map(|hmac| &hmac.options().header);
    problems.extend(signature.and_then(|name| kept_problem(provider, "hmac.header", name)));
    problems.extend(check_token(provider, settings));
    problems
}

/// What proves a sender is stored nowhere: its header is none of those that a record keeps.
fn kept_problem(provider: &Provider, place: &str, name: &str) -> Option<Problem> {
    let kept = |known: &&str| known.eq_ignore_ascii_case(name);
    let message = format!(
        "`{name}` is part of the record of every event, so that the secret would be, too; let the sender use a header \
         for it alone, such as `X-Token`"
    );
    let found = provider.headers.iter().any(kept);
    found.then(|| problem(place, message))
}

fn check_token(provider: &Provider, settings: &Settings) -> Vec<Problem> {
    let name = provider.name;
    let jwt = provider.proofs.iter().find_map(|proof| match proof {
        Proof::Jwt(jwt) => Some(jwt),
        _ => None,
    });
    let Some(token) = &settings.token else {
        let required = jwt.is_some() && provider.proofs.len() == 1;
        let message = format!("`{name}` sends a signed token; say its audience and account");
        return required
            .then(|| problem("token", message))
            .into_iter()
            .collect();
    };
    let Some(jwt) = jwt else {
        return vec![problem(
            "token",
            format!("`{name}` sends no signed token; leave this out"),
        )];
    };
    let mut problems = Vec::new();
    if token.audience.is_empty() {
        problems.push(problem(
            "token.audience",
            "say the audience that the sender was configured with",
        ));
    }
    if token.account.is_empty() {
        problems.push(problem(
            "token.account",
            "say the account; without it any account of the issuer is let in",
        ));
    }
    match (&token.issuer, jwt.issuers.is_empty()) {
        (None, true) => problems.push(problem(
            "token.issuer",
            format!("`{name}` leaves the issuer open; name it"),
        )),
        (Some(_), false) => problems.push(problem(
            "token.issuer",
            format!("`{name}` has its own; leave this out"),
        )),
        _ => {}
    }
    problems
}
