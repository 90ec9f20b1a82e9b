//! Reading Kubernetes' protobuf encoding of a few built-in kinds.
//!
//! `kubectl create namespace`, `create secret generic` and their like send nothing else. Answers are always JSON, which
//! those commands accept. Messages are read by small tables of their fields; a field that no table names is a refusal
//! rather than a loss.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value};

/// How one field is written.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Bool,
    /// A message with these fields.
    Message(Message),
    /// What the server sets itself: read over.
    Ignored,
    List(&'static Kind),
    /// A map from text to this.
    Map(&'static Kind),
    /// Bytes, base64 in JSON.
    Bytes,
}

type Message = &'static [(u64, &'static str, Kind)];

const OWNER: Message = &[
    (1, "kind", Kind::Text),
    (3, "name", Kind::Text),
    (4, "uid", Kind::Text),
    (5, "apiVersion", Kind::Text),
    (6, "controller", Kind::Bool),
    (7, "blockOwnerDeletion", Kind::Bool),
];

const METADATA: Message = &[
    (1, "name", Kind::Text),
    (2, "generateName", Kind::Text),
    (3, "namespace", Kind::Text),
    (4, "selfLink", Kind::Text),
    (5, "uid", Kind::Text),
    (6, "resourceVersion", Kind::Text),
    (7, "generation", Kind::Number),
    (8, "creationTimestamp", Kind::Ignored),
    (11, "labels", Kind::Map(&Kind::Text)),
    (12, "annotations", Kind::Map(&Kind::Text)),
    (13, "ownerReferences", Kind::List(&Kind::Message(OWNER))),
    (14, "finalizers", Kind::List(&Kind::Text)),
];

const REFERENCE: Message = &[
    (1, "kind", Kind::Text),
    (2, "namespace", Kind::Text),
    (3, "name", Kind::Text),
    (4, "uid", Kind::Text),
    (5, "apiVersion", Kind::Text),
    (6, "resourceVersion", Kind::Text),
    (7, "fieldPath", Kind::Text),
];

const META: (u64, &str, Kind) = (1, "metadata", Kind::Message(METADATA));

const KINDS: &[(&str, Message)] = &[
    (
        "ConfigMap",
        &[
            META,
            (2, "data", Kind::Map(&Kind::Text)),
            (3, "binaryData", Kind::Map(&Kind::Bytes)),
            (4, "immutable", Kind::Bool),
        ],
    ),
    (
        "Namespace",
        &[
            META,
            (
                2,
                "spec",
                Kind::Message(&[(1, "finalizers", Kind::List(&Kind::Text))]),
            ),
            (3, "status", Kind::Ignored),
        ],
    ),
    (
        "Secret",
        &[
            META,
            (2, "data", Kind::Map(&Kind::Bytes)),
            (3, "type", Kind::Text),
            (4, "stringData", Kind::Map(&Kind::Text)),
            (5, "immutable", Kind::Bool),
        ],
    ),
    (
        "ServiceAccount",
        &[
            META,
            (2, "secrets", Kind::List(&Kind::Message(REFERENCE))),
            (
                3,
                "imagePullSecrets",
                Kind::List(&Kind::Message(&[(1, "name", Kind::Text)])),
            ),
            (4, "automountServiceAccountToken", Kind::Bool),
        ],
    ),
];

/// The envelope around every object: its type, then its bytes.
const ENVELOPE: Message = &[
    (
        1,
        "type",
        Kind::Message(&[(1, "apiVersion", Kind::Text), (2, "kind", Kind::Text)]),
    ),
    (2, "raw", Kind::Bytes),
    (3, "contentEncoding", Kind::Text),
    (4, "contentType", Kind::Text),
];

const MAGIC: &[u8] = b"k8s\0";

/// Options of a deletion, which kubectl may send in this form too.
const DELETE_OPTIONS: Message = &[
    (1, "gracePeriodSeconds", Kind::Number),
    (
        2,
        "preconditions",
        Kind::Message(&[(1, "uid", Kind::Text), (2, "resourceVersion", Kind::Text)]),
    ),
    (3, "orphanDependents", Kind::Bool),
    (4, "propagationPolicy", Kind::Text),
    (5, "dryRun", Kind::List(&Kind::Text)),
];

/// The object as JSON, or why it cannot be read.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, String> {
    let bytes = bytes
        .strip_prefix(MAGIC)
        .ok_or("it does not begin as Kubernetes' protobuf does")?;
    let envelope = message(bytes, ENVELOPE)?;
    let kind = envelope["type"]["kind"].as_str().unwrap_or_default();
    let api_version = envelope["type"]["apiVersion"].as_str().unwrap_or_default();
    let fields = match (api_version, kind) {
        ("v1" | "meta.k8s.io/v1", "DeleteOptions") => DELETE_OPTIONS,
        ("v1", kind) => KINDS
            .iter()
            .find(|(known, _)| *known == kind)
            .map(|(_, fields)| *fields)
            .ok_or_else(|| format!("objects of kind {kind} are read as JSON only"))?,
        _ => return Err(format!("objects of {api_version} are read as JSON only")),
    };
    let raw = STANDARD
        .decode(envelope["raw"].as_str().unwrap_or_default())
        .map_err(|e| e.to_string())?;
    let mut object = message(&raw, fields)?;
    object["apiVersion"] = api_version.into();
    object["kind"] = kind.into();
    Ok(object)
}

/// One field as it lies in the bytes.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn message(mut bytes: &[u8], fields: Message) -> Result<Value, String> {
    let mut object = Map::new();
    while !bytes.is_empty() {
        let (number, wire) = field(&mut bytes)?;
        let Some((_, name, kind)) = fields.iter().find(|(n, ..)| *n == number) else {
            return Err(format!("its field {number} is read from JSON only"));
        };
        match kind {
            Kind::Ignored => {}
            Kind::List(kind) => {
                let element = value(&wire, **kind)?;
                if let Value::Array(list) =
                    object.entry(*name).or_insert_with(|| Value::Array(vec![]))
                {
                    list.push(element);
                }
            }
            Kind::Map(kind) => {
                let (key, element) = entry(&wire, **kind)?;
                if let Value::Object(map) = object
                    .entry(*name)
                    .or_insert_with(|| Value::Object(Map::new()))
                {
                    map.insert(key, element);
                }
            }
            kind => {
                let value = value(&wire, *kind)?;
                // Absent text is written as empty text.
                if value != "" {
                    object.insert((*name).to_owned(), value);
                }
            }
        }
    }
    Ok(Value::Object(object))
}

/// An entry of a map is a message of key and value.
fn entry(wire: &Wire<'_>, kind: Kind) -> Result<(String, Value), String> {
    let Wire::Bytes(bytes) = wire else {
        return Err(mismatch());
    };
    let mut bytes = *bytes;
    let (mut key, mut element) = (String::new(), value(&Wire::Bytes(b""), kind)?);
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Wire::Bytes(text)) => key = text_of(text)?.to_owned(),
            (2, wire) => element = value(&wire, kind)?,
            _ => return Err(mismatch()),
        }
    }
    Ok((key, element))
}

fn value(wire: &Wire<'_>, kind: Kind) -> Result<Value, String> {
    match (wire, kind) {
        (Wire::Bytes(bytes), Kind::Text) => Ok(text_of(bytes)?.into()),
        (Wire::Bytes(bytes), Kind::Bytes) => Ok(STANDARD.encode(bytes).into()),
        (Wire::Bytes(bytes), Kind::Message(fields)) => message(bytes, fields),
        (Wire::Number(number), Kind::Number) => Ok((*number).into()),
        (Wire::Number(number), Kind::Bool) => Ok((*number != 0).into()),
        _ => Err(mismatch()),
    }
}

fn field<'a>(bytes: &mut &'a [u8]) -> Result<(u64, Wire<'a>), String> {
    let tag = varint(bytes)?;
    let wire = match tag & 7 {
        0 => Wire::Number(varint(bytes)?),
        2 => {
            let length = usize::try_from(varint(bytes)?).map_err(|e| e.to_string())?;
            let (field, rest) = bytes.split_at_checked(length).ok_or_else(cut)?;
            *bytes = rest;
            Wire::Bytes(field)
        }
        _ => return Err(mismatch()),
    };
    Ok((tag >> 3, wire))
}

fn varint(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().ok_or_else(cut)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("a number in it is too long".to_owned())
}

fn text_of(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|e| e.to_string())
}

fn cut() -> String {
    "it ends too early".to_owned()
}

fn mismatch() -> String {
    "a field in it is of another type".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A field of bytes.
    fn put(number: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u8::try_from(bytes.len()).expect("short");
        [&[number << 3 | 2, length], bytes].concat()
    }

    fn secret() -> Vec<u8> {
        let metadata = [put(1, b"s"), put(2, b""), put(8, b"")].concat();
        let data = [put(1, b"k"), put(2, b"v")].concat();
        let raw = [put(1, &metadata), put(2, &data), put(3, b"Opaque")].concat();
        let kind = [put(1, b"v1"), put(2, b"Secret")].concat();
        [
            MAGIC,
            &put(1, &kind),
            &put(2, &raw),
            &put(3, b""),
            &put(4, b""),
        ]
        .concat()
    }

    #[test]
    fn a_secret_is_read() {
        let expected = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "data": {"k": "dg=="}, "type": "Opaque",
        });
        assert_eq!(decode(&secret()), Ok(expected));
    }

    #[test]
    fn no_bytes_are_too_strange() {
        proptest::proptest!(|(at in 0usize..80, byte: u8, length in 0usize..80)| {
            let mut bytes = secret();
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
            bytes.truncate(length.max(4));
            let _ = decode(&bytes);
        });
    }
}
