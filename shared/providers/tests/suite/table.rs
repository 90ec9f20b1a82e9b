//! What has to be true of every entry of the table.

use std::collections::BTreeSet;

use http::HeaderName;
use providers::provider::{Field, Proof, Time};
use providers::{PROVIDERS, page, provider};

#[test]
fn names_are_unique_and_can_be_file_names() {
    let names: BTreeSet<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
    assert_eq!(names.len(), PROVIDERS.len());
    for name in names {
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-'),
            "{name}"
        );
        assert_eq!(provider(name).unwrap().name, name);
    }
    assert!(provider("github ").is_none());
}

#[test]
fn the_providers_of_the_design_are_there() {
    let wanted = [
        "acr",
        "azure-devops",
        "basic",
        "bearer",
        "bitbucket-cloud",
        "bitbucket-dc",
        "cdevents",
        "cloudevents",
        "cloudsmith",
        "dependency-track",
        "docker-hub",
        "flux-alert",
        "forgejo",
        "gar-pubsub",
        "generic-hmac",
        "gitea",
        "github",
        "gitlab",
        "gogs",
        "harbor",
        "knative-broker",
        "nexus",
        "pagerduty",
        "quay",
        "slack",
        "sonarqube",
        "standard-webhooks",
        "stripe",
    ];
    let names: BTreeSet<&str> = PROVIDERS.iter().map(|provider| provider.name).collect();
    assert_eq!(names, wanted.into_iter().collect());
}

#[test]
fn kept_headers_are_in_order_and_hold_no_proof() {
    for provider in PROVIDERS {
        let kept = provider.headers;
        assert!(
            kept.is_sorted() && kept.contains(&"content-type"),
            "{}",
            provider.name
        );
        for name in kept {
            let parsed: HeaderName = name.parse().unwrap();
            assert_eq!(parsed.as_str(), *name);
            assert!(
                !name.contains("signature") && !name.contains("auth") && !name.contains("token"),
                "{name}"
            );
        }
        for proof in provider.proofs {
            let header = match proof {
                Proof::Signature(signature) => signature.header,
                Proof::Value(value) => value.header,
                _ => continue,
            };
            assert!(
                !kept.contains(&header.to_ascii_lowercase().as_str()),
                "{header}"
            );
        }
    }
}

#[test]
fn fields_are_written_as_they_are_looked_for() {
    for provider in PROVIDERS {
        let fields = provider.identity.iter().copied().flatten();
        let asked = provider.handshakes.iter().map(|handshake| &handshake.field);
        for field in fields
            .chain(provider.event_type)
            .chain(provider.delivery_id)
            .chain(asked)
        {
            match field {
                Field::Header(name) => {
                    assert_eq!(name.parse::<HeaderName>().unwrap().as_str(), *name)
                }
                Field::Body(pointer) => assert!(pointer.starts_with('/'), "{pointer}"),
                Field::Attribute(name) | Field::Fixed(name) => assert!(!name.is_empty()),
            }
        }
        assert!(
            provider.identity.iter().all(|fields| !fields.is_empty()),
            "{}",
            provider.name
        );
    }
}

#[test]
fn signatures_can_be_told_apart() {
    for provider in PROVIDERS {
        assert!(!provider.proofs.is_empty(), "{}", provider.name);
        for proof in provider.proofs {
            let Proof::Signature(signature) = proof else {
                continue;
            };
            assert!(
                signature.header.parse::<HeaderName>().is_ok(),
                "{}",
                provider.name
            );
            assert!(
                !signature.items.is_empty() && !signature.signed.is_empty(),
                "{}",
                provider.name
            );
            for (index, item) in signature.items.iter().enumerate() {
                let hidden = signature.items[..index]
                    .iter()
                    .any(|earlier| item.prefix.starts_with(earlier.prefix));
                assert!(!hidden, "{}: {}", provider.name, item.prefix);
            }
            if let Some(Time::Header(name)) = signature.time {
                assert!(name.parse::<HeaderName>().is_ok(), "{}", provider.name);
            }
        }
    }
}

#[test]
fn answers_are_given_in_the_clock_of_the_sender() {
    let seconds = |name: &str| provider(name).unwrap().answer_within.as_secs();
    assert_eq!(
        ["slack", "gitea", "forgejo", "github", "quay", "gogs"].map(seconds),
        [3, 5, 5, 10, 10, 15]
    );
    for provider in PROVIDERS {
        assert!(
            (1 << 20..=25 << 20).contains(&provider.body_bytes),
            "{}",
            provider.name
        );
    }
}

#[test]
fn pages_are_complete_and_readable() {
    for provider in PROVIDERS {
        let page = page(provider);
        assert!(page.starts_with(&format!("# {}\n", provider.title)) && page.ends_with('\n'));
        assert!(page.contains(&format!("`spec.provider: {}`", provider.name)));
        for section in ["## Register", "## Verify", "## Event", "## Answers"] {
            assert!(
                page.contains(&format!("\n{section}\n\n")),
                "{}: {section}",
                provider.name
            );
        }
        assert!(!provider.notes.register.is_empty(), "{}", provider.name);
        assert!(
            page.lines()
                .all(|line| line.trim_end() == line && line.chars().count() <= 120)
        );
        for line in unwrapped(&page).lines() {
            let end = line.ends_with(['.', ':']) || line.is_empty() || line.starts_with('#');
            assert!(end && !line.contains("  "), "{}: {line}", provider.name);
            assert_eq!(
                line.matches('`').count() % 2,
                0,
                "{}: {line}",
                provider.name
            );
        }
    }
}

/// The items of lists, each in one line.
fn unwrapped(page: &str) -> String {
    page.replace("\n   ", " ").replace("\n  ", " ")
}

#[test]
fn a_page_says_what_the_table_says() {
    let github = unwrapped(&page(provider("github").unwrap()));
    let told = [
        "- Header `X-Hub-Signature-256`: `sha256=` and HMAC-SHA256 in hexadecimal. Signed is the body as it \
         arrives.",
        "- Delivery id: header `x-github-delivery`.",
        ": header `x-github-hook-id` with header `x-github-delivery`; without that, header `x-github-delivery`; \
         without that, the digest of the body.",
        "- A body may have up to 25 MiB.",
        "- Connection test: a verified request whose header `x-github-event` is `ping` is answered with 200; nothing \
         is stored.",
        "- Time: 10 s; GitHub Enterprise Server says 30 s.",
        "- [`examples/hooks/github`](../../examples/hooks/github/hook.yaml): a push to main builds the service",
    ];
    for line in told {
        assert!(github.contains(line), "{line}\n{github}");
    }
    let gar = page(provider("gar-pubsub").unwrap());
    assert!(
        gar.contains("`email_verified` is true") && !gar.contains("secretRefs"),
        "{gar}"
    );
}
