//! Label selectors (`a=b`, `a in (b,c)`, `!a`, `a>1`) and field selectors (`metadata.name=a`).

use crate::{
    failure::{Failure, Result},
    resource::Resource,
    validate,
};
use serde_json::Value;

/// What a list or watch is limited to. Everything, by default.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operator {
    Exists,
    Missing,
    In(Vec<String>),
    NotIn(Vec<String>),
    Above(i64),
    Below(i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    field: String,
    equal: bool,
    value: String,
}

impl Selector {
    /// Reads the two parameters of a request.
    pub(crate) fn parse(resource: &Resource, labels: &str, fields: &str) -> Result<Self> {
        Ok(Self {
            labels: parse_labels(labels)?,
            fields: parse_fields(resource, fields)?,
        })
    }

    /// Selects the one object with this name, as well.
    pub(crate) fn and_name(mut self, name: &str) -> Self {
        self.fields.push(Condition {
            field: "metadata.name".to_owned(),
            equal: true,
            value: name.to_owned(),
        });
        self
    }

    /// Selects everything.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is selected.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        self.labels
            .iter()
            .all(|r| r.matches(labels[&r.key].as_str()))
            && self
                .fields
                .iter()
                .all(|c| (field(object, &c.field) == c.value) == c.equal)
    }
}

impl Requirement {
    fn matches(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|v| v.parse::<i64>().ok());
        match &self.operator {
            Operator::Exists => value.is_some(),
            Operator::Missing => value.is_none(),
            Operator::In(values) => value.is_some_and(|v| values.iter().any(|x| x == v)),
            Operator::NotIn(values) => !value.is_some_and(|v| values.iter().any(|x| x == v)),
            Operator::Above(bound) => number().is_some_and(|n| n > *bound),
            Operator::Below(bound) => number().is_some_and(|n| n < *bound),
        }
    }
}

fn field<'a>(object: &'a Value, path: &str) -> &'a str {
    // The source of an event is selected by its component.
    let path = if path == "source" {
        "source.component"
    } else {
        path
    };
    let value = path.split('.').fold(object, |value, name| &value[name]);
    value.as_str().unwrap_or_default()
}

fn parse_fields(resource: &Resource, text: &str) -> Result<Vec<Condition>> {
    let mut conditions = vec![];
    for term in text.split(',').filter(|t| !t.is_empty()) {
        let (field, equal, value) = if let Some((field, value)) = term.split_once("!=") {
            (field, false, value)
        } else if let Some((field, value)) = term.split_once("==") {
            (field, true, value)
        } else if let Some((field, value)) = term.split_once('=') {
            (field, true, value)
        } else {
            return Err(Failure::bad_request(format!(
                "invalid selector: '{term}'; can't understand '{term}'"
            )));
        };
        let known = matches!(field, "metadata.name" | "metadata.namespace")
            || resource.selectable.contains(&field);
        if !known {
            return Err(Failure::bad_request(format!(
                "field label not supported: {field}"
            )));
        }
        conditions.push(Condition {
            field: field.to_owned(),
            equal,
            value: value.to_owned(),
        });
    }
    Ok(conditions)
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>> {
    let mut tokens = Tokens { rest: text };
    let mut requirements = vec![];
    if tokens.peek().is_empty() {
        return Ok(requirements);
    }
    loop {
        requirements.push(parse_requirement(&mut tokens)?);
        match tokens.next() {
            "" => return Ok(requirements),
            "," if is_word(tokens.peek()) || tokens.peek() == "!" => {}
            "," => {
                return Err(refuse(format_args!(
                    "found '{}', expected: identifier after ','",
                    tokens.peek()
                )));
            }
            other => {
                return Err(refuse(format_args!(
                    "found '{other}', expected: ',' or 'end of string'"
                )));
            }
        }
    }
}

fn parse_requirement(tokens: &mut Tokens<'_>) -> Result<Requirement> {
    let first = tokens.next();
    let negated = first == "!";
    let key = if negated { tokens.next() } else { first };
    if !is_word(key) {
        let expected = if negated {
            "unable to parse requirement: found '{}', expected: identifier"
        } else {
            "found '{}', expected: !, identifier, or 'end of string'"
        };
        return Err(refuse(expected.replace("{}", key)));
    }
    let illegal = |at: &str, what: &str, why: &str| {
        refuse(format_args!(
            "unable to parse requirement: {at}: Invalid value: {what:?}: {why}"
        ))
    };
    validate::qualified_name(key).map_err(|why| illegal("<nil>", key, &why))?;
    let key_text = key.to_owned();
    let operator = if negated {
        Operator::Missing
    } else {
        match tokens.peek() {
            "" | "," => Operator::Exists,
            "=" | "==" => {
                tokens.next();
                Operator::In(vec![tokens.value()])
            }
            "!=" => {
                tokens.next();
                Operator::NotIn(vec![tokens.value()])
            }
            "in" => {
                tokens.next();
                Operator::In(tokens.values()?)
            }
            "notin" => {
                tokens.next();
                Operator::NotIn(tokens.values()?)
            }
            sign @ (">" | "<") => {
                tokens.next();
                let value = tokens.value();
                let why = "for 'Gt', 'Lt' operators, the value must be an integer";
                let bound = value
                    .parse()
                    .map_err(|_| illegal("values[0]", &value, why))?;
                if sign == ">" {
                    Operator::Above(bound)
                } else {
                    Operator::Below(bound)
                }
            }
            other => {
                return Err(refuse(format_args!(
                    "unable to parse requirement: found '{other}', expected: in, notin, =, ==, !=, gt, lt"
                )));
            }
        }
    };
    if let Operator::In(values) | Operator::NotIn(values) = &operator {
        for (at, value) in values.iter().enumerate() {
            validate::label_value(value)
                .map_err(|why| illegal(&format!("values[{at}][{key}]"), value, &why))?;
        }
    }
    Ok(Requirement {
        key: key_text,
        operator,
    })
}

fn refuse(why: impl std::fmt::Display) -> Failure {
    Failure::bad_request(why.to_string())
}

/// Words, and the signs `! = == != > < ( ) ,`. The empty token is the end.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn peek(&self) -> &'a str {
        let text = self.rest.trim_start();
        let length = match text.as_bytes() {
            [] => 0,
            [b'=', b'=', ..] | [b'!', b'=', ..] => 2,
            [b'=' | b'!' | b'>' | b'<' | b'(' | b')' | b',', ..] => 1,
            _ => text
                .find(|c: char| c.is_whitespace() || "=!><(),".contains(c))
                .unwrap_or(text.len()),
        };
        &text[..length]
    }

    fn next(&mut self) -> &'a str {
        let token = self.peek();
        self.rest = &self.rest.trim_start()[token.len()..];
        token
    }

    /// A value after an operator; it may be missing, which means the empty one.
    fn value(&mut self) -> String {
        if is_word(self.peek()) {
            self.next().to_owned()
        } else {
            String::new()
        }
    }

    /// A list such as `(a, b)`.
    fn values(&mut self) -> Result<Vec<String>> {
        match self.next() {
            "(" => {}
            other => {
                return Err(refuse(format_args!(
                    "unable to parse requirement: found '{other}' expected: '('"
                )));
            }
        }
        let mut values = vec![self.value()];
        loop {
            match self.next() {
                ")" => return Ok(values),
                "," => values.push(self.value()),
                other => {
                    return Err(refuse(format_args!(
                        "unable to parse requirement: found '{other}', expected: ',' or ')'"
                    )));
                }
            }
        }
    }
}

fn is_word(token: &str) -> bool {
    !token.is_empty()
        && !matches!(
            token.as_bytes()[0],
            b'=' | b'!' | b'>' | b'<' | b'(' | b')' | b','
        )
}

/// The labels of an object pass the selector text; for the tests.
#[cfg(test)]
fn selects(selector: &str, object: &Value) -> Result<bool, String> {
    let labels = parse_labels(selector).map_err(|e| e.to_string())?;
    let selector = Selector {
        labels,
        fields: vec![],
    };
    Ok(selector.matches(object))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource;
    use serde_json::json;

    #[test]
    fn labels_are_selected_as_kubernetes_does() {
        let object =
            json!({"metadata": {"labels": {"n": "3", "hookrun.dev/flow": "a", "even": "no"}}});
        for (selector, expected) in [
            ("", true),
            ("n=3", true),
            ("n==4", false),
            ("n!=4,even", true),
            ("missing!=x", true),
            ("n in (2, 3)", true),
            ("n notin (3)", false),
            ("!n", false),
            ("!m", true),
            ("n>2", true),
            ("n<3", false),
            ("n=", false),
            ("n in ()", false),
            ("hookrun.dev/flow=a", true),
        ] {
            assert_eq!(selects(selector, &object), Ok(expected), "{selector}");
        }
    }

    #[test]
    fn nonsense_is_refused_in_the_words_of_the_api_server() {
        for (selector, expected) in [
            (
                "=x",
                "found '=', expected: !, identifier, or 'end of string'",
            ),
            ("n=3,", "found '', expected: identifier after ','"),
            (
                "n in (3",
                "unable to parse requirement: found '', expected: ',' or ')'",
            ),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
            (
                "!",
                "unable to parse requirement: found '', expected: identifier",
            ),
            (
                "n in 3",
                "unable to parse requirement: found '3' expected: '('",
            ),
            (
                "n<a",
                "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value must be an integer",
            ),
        ] {
            assert_eq!(
                selects(selector, &json!({})),
                Err(expected.to_owned()),
                "{selector}"
            );
        }
    }

    #[test]
    fn fields_are_selected_where_the_kind_knows_them() {
        let event = resource::by_kind("v1", "Event").expect("a kind we keep");
        let object = json!({"metadata": {"name": "a"}, "involvedObject": {"kind": "Task"}, "source": {"component": "c"}});
        for (fields, expected) in [
            ("metadata.name=a,involvedObject.kind==Task", true),
            ("metadata.name!=a", false),
            ("source=c", true),
        ] {
            let selector = Selector::parse(event, "", fields).expect("it is legal");
            assert_eq!(selector.matches(&object), expected, "{fields}");
        }
        let refused = Selector::parse(event, "", "spec.x=1").map_err(|e| e.to_string());
        assert_eq!(
            refused.err().as_deref(),
            Some("field label not supported: spec.x")
        );
    }

    #[test]
    fn no_text_is_too_strange() {
        proptest::proptest!(|(text in "[a-z!=<>(), é./]{0,24}")| {
            let _ = selects(&text, &json!({}));
        });
    }
}
