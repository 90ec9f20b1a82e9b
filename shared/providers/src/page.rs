//! A page of documentation per provider, made from its entry in the table: it cannot say what the code does not do.

use std::fmt::Write as _;

use crate::provider::{
    AccountClaim, Covers, Encoding, Envelope, Field, Form, Handshake, Item, Key, Otherwise, Part,
    Proof, Provider, Scheme, Signature, Time, Value,
};

/// Widest line, in characters.
const WIDTH: usize = 120;

/// The page of a provider, in Markdown.
#[must_use]
pub fn page(provider: &Provider) -> String {
    let mut page = Page(String::new());
    page.line(&format!("# {}", provider.title));
    page.line(&format!(
        "Set `spec.provider: {}` in the Hook.",
        provider.name
    ));
    page.section("Register");
    page.numbered(provider.notes.register);
    page.section("Verify");
    page.bullets(&proofs(provider));
    page.section("Event");
    page.bullets(&event(provider));
    page.section("Answers");
    page.bullets(&answers(provider));
    if !provider.notes.hints.is_empty() {
        page.section("Good to know");
        page.bullets(provider.notes.hints);
    }
    if let Some(example) = provider.example {
        let folder = format!("examples/hooks/{}", provider.name);
        page.section("Example");
        page.bullets(&[format!(
            "[`{folder}`](../../{folder}/hook.yaml): {example}. `hookrun hooks test {folder}` tries it with the \
             requests that lie beside it."
        )]);
    }
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line(&format!("## {title}"));
        self.0.push('\n');
    }

    fn numbered(&mut self, texts: &[&str]) {
        for (index, text) in texts.iter().enumerate() {
            self.item(&format!("{}. ", index + 1), text);
        }
    }

    fn bullets(&mut self, texts: &[impl AsRef<str>]) {
        for text in texts {
            self.item("- ", text.as_ref());
        }
    }

    /// An item of a list, in lines of at most [`WIDTH`] characters. Code is not broken.
    fn item(&mut self, mark: &str, text: &str) {
        self.0.push_str(mark);
        let (mut width, mut start) = (mark.len(), true);
        for word in words(text) {
            let length = word.chars().count();
            if !start && width + 1 + length > WIDTH {
                self.0.push('\n');
                self.0.push_str(&" ".repeat(mark.len()));
                width = mark.len();
            } else if !start {
                self.0.push(' ');
                width += 1;
            }
            self.0.push_str(&word);
            width += length;
            start = false;
        }
        self.0.push('\n');
    }
}

/// Words of a text; code between backquotes is one.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut code = false;
    for piece in text.split(' ') {
        match words.last_mut().filter(|_| code) {
            Some(word) => {
                word.push(' ');
                word.push_str(piece);
            }
            None => words.push(piece.to_owned()),
        }
        code ^= piece.matches('`').count() % 2 == 1;
    }
    words
}

fn proofs(provider: &Provider) -> Vec<String> {
    let mut lines: Vec<String> = provider.proofs.iter().map(proof).collect();
    if provider.proofs.len() > 1 {
        let rule = "The first of these that the Hook is configured for counts. With `verification.legacy: true` the \
                    others count, too, for requests that do not bring the first.";
        lines.push(rule.to_owned());
    }
    if provider.chosen_header {
        let rule =
            "With `verification.header` only that header counts, and it holds the secret alone.";
        lines.push(rule.to_owned());
    }
    if provider
        .proofs
        .iter()
        .any(|proof| !matches!(proof, Proof::Jwt(_)))
    {
        let rule = match provider.proofs {
            [_] => {
                "All secrets of `verification.secretRefs` count: while one is replaced by another, no event is lost."
            }
            _ => {
                "All secrets of `verification.secretRefs` count whose proof counts: while one is replaced by another, \
                 no event is lost. The Hook is not Ready while it names a secret whose proof does not."
            }
        };
        lines.push(rule.to_owned());
    }
    lines
}

fn proof(proof: &Proof<'_>) -> String {
    match proof {
        Proof::Signature(signature) => signed(signature),
        Proof::Configured => "The signature that `verification.hmac` describes.".to_owned(),
        Proof::Value(Value {
            header,
            scheme,
            key,
        }) => {
            let scheme = match scheme {
                Scheme::Plain => "the secret itself",
                Scheme::Bearer => "`Bearer` and the secret itself",
                Scheme::Basic => "`Basic` and the base64 of the secret, `user:password`",
            };
            let unless = match key {
                Key::TextUnless(prefix) => {
                    format!(" Secrets that start with `{prefix}` are not meant.")
                }
                _ => String::new(),
            };
            format!("Header `{header}`: {scheme}.{unless}")
        }
        Proof::PathToken => "The last segment of the path is the secret itself.".to_owned(),
        Proof::Jwt(jwt) => {
            let issuer = match jwt.issuers {
                [] => "the issuer of `verification.token.issuer`".to_owned(),
                issuers => issuers
                    .iter()
                    .map(|issuer| format!("`{issuer}`"))
                    .collect::<Vec<_>>()
                    .join(" or "),
            };
            let account = match jwt.account {
                AccountClaim::VerifiedEmail => {
                    "`email` is `verification.token.account` and `email_verified` is true"
                }
                AccountClaim::Subject => "`sub` is `verification.token.account`",
            };
            format!(
                "Header `Authorization`: `Bearer` and a token (JWT, {}) signed by {issuer}, whose `aud` is \
                 `verification.token.audience`, and whose {account}.",
                jwt.algorithms.join(" or ")
            )
        }
    }
}

fn signed(signature: &Signature<'_>) -> String {
    let items: Vec<String> = signature.items.iter().map(item).collect();
    let several = match signature.separator {
        Some(' ') => " Several may stand there, with spaces between; one match is enough.",
        Some(_) => " Several may stand there, with commas between; one match is enough.",
        None => "",
    };
    let parts = signature.signed.iter().map(|part| match part {
        Part::Text(text) => (*text).to_owned(),
        Part::Id => "{id}".to_owned(),
        Part::Time => "{timestamp}".to_owned(),
        Part::Body => "{body}".to_owned(),
    });
    let over: String = parts.collect();
    let covers = match signature.covers {
        Covers::Body => "the body as it arrives",
        Covers::Payload => "the body as it arrives or, of a form, the decoded field `payload`",
    };
    let mut text = format!(
        "Header `{}`: {}.{several}",
        signature.header,
        items.join(", or ")
    );
    let _ = match signature.signed {
        [Part::Body] => write!(text, " Signed is {covers}."),
        _ => write!(text, " Signed is `{over}`; the body counts as it arrives."),
    };
    if let Some(header) = signature.id_header {
        let _ = write!(text, " The id is in `{header}`.");
    }
    let place = match signature.time {
        Some(Time::Header(header)) => format!("in `{header}`"),
        Some(Time::Item(prefix)) => format!("behind `{prefix}` in the same header"),
        None => return text,
    };
    let _ = write!(
        text,
        " The time is {place}, and may be {} s off.",
        signature.tolerance
    );
    text
}

fn item(item: &Item<'_>) -> String {
    let encoding = match item.encoding {
        Encoding::Hex => "hexadecimal",
        Encoding::Base64 => "base64",
    };
    let prefix = match item.prefix {
        "" => String::new(),
        prefix => format!("`{prefix}` and "),
    };
    let key = match item.key {
        Key::Base64After(key) => format!(", with a secret `{key}` and base64"),
        Key::Text | Key::TextUnless(_) => String::new(),
    };
    format!("{prefix}{} in {encoding}{key}", item.algorithm.title())
}

fn event(provider: &Provider) -> Vec<String> {
    let list = |fields: &[Field<'_>], joint: &str| {
        fields.iter().map(field).collect::<Vec<_>>().join(joint)
    };
    let mut lines = Vec::new();
    let configured = provider
        .proofs
        .iter()
        .any(|proof| matches!(proof, Proof::Configured));
    lines.push(match provider.event_type {
        [] if configured => {
            "Type: what `verification.hmac.eventHeader` or `eventPointer` names.".to_owned()
        }
        [] => "Type: none.".to_owned(),
        fields => format!("Type: {}.", list(fields, ", or ")),
    });
    if !provider.delivery_id.is_empty() {
        lines.push(format!(
            "Delivery id: {}.",
            list(provider.delivery_id, ", or ")
        ));
    }
    let mut same: Vec<String> = provider
        .identity
        .iter()
        .map(|fields| list(fields, " with "))
        .collect();
    if configured {
        same.push("the header of `verification.hmac.idHeader`".to_owned());
        same.push("the digest of the body, for `verification.hmac.duplicateSeconds`".to_owned());
    }
    same.push(match provider.otherwise {
        Otherwise::Digest => "the digest of the body".to_owned(),
        Otherwise::DigestWithin(seconds) => {
            let most = seconds.saturating_mul(2);
            format!("the digest of the body, for {seconds} to {most} s")
        }
        Otherwise::Nothing => "nothing (every request is an event of its own)".to_owned(),
    });
    lines.push(format!(
        "Identity, by which an event that comes again is recognised as long as its Delivery is kept (`retention`): {}.",
        same.join("; without that, ")
    ));
    lines.extend(shape(provider));
    lines.push(format!(
        "A body may have up to {} MiB.",
        provider.body_bytes >> 20
    ));
    lines.extend(provider.handshakes.iter().map(handshake));
    if !provider.drop.is_empty() {
        let fields: Vec<String> = provider
            .drop
            .iter()
            .map(|field| format!("`{field}`"))
            .collect();
        lines.push(format!(
            "Taken out before anything is stored: {}.",
            fields.join(", ")
        ));
    }
    lines
}

fn field(field: &Field<'_>) -> String {
    match field {
        Field::Header(name) => format!("header `{name}`"),
        Field::Body(pointer) => format!("`body{}`", pointer.replace('/', ".")),
        Field::Attribute(name) => format!("attribute `{name}`"),
        Field::Fixed(text) => format!("always `{text}`"),
    }
}

fn shape(provider: &Provider) -> Option<String> {
    let text = match (provider.envelope, provider.form) {
        (Envelope::Json, Form::No) => "The body is JSON.",
        (Envelope::Json, Form::Payload) => {
            "The body is JSON, or a form whose field `payload` is JSON."
        }
        (Envelope::Json, Form::PayloadOrFields) => {
            "The body is JSON, or a form: the JSON of its field `payload`, else its fields as texts."
        }
        (Envelope::Any, _) => "The body may be anything; expressions see it if it is JSON.",
        (Envelope::CloudEvents, _) => return None,
        (Envelope::PubSub, _) => "The event is the JSON in `message.data`, which is base64.",
    };
    Some(text.to_owned())
}

fn handshake(handshake: &Handshake) -> String {
    let verified = if handshake.verified {
        "a verified"
    } else {
        "any"
    };
    let answer = match handshake.echo {
        Some(pointer) => format!("200 and `body{}`", pointer.replace('/', ".")),
        None => "200".to_owned(),
    };
    let asked = field(&handshake.field);
    format!(
        "Connection test: {verified} request whose {asked} is `{}` is answered with {answer}; nothing is stored.",
        handshake.equals
    )
}

fn answers(provider: &Provider) -> Vec<String> {
    let notes = &provider.notes;
    vec![
        "An event that is verified and stored is answered with 202, also if nothing matches or starts.".to_owned(),
        format!("Time: {}", notes.clock),
        format!("Further attempts: {}", notes.retries),
        format!("What answers do: {}", notes.answers),
    ]
}
