//! What the function writes for one event, as requests that a bare client repeats.
//!
//! They are what the function sent itself ([`crate::record`]), with marks where each event differs: names, and what the
//! API server told of objects that were created before. So both sides send the same bytes but for those, and the bare
//! one has no work besides.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use http::{HeaderMap, Method};
use serde_json::Value;

use crate::{record::Exchange, wire::Connection};

/// The objects of an event whose names are its own; those of others begin with one of them.
const NAMED: [&str; 2] = ["deliveries", "pipelineruns"];

/// What the API server tells of an object, and later requests repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Uid,
    ResourceVersion,
}

impl Told {
    const ALL: [Self; 2] = [Self::Uid, Self::ResourceVersion];

    /// As it is repeated. A resource version is a number like others, and so is only known with its field.
    fn text(self, answer: &Value) -> Option<String> {
        let metadata = &answer["metadata"];
        Some(match self {
            Self::Uid => metadata["uid"].as_str()?.to_owned(),
            Self::ResourceVersion => {
                format!("\"resourceVersion\":{}", metadata["resourceVersion"])
            }
        })
    }
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    /// The name that is the so-manieth of the event.
    Name(usize),
    /// The so-manieth thing that was told.
    Told(usize),
}

/// A text with marks: before each of them, what stands there as it is; the rest behind the last.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    parts: Vec<(String, Mark)>,
    rest: String,
}

impl Text {
    /// Puts marks where their texts are. The longer one counts where two begin at the same place.
    fn of(mut text: &str, marks: &[(String, Mark)]) -> Self {
        let mut parts = Vec::new();
        loop {
            let places = marks.iter().filter_map(|(part, mark)| {
                let (before, after) = text.split_once(part.as_str())?;
                Some((before, after, *mark))
            });
            let first = places.min_by_key(|(before, after, _)| (before.len(), after.len()));
            let Some((before, after, mark)) = first else {
                let rest = text.to_owned();
                return Self { parts, rest };
            };
            parts.push((before.to_owned(), mark));
            text = after;
        }
    }

    /// The text of an event.
    fn with(&self, names: &[String], told: &[String]) -> String {
        let mut text = String::new();
        for (before, mark) in &self.parts {
            text.push_str(before);
            let values = match mark {
                Mark::Name(_) => names,
                Mark::Told(_) => told,
            };
            let (Mark::Name(at) | Mark::Told(at)) = mark;
            text.push_str(values.get(*at).map_or("", String::as_str));
        }
        text + &self.rest
    }
}

struct Call {
    method: Method,
    path: Text,
    headers: HeaderMap,
    body: Text,
    /// What later calls need of the answer.
    tells: Vec<Told>,
}

/// The requests of one event; cheap to clone.
#[derive(Clone)]
pub(crate) struct Recipe {
    calls: Arc<[Call]>,
    /// The names of the event that was recorded.
    names: Arc<[String]>,
}

impl Recipe {
    /// All writes of an event.
    pub(crate) fn writes(recorded: &[Exchange]) -> Result<Self> {
        Self::new(recorded.iter().filter(|one| one.is_write()).collect())
    }

    /// All its requests: the bare client then knows no more than the function does.
    pub(crate) fn requests(recorded: &[Exchange]) -> Result<Self> {
        Self::new(recorded.iter().collect())
    }

    fn new(recorded: Vec<&Exchange>) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        for Exchange { path, body, .. } in recorded.iter().filter(|one| one.creates(&NAMED)) {
            let object: Value = serde_json::from_str(body)?;
            let name = object["metadata"]["name"].as_str();
            let name = name.with_context(|| format!("{path} creates an object without a name"))?;
            if names.iter().all(|known| known != name) {
                names.push(name.to_owned());
            }
        }
        ensure!(!names.is_empty(), "the event has made no run");
        let named = names.iter().cloned().zip((0..).map(Mark::Name));
        let mut marks: Vec<(String, Mark)> = named.collect();
        let (mut calls, mut count) = (Vec::new(), 0);
        for (at, exchange) in recorded.iter().enumerate() {
            let mut call = Call {
                method: exchange.method.clone(),
                path: Text::of(&exchange.path, &marks),
                headers: exchange.headers.clone(),
                body: Text::of(&exchange.body, &marks),
                tells: Vec::new(),
            };
            for told in Told::ALL {
                let Some(text) = told.text(&exchange.answer) else {
                    continue;
                };
                let mut later = recorded.iter().skip(at + 1);
                let known = marks.iter().any(|(known, _)| *known == text);
                if !known && later.any(|later| later.body.contains(&text)) {
                    marks.push((text, Mark::Told(count)));
                    call.tells.push(told);
                    count += 1;
                }
            }
            calls.push(call);
        }
        Ok(Self {
            calls: calls.into(),
            names: names.into(),
        })
    }

    /// How many requests it is.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Method and path of each request, with the same names for any event; sorted, as some are sent at the same time.
    pub(crate) fn shape(&self) -> Vec<String> {
        let names = self.names(0);
        let calls = self.calls.iter();
        let mut shape: Vec<String> = calls
            .map(|call| format!("{} {}", call.method, call.path.with(&names, &[])))
            .collect();
        shape.sort_unstable();
        shape
    }

    /// Sends all of them for event number `number`, one after the other.
    pub(crate) async fn send(&self, connection: &mut Connection, number: usize) -> Result<()> {
        let names = self.names(number);
        let mut known = Vec::new();
        for Call {
            method,
            path,
            headers,
            body,
            tells,
        } in self.calls.iter()
        {
            let (path, body) = (path.with(&names, &known), body.with(&names, &known));
            let asked = connection.ask_with(method.clone(), &path, headers.clone(), body);
            let (status, answer) = asked.await?;
            ensure!(
                status.is_success(),
                "{path} answered {status}: {}",
                String::from_utf8_lossy(&answer)
            );
            if tells.is_empty() {
                continue;
            }
            let answer = serde_json::from_slice(&answer)?;
            for told in tells {
                let text = told.text(&answer);
                known.push(text.with_context(|| format!("{path} does not tell {told:?}"))?);
            }
        }
        Ok(())
    }

    /// The names of event number `number`: as long as those of the function, which end in digits of a digest.
    fn names(&self, number: usize) -> Vec<String> {
        let numbered = |name: &String| {
            let (base, digits) = name.rsplit_once('-').unwrap_or((name, ""));
            format!("{base}-{number:0width$}", width = digits.len())
        };
        self.names.iter().map(numbered).collect()
    }
}

impl Exchange {
    /// Whether it creates an object of one of these kinds.
    fn creates(&self, plurals: &[&str]) -> bool {
        let path = self.path.split('?').next().unwrap_or_default();
        let plural = path.rsplit('/').next().unwrap_or_default();
        self.method == Method::POST && plurals.contains(&plural)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::tests::exchange;

    /// A webhook whose run has a name of its own, and which begins with that of the Delivery.
    fn recorded() -> Vec<Exchange> {
        let (deliveries, runs) = ("/x/deliveries", "/x/pipelineruns?fieldManager=m");
        let delivery = json!({"metadata": {"name": "shop-0a", "size": "7"}, "run": "shop-0a-cafe"});
        let outcome =
            json!({"metadata": {"resourceVersion": "7"}, "size": "7", "run": "shop-0a-cafe"});
        vec![
            exchange(Method::GET, "/x/hooks/shop", &json!(null), 3),
            exchange(Method::POST, deliveries, &delivery, 7),
            exchange(
                Method::POST,
                "/x/secrets",
                &json!({"owner": "uid-7", "name": "shop-0a-1f"}),
                8,
            ),
            exchange(
                Method::POST,
                runs,
                &json!({"metadata": {"name": "shop-0a-cafe"}}),
                9,
            ),
            exchange(Method::POST, "/x/secrets", &json!({"owner": "uid-9"}), 10),
            exchange(Method::PATCH, "/x/deliveries/shop-0a", &outcome, 11),
        ]
    }

    /// What is sent when the API server tells these things.
    fn sent(recipe: &Recipe, told: &[&str]) -> Vec<String> {
        let (names, told) = (recipe.names(5), told.iter().map(|told| (*told).to_owned()));
        let told: Vec<String> = told.collect();
        let calls = recipe.calls.iter();
        calls
            .map(|call| {
                format!(
                    "{} {}",
                    call.path.with(&names, &told),
                    call.body.with(&names, &told)
                )
            })
            .collect()
    }

    #[test]
    fn names_and_what_was_told_are_replaced_and_nothing_else() {
        let recipe = Recipe::writes(&recorded()).unwrap();
        let tells: Vec<&[Told]> = recipe
            .calls
            .iter()
            .map(|call| call.tells.as_slice())
            .collect();
        let [uid, both]: [&[Told]; 2] = [&[Told::Uid], &Told::ALL];
        assert_eq!(tells, [both, &[], uid, &[], &[]]);
        let told = ["one", "\"resourceVersion\":\"12\"", "two"];
        assert_eq!(
            sent(&recipe, &told),
            [
                r#"/x/deliveries {"metadata":{"name":"shop-05","size":"7"},"run":"shop-0a-0005"}"#,
                r#"/x/secrets {"name":"shop-05-1f","owner":"one"}"#,
                r#"/x/pipelineruns?fieldManager=m {"metadata":{"name":"shop-0a-0005"}}"#,
                r#"/x/secrets {"owner":"two"}"#,
                r#"/x/deliveries/shop-05 {"metadata":{"resourceVersion":"12"},"run":"shop-0a-0005","size":"7"}"#,
            ]
        );
    }

    #[test]
    fn reads_are_repeated_only_where_they_are_asked_for() {
        let recorded = recorded();
        let [writes, requests] = [Recipe::writes(&recorded), Recipe::requests(&recorded)];
        assert_eq!((writes.unwrap().len(), requests.unwrap().len()), (5, 6));
    }

    #[test]
    fn an_event_that_makes_no_run_is_no_recipe() {
        let read = [exchange(Method::GET, "/x/hooks/shop", &json!(null), 1)];
        assert!(Recipe::requests(&read).is_err());
    }
}
