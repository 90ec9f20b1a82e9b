//! Reading vectors, and asking the engine about them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue};
use providers::{Hmac, HmacOptions, Proven, Provider, Refusal, Request, Settings, Token, verify};
use serde_json::Value;

/// One vector, ready to be asked about.
#[derive(Clone)]
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) provider: &'static Provider,
    pub(crate) settings: Settings,
    pub(crate) secrets: Vec<Vec<u8>>,
    pub(crate) headers: HeaderMap,
    pub(crate) token: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) now: i64,
    pub(crate) expect: String,
    pub(crate) secret: usize,
    pub(crate) facts: Option<[String; 3]>,
}

impl Vector {
    pub(crate) fn request(&self) -> Request<'_> {
        Request {
            headers: &self.headers,
            query: "",
            token: self.token.as_deref(),
            body: &self.body,
        }
    }

    pub(crate) fn verify(&self) -> Result<Proven, Refusal> {
        verify(
            self.provider,
            &self.settings,
            &self.secrets,
            &self.request(),
            self.now,
        )
    }

    /// As the edge does it, but for the signature of tokens.
    pub(crate) fn outcome(&self) -> Result<usize, Refusal> {
        match self.verify()? {
            Proven::Secret(index) => Ok(index),
            Proven::Token(claim) => claim.permits(&claims(&claim.token), self.now).map(|()| 0),
        }
    }

    pub(crate) fn set(&mut self, name: &str, value: &[u8]) {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .insert(name, HeaderValue::from_bytes(value).unwrap());
    }
}

/// The claims of a token, unchecked.
pub(crate) fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// All vectors.
pub(crate) fn all() -> Vec<Vector> {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../vectors.json")).unwrap();
    vectors.iter().map(read).collect()
}

/// The vector with this id.
pub(crate) fn one(id: &str) -> Vector {
    all().into_iter().find(|vector| vector.id == id).unwrap()
}

fn read(vector: &Value) -> Vector {
    let text = |name: &str| vector[name].as_str().map(str::to_owned);
    let mut headers = HeaderMap::new();
    for (name, value) in vector["headers"].as_object().unwrap() {
        let name: HeaderName = name.parse().unwrap();
        headers.append(
            name,
            HeaderValue::from_str(value.as_str().unwrap()).unwrap(),
        );
    }
    Vector {
        id: text("id").unwrap(),
        provider: providers::provider(&text("provider").unwrap()).unwrap(),
        settings: settings(&vector["settings"]),
        secrets: secrets(vector),
        headers,
        token: text("path").map(|path| path.rsplit('/').next().unwrap().to_owned()),
        body: text("body").unwrap().into_bytes(),
        now: vector["clock_unix"].as_i64().unwrap_or(1_700_000_000),
        expect: text("expect").unwrap(),
        secret: vector["secret"]
            .as_u64()
            .map_or(0, |index| usize::try_from(index).unwrap()),
        facts: vector["facts"].as_object().map(|facts| {
            ["eventType", "deliveryId", "key"].map(|name| facts[name].as_str().unwrap().to_owned())
        }),
    }
}

fn secrets(vector: &Value) -> Vec<Vec<u8>> {
    let prefixed =
        |prefix: &str, key: &Value| format!("{prefix}{}", key.as_str().unwrap()).into_bytes();
    match vector {
        Value::Object(all) if all.contains_key("secret_b64") => {
            vec![prefixed("whsec_", &vector["secret_b64"])]
        }
        Value::Object(all) if all.contains_key("public_key_b64") => {
            vec![prefixed("whpk_", &vector["public_key_b64"])]
        }
        _ => match &vector["secret_utf8"] {
            Value::Array(several) => several.iter().map(|secret| prefixed("", secret)).collect(),
            Value::Null => Vec::new(),
            secret => vec![prefixed("", secret)],
        },
    }
}

fn settings(settings: &Value) -> Settings {
    let token = settings["token"].as_object().map(|token| Token {
        audience: token["audience"].as_str().unwrap().to_owned(),
        account: token["account"].as_str().unwrap().to_owned(),
        issuer: token
            .get("issuer")
            .map(|issuer| issuer.as_str().unwrap().to_owned()),
    });
    Settings {
        legacy: settings["legacy"].as_bool().unwrap_or_default(),
        header: settings["header"].as_str().map(str::to_owned),
        hmac: settings["hmac"]
            .as_object()
            .map(|_| hmac(&settings["hmac"])),
        token,
        ..Settings::default()
    }
}

fn hmac(hmac: &Value) -> Hmac {
    let text = |name: &str| hmac[name].as_str().map(str::to_owned);
    let mut options = HmacOptions::default();
    options.header = text("header").unwrap_or(options.header);
    options.prefix = text("prefix").unwrap_or(options.prefix);
    options.encoding = text("encoding").unwrap_or(options.encoding);
    options.signed = text("signed").unwrap_or(options.signed);
    options.timestamp_header = text("timestampHeader");
    options.id_header = text("idHeader");
    options.event_header = text("eventHeader");
    if let Some(names) = hmac["algorithms"].as_array() {
        options.algorithms = names
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
    }
    Hmac::new(options).unwrap()
}
