//! A real S3-compatible server: checks signatures and their expiry, keeps objects as files in a folder.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::Command,
    time::Duration,
};

use anyhow::{Result, ensure};
use control_plane::{Cluster, Process, eventually, free_ports};
use store::Credentials;
use tempfile::TempDir;
use tokio::net::TcpStream;

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
    /// Starts the server from the programs of a control plane; it needs nothing else of it.
    ///
    /// # Errors
    /// It does not listen in time.
    pub async fn start(cluster: &Cluster) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (objects, metadata) = (
            folder.path().join("objects"),
            folder.path().join("metadata"),
        );
        fs::create_dir_all(objects.join(BUCKET))?;
        fs::create_dir(&metadata)?;
        let [port] = free_ports()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut command = Command::new(cluster.programs().path("versitygw"));
        command.args([
            "--port",
            &address.to_string(),
            "--access",
            "test",
            "--secret",
            SECRET,
            "posix",
            "--sidecar",
        ]);
        command.arg(&metadata).arg(&objects);
        let mut process = Process::start("versitygw", command, &folder.path().join("log"))?;
        eventually(
            "the S3 server listens",
            Duration::from_secs(60),
            async || {
                ensure!(
                    process.ended()?.is_none(),
                    "the S3 server ended: {}",
                    process.tail(20)
                );
                Ok(TcpStream::connect(address).await.ok())
            },
        )
        .await?;
        Ok(Self {
            process,
            folder,
            endpoint: format!("http://{address}"),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The names of all objects of the bucket, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn objects(&self) -> Result<Vec<String>> {
        let bucket = self.bucket();
        let mut folders = vec![bucket.clone()];
        let mut names = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => names.push(path.strip_prefix(&bucket)?.display().to_string()),
                }
            }
        }
        names.sort();
        Ok(names)
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
