//! Fetching a payload, as the first step of a run does.

use std::{fs, time::Duration};

use clap::Parser;
use sha2::{Digest, Sha256};
use store::{FetchError, FetchOptions, Fetched, Reference, fetch};

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
        let (digest, size, to) = (
            digest(),
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
        step.options.size = Some(1_000_000);
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
    step.options.digest = Some("md5:0".to_owned());
    step.options.url = Some("http://store".to_owned().into());
    assert!(matches!(step.fails().await, FetchError::DigestText(_)));
}

/// A workspace with these files, and the arguments of a step that hands on what it holds.
struct Workspace {
    folder: tempfile::TempDir,
    to: tempfile::TempDir,
    results: tempfile::TempDir,
}

impl Workspace {
    fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let [folder, to, results] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        Self {
            folder,
            to,
            results,
        }
    }

    /// What Hookrun says of a payload that lies elsewhere.
    fn naming(url: &str, digest: &str) -> Self {
        let size = PAYLOAD.len().to_string();
        let [_, _, _, file] = Reference::ENTRIES;
        assert_eq!(file, "file");
        Self::new([
            ("url", url),
            ("digest", digest),
            ("size", &size),
            (file, "event.json"),
        ])
    }

    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let [from, to, results] =
            [&self.folder, &self.to, &self.results].map(|folder| folder.path().to_str().unwrap());
        let arguments = ["fetch", "--from", from, "--to", to, "--results", results];
        let Command { options } = Command::try_parse_from(arguments).unwrap();
        fetch(&options).await
    }

    fn result(&self, name: &str) -> String {
        fs::read_to_string(self.results.path().join(name)).unwrap()
    }
}

fn digest() -> String {
    let digits = Sha256::digest(PAYLOAD);
    let digits = digits.iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

#[tokio::test]
async fn a_workspace_gives_the_same_file_whether_it_holds_the_payload_or_names_it() {
    let server = Server::start([Answer::ok(PAYLOAD)]).await;
    let small = Workspace::new([("event.json", PAYLOAD)]);
    let large = Workspace::naming(&server.url("/o"), &digest());
    for (workspace, attempts) in [(small, 0), (large, 1)] {
        // Nobody has made the folder.
        fs::remove_dir(workspace.to.path()).unwrap();
        // The step may be started again.
        for _ in 0..2 {
            let fetched = workspace.fetch().await.unwrap();
            let expected = Fetched {
                size: 30,
                files: 0,
                attempts,
            };
            assert_eq!(fetched, expected);
        }
        let written: Vec<_> = fs::read_dir(workspace.to.path()).unwrap().collect();
        assert_eq!(written.len(), 1);
        let file = workspace.to.path().join(workspace.result("path"));
        assert_eq!(fs::read_to_string(file).unwrap(), PAYLOAD);
        let results = ["path", "size", "digest"].map(|name| workspace.result(name));
        assert_eq!(results, ["event.json", "30", &digest()]);
    }
}

#[tokio::test]
async fn what_a_workspace_names_and_is_not_there_is_not_handed_on() {
    let server = Server::start([Answer::ok(PAYLOAD)]).await;
    let another = format!("sha256:{}", "0".repeat(64));
    for (workspace, text) in [
        (
            Workspace::naming(&server.url("/o"), &another),
            "is not the one announced",
        ),
        (
            Workspace::naming("file:///etc/passwd", &digest()),
            "not one of http or https",
        ),
        (Workspace::naming(&server.url("/o"), "md5:0"), "sha256: and"),
        (Workspace::new([]), "neither a payload"),
    ] {
        let error = workspace.fetch().await.unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        for folder in [&workspace.to, &workspace.results] {
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}

#[tokio::test]
async fn a_payload_that_holds_a_url_is_a_payload() {
    let server = Server::start([Answer::ok("stolen")]).await;
    let url = server.url("/o");
    for name in Reference::ENTRIES {
        let workspace = Workspace::new([(name, url.as_str())]);
        workspace.fetch().await.unwrap();
        let file = workspace.to.path().join(name);
        assert_eq!(fs::read_to_string(file).unwrap(), url);
    }
    assert!(server.seen().is_empty());
}

#[test]
fn a_workspace_stands_in_place_of_the_url() {
    for arguments in [
        &["--from", "/a", "--url", "http://b"][..],
        &["--from", "/a", "--files", "/b"],
        &[
            "--url",
            "http://b",
            "--digest",
            "d",
            "--size",
            "1",
            "--results",
            "/r",
        ],
        &["--url", "http://b"],
        &[],
    ] {
        let arguments = ["fetch"].iter().chain(arguments);
        assert!(
            Command::try_parse_from(arguments.clone()).is_err(),
            "{arguments:?}"
        );
    }
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
