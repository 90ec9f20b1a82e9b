//! Fetching a payload, as the first step of a run does.

use std::{fs, time::Duration};

use clap::Parser;
use sha2::{Digest, Sha256};
use store::{FetchError, FetchOptions, Fetched, fetch};

use crate::{
    IMPATIENCE,
    server::{Answer, Authority, Server, nobody},
};

const PAYLOAD: &str = "a payload that no Secret holds";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    options: FetchOptions,
}

/// A step that fetches: its folder, and the arguments it gets.
struct Step {
    folder: tempfile::TempDir,
    options: FetchOptions,
}

impl Step {
    fn new(url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let digest: String = Sha256::digest(PAYLOAD)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let (digest, size, to) = (
            format!("sha256:{digest}"),
            PAYLOAD.len().to_string(),
            folder.path().join("context"),
        );
        let url = format!("{url}?X-Amz-Signature=5ec7e7");
        let arguments = [
            "fetch",
            "--url",
            &url,
            "--digest",
            &digest,
            "--size",
            &size,
            "--to",
            to.to_str().unwrap(),
        ];
        let Command { mut options } = Command::try_parse_from(arguments).unwrap();
        options.timeout = Duration::from_secs(60);
        Self { folder, options }
    }

    async fn succeeds(&self) -> Fetched {
        let fetched = fetch(&self.options).await.unwrap();
        assert_eq!(self.names(), ["context"]);
        assert_eq!(fs::read_to_string(&self.options.to).unwrap(), PAYLOAD);
        fetched
    }

    /// Whatever goes wrong leaves no file and tells no secret.
    async fn fails(&self) -> FetchError {
        let error = fetch(&self.options).await.unwrap_err();
        assert_eq!(self.names(), [""; 0]);
        let text = format!("{error} {error:?}");
        assert!(
            !text.contains("5ec7e7") && !text.contains("X-Amz"),
            "{text}"
        );
        error
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.folder.path()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

#[tokio::test]
async fn a_payload_arrives_verified() {
    let server = Server::start([Answer::ok(PAYLOAD)]).await;
    let step = Step::new(&server.url("/bucket/object"));
    assert_eq!(
        step.succeeds().await,
        Fetched {
            size: 30,
            files: 0,
            attempts: 1
        }
    );
    assert_eq!(
        server.seen()[0].uri,
        "/bucket/object?X-Amz-Signature=5ec7e7"
    );
    // The step may be started again.
    step.succeeds().await;
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    for trouble in [
        Answer::status(503),
        Answer::status(429),
        Answer::Cut(PAYLOAD.into()),
    ] {
        let server = Server::start([trouble.clone(), trouble, Answer::ok(PAYLOAD)]).await;
        assert_eq!(Step::new(&server.url("/o")).succeeds().await.attempts, 3);
    }
}

#[tokio::test]
async fn what_is_final_is_not() {
    let elsewhere = Server::start([Answer::ok(PAYLOAD)]).await;
    let another = PAYLOAD.to_uppercase();
    for (answer, text) in [
        (Answer::status(403), "has expired"),
        (Answer::status(404), "was deleted"),
        (Answer::Redirect(elsewhere.url("/o")), "redirect"),
        (Answer::ok(another), "is not the one announced"),
        (
            Answer::ok(format!("{PAYLOAD}!")),
            "more than the 30 bytes announced",
        ),
        (Answer::Stream(1 << 20), "more than the 30 bytes announced"),
    ] {
        let server = Server::start([answer]).await;
        let error = Step::new(&server.url("/o")).fails().await;
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn the_deadline_holds_whatever_happens() {
    let urls = [
        Server::start([Answer::Hang]).await.url("/o"),
        Server::start([Answer::Drip]).await.url("/o"),
        Server::start([Answer::status(500)]).await.url("/o"),
        format!("http://{}/o", nobody().await),
    ];
    for url in urls {
        let mut step = Step::new(&url);
        step.options.size = 1_000_000;
        step.options.timeout = IMPATIENCE;
        let error = step.fails().await;
        assert!(matches!(error, FetchError::Deadline { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_private_authority_is_trusted_where_configured() {
    let authority = Authority::new();
    let server = Server::start_tls([Answer::ok(PAYLOAD)], &authority).await;
    let file = authority.file();
    let mut step = Step::new(&server.url("/o"));
    step.options.ca = Some(file.to_path_buf());
    step.succeeds().await;
}

#[tokio::test]
async fn arguments_that_mean_nothing_are_named() {
    let mut step = Step::new("file:///etc/passwd");
    assert!(matches!(step.fails().await, FetchError::Url));
    step.options.digest = "md5:0".to_owned();
    step.options.url = "http://store".to_owned().into();
    assert!(matches!(step.fails().await, FetchError::DigestText(_)));
}

#[tokio::test]
async fn the_flow_s_files_come_too() {
    let server = Server::start([Answer::ok(PAYLOAD)]).await;
    let files = tempfile::tempdir().unwrap();
    fs::write(files.path().join("app.ini"), "a=1").unwrap();
    fs::write(files.path().join("context"), "gives way").unwrap();
    let mut step = Step::new(&server.url("/o"));
    step.options.files = Some(files.path().to_owned());
    assert_eq!(fetch(&step.options).await.unwrap().files, 1);
    assert_eq!(fs::read_to_string(&step.options.to).unwrap(), PAYLOAD);
    assert_eq!(
        fs::read_to_string(step.folder.path().join("app.ini")).unwrap(),
        "a=1"
    );
}
