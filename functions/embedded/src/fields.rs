//! Sets of field paths, and their form in `managedFields` (`FieldsV1`): `{"f:data": {".": {}, "f:key": {}}}`.

use serde_json::{Map, Value};
use std::{collections::BTreeMap, fmt};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// A field of a map.
    Field(String),
    /// The element of a keyed list with these key fields, as canonical JSON.
    Key(String),
    /// The element of a set with this value, as canonical JSON.
    Value(String),
}

/// A set of paths, as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    /// The path to here is in the set.
    member: bool,
    children: BTreeMap<Step, Fields>,
}

impl Step {
    fn encode(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(key) => format!("k:{key}"),
            Self::Value(value) => format!("v:{value}"),
        }
    }

    fn decode(text: &str) -> Option<Self> {
        let canonical = |text| Some(serde_json::from_str::<Value>(text).ok()?.to_string());
        match text.split_once(':')? {
            ("f", name) => Some(Self::Field(name.to_owned())),
            ("k", key) => Some(Self::Key(canonical(key)?)),
            ("v", value) => Some(Self::Value(canonical(value)?)),
            _ => None,
        }
    }
}

/// `.data`, `[uid="x"]`, `[="x"]`: how messages print a path.
impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(out, ".{name}"),
            Self::Value(value) => write!(out, "[={value}]"),
            Self::Key(key) => {
                let key: Map<String, Value> = serde_json::from_str(key).unwrap_or_default();
                let key: Vec<String> = key.iter().map(|(k, v)| format!("{k}={v}")).collect();
                write!(out, "[{}]", key.join(","))
            }
        }
    }
}

impl Fields {
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// What the set says below one step.
    pub(crate) fn below(&self, step: &Step) -> Option<&Self> {
        self.children.get(step)
    }

    /// The steps that begin any path of the set.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&Step, &Self)> {
        self.children.iter()
    }

    pub(crate) fn insert(&mut self, path: &[Step]) {
        match path {
            [] => self.member = true,
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Removes a path and everything below it.
    pub(crate) fn remove_below(&mut self, path: &[&str]) {
        let step = |name: &str| Step::Field(name.to_owned());
        match path {
            [] => {}
            [last] => {
                self.children.remove(&step(last));
            }
            [first, rest @ ..] => {
                if let Some(child) = self.children.get_mut(&step(first)) {
                    child.remove_below(rest);
                    if child.is_empty() {
                        self.children.remove(&step(first));
                    }
                }
            }
        }
    }

    /// Removes a path itself, not what is below it.
    pub(crate) fn remove(&mut self, name: &str) {
        let step = Step::Field(name.to_owned());
        if let Some(child) = self.children.get_mut(&step) {
            child.member = false;
            if child.is_empty() {
                self.children.remove(&step);
            }
        }
    }

    pub(crate) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (step, theirs) in &other.children {
            self.children.entry(step.clone()).or_default().union(theirs);
        }
    }

    /// Takes away the very paths of the other set.
    pub(crate) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (step, theirs) in &other.children {
            if let Some(ours) = self.children.get_mut(step) {
                ours.subtract(theirs);
                if ours.is_empty() {
                    self.children.remove(step);
                }
            }
        }
    }

    /// The paths that are in both sets.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        let shared = self.children.iter().filter_map(|(step, ours)| {
            let both = ours.intersection(other.children.get(step)?);
            (!both.is_empty()).then(|| (step.clone(), both))
        });
        Self {
            member: self.member && other.member,
            children: shared.collect(),
        }
    }

    /// All paths, printed and in order.
    pub(crate) fn paths(&self) -> Vec<String> {
        fn walk(fields: &Fields, prefix: &str, out: &mut Vec<String>) {
            if fields.member {
                out.push(prefix.to_owned());
            }
            for (step, child) in &fields.children {
                walk(child, &format!("{prefix}{step}"), out);
            }
        }
        let mut out = vec![];
        walk(self, "", &mut out);
        out
    }

    /// As `FieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (step, child) in &self.children {
            map.insert(step.encode(), child.to_json());
        }
        Value::Object(map)
    }

    /// From `FieldsV1`. `None` where it is not in that form.
    pub(crate) fn from_json(value: &Value) -> Option<Self> {
        let map = value.as_object()?;
        let mut fields = Self::default();
        for (key, value) in map {
            if key == "." {
                fields.member = true;
                continue;
            }
            let mut child = Self::from_json(value)?;
            // A path without anything below it stands for itself.
            child.member |= child.children.is_empty();
            fields.children.insert(Step::decode(key)?, child);
        }
        Some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(json: Value) -> Fields {
        Fields::from_json(&json).expect("it is in the form")
    }

    #[test]
    fn what_is_written_reads_back() {
        let json = json!({
            "f:data": {".": {}, "f:a": {}, "f:b.c": {}},
            "f:metadata": {"f:finalizers": {".": {}, "v:\"x/y\"": {}}, "f:ownerReferences": {"k:{\"uid\":\"1\"}": {}}},
        });
        assert_eq!(fields(json.clone()).to_json(), json);
    }

    #[test]
    fn paths_print_as_the_api_server_prints_them() {
        let set = fields(json!({
            "f:data": {".": {}, "f:a": {}},
            "f:metadata": {"f:finalizers": {"v:\"x/y\"": {}}, "f:ownerReferences": {"k:{\"uid\":\"1\"}": {}}},
        }));
        let paths = [
            ".data",
            ".data.a",
            ".metadata.finalizers[=\"x/y\"]",
            ".metadata.ownerReferences[uid=\"1\"]",
        ];
        assert_eq!(set.paths(), paths);
    }

    #[test]
    fn subtraction_takes_the_very_paths() {
        let mut set = fields(json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}}));
        set.subtract(&fields(json!({"f:data": {}})));
        assert_eq!(set.to_json(), json!({"f:data": {"f:a": {}, "f:b": {}}}));
        set.subtract(&fields(json!({"f:data": {"f:a": {}, "f:b": {}}})));
        assert!(set.is_empty());
    }

    #[test]
    fn what_is_not_in_the_form_is_refused() {
        for bad in [
            json!([]),
            json!({"x": {}}),
            json!({"k:{": {}}),
            json!({"f:a": 1}),
        ] {
            assert_eq!(Fields::from_json(&bad), None, "{bad}");
        }
    }
}
