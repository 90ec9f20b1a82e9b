//! What one process remembers of a Hook between two writes of its status.

use std::collections::VecDeque;

use hooks::hook::Rejection;
use tokio::time::Instant;

use crate::warning::Warnings;

/// Payloads that are remembered per Hook.
const PAYLOADS: usize = 64;

/// What is to be told in a Hook's status, and when it last was.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// Refused requests that the status does not count yet.
    pub(crate) refused: u64,
    /// The last of them.
    pub(crate) rejection: Option<Rejection>,
    /// When the status was written last.
    pub(crate) written: Option<Instant>,
    /// When a duplicate was counted last.
    pub(crate) counted: Option<Instant>,
    /// Digests of the last payloads, and the Deliveries that brought them.
    payloads: VecDeque<(String, String)>,
    /// What somebody should look at.
    pub(crate) warnings: Warnings,
}

impl Notes {
    /// Whether a Delivery of this name was seen lately, so that there probably is one.
    pub(crate) fn remembers(&self, delivery: &str) -> bool {
        self.payloads.iter().any(|(_, known)| known == delivery)
    }

    /// The other Delivery that brought the same bytes, if there was one lately.
    pub(crate) fn same_payload(&self, digest: &str, delivery: &str) -> Option<String> {
        let mut payloads = self.payloads.iter();
        let other = payloads.find(|(known, other)| known == digest && other != delivery);
        other.map(|(_, other)| other.clone())
    }

    /// Remembers that there is such a Delivery, and what it brought.
    pub(crate) fn remember(&mut self, digest: String, delivery: String) {
        if self.remembers(&delivery) {
            return;
        }
        if self.payloads.len() >= PAYLOADS {
            self.payloads.pop_front();
        }
        self.payloads.push_back((digest, delivery));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_under_another_name_are_noticed() {
        let mut notes = Notes::default();
        let remember = |notes: &mut Notes, digest: &str, delivery: &str| {
            notes.remember(digest.to_owned(), delivery.to_owned());
        };
        assert!(!notes.remembers("one"));
        remember(&mut notes, "d", "one");
        remember(&mut notes, "d", "one");
        assert!(notes.remembers("one"));
        assert_eq!(notes.same_payload("d", "one"), None);
        assert_eq!(notes.same_payload("e", "two"), None);
        assert_eq!(notes.same_payload("d", "two").as_deref(), Some("one"));
        // What was not stored is not remembered.
        assert!(!notes.remembers("two"));
        for number in 0..PAYLOADS {
            remember(&mut notes, "e", &number.to_string());
        }
        assert_eq!(notes.same_payload("d", "two"), None);
    }
}
