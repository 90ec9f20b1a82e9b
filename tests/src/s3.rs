//! A real S3-compatible server: checks signatures and their expiry, keeps objects as files in a folder.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use control_plane::{Process, Programs, eventually};
use store::Credentials;
use tempfile::TempDir;

/// The bucket that exists from the start.
pub const BUCKET: &str = "payloads";

/// Whoever knows it may do everything.
const SECRET: &str = "the-secret-of-the-test";

/// A running server; it ends, and its objects vanish, with the value.
#[derive(Debug)]
pub struct S3 {
    process: Process,
    folder: TempDir,
    endpoint: String,
}

impl S3 {
    /// Builds the server if need be and starts it.
    ///
    /// # Errors
    /// It cannot be built, or does not listen in time.
    pub async fn start() -> Result<Self> {
        let programs = tokio::task::spawn_blocking(|| Programs::build(&["versitygw"])).await??;
        // It cannot choose a port itself, and between our choice and its start another program may take it.
        for _ in 0..5 {
            if let Some(server) = Self::attempt(&programs).await? {
                return Ok(server);
            }
        }
        bail!("the S3 server found its port taken five times")
    }

    async fn attempt(programs: &Programs) -> Result<Option<Self>> {
        let folder = tempfile::tempdir()?;
        let (objects, metadata) = (folder.path().join("objects"), folder.path().join("metadata"));
        std::fs::create_dir_all(objects.join(BUCKET))?;
        std::fs::create_dir(&metadata)?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new(programs.path("versitygw"));
        command.args(["--port", &address.to_string(), "--access", "test", "--secret", SECRET, "posix", "--sidecar"]);
        command.arg(&metadata).arg(&objects);
        let mut process = Process::start("versitygw", command, &folder.path().join("log"))?;
        let listens = eventually("the S3 server listens", Duration::from_secs(30), async || {
            if process.ended()?.is_some() {
                return Ok(Some(false));
            }
            Ok(std::net::TcpStream::connect(address).is_ok().then_some(true))
        })
        .await
        .with_context(|| process.tail(20))?;
        if !listens {
            let log = process.tail(20);
            return if log.contains("in use") { Ok(None) } else { bail!("the S3 server ended: {log}") };
        }
        Ok(Some(Self { process, folder, endpoint: format!("http://{address}") }))
    }

    /// The folder of the bucket.
    #[must_use]
    pub fn bucket(&self) -> PathBuf {
        self.folder.path().join("objects").join(BUCKET)
    }

    /// The variables by which an AWS client finds it and proves who it is.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        [
            ("AWS_ENDPOINT", self.endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    /// The same as our stores take it.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.environment().into_iter().collect()
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.output()
    }
}
