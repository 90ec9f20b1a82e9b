//! The way in: clients that reach the gateway whatever the name says, and a proxy for programs that cannot be told.

use std::net::SocketAddr;

use anyhow::Result;
use reqwest::{Certificate, Client, RequestBuilder};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    install::{Site, USER},
    world::World,
};

/// How an installation is reached from outside.
#[derive(Clone)]
pub(crate) struct Gateway {
    client: Client,
    url: String,
    password: String,
}

impl World {
    /// The way to an installation, with TLS where its name has it.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(crate) fn reach(&self, site: &Site) -> Result<Gateway> {
        self.to(&site.host, site.certificate.as_deref(), &site.password)
    }

    /// The way to any name, with TLS if there is a certificate to trust.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(crate) fn to(
        &self,
        host: &str,
        certificate: Option<&str>,
        password: &str,
    ) -> Result<Gateway> {
        let builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // Whatever the name is: all of them lead to the gateway.
            .resolve(host, SocketAddr::new(self.settings.gateway, 0));
        let (scheme, builder) = match certificate {
            Some(pem) => (
                "https",
                builder.tls_certs_only([Certificate::from_pem(pem.as_bytes())?]),
            ),
            None => ("http", builder),
        };
        Ok(Gateway {
            client: builder.build()?,
            url: format!("{scheme}://{host}"),
            password: password.to_owned(),
        })
    }
}

impl Gateway {
    /// A `POST` with credentials.
    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.anonymous(path).basic_auth(USER, Some(&self.password))
    }

    /// A `GET` with credentials.
    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client
            .get(format!("{}{path}", self.url))
            .basic_auth(USER, Some(&self.password))
    }

    /// A `POST` without credentials.
    pub(crate) fn anonymous(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url))
    }
}

/// A proxy that leads every name to the gateway, for a program that asks the system for addresses. It ends when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// No port can be bound.
    pub(crate) async fn start(world: &World) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let gateway = SocketAddr::new(world.settings.gateway, 443);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                connections.spawn(async move {
                    // Whoever breaks off learns it from the other side.
                    tunnel(socket, gateway).await.ok();
                });
            }
        });
        Ok(Self {
            address,
            _tasks: tasks,
        })
    }

    /// Its URL, for `ALL_PROXY`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Answers one `CONNECT`.
async fn tunnel(mut socket: TcpStream, gateway: SocketAddr) -> Result<()> {
    let mut head = BufReader::new(&mut socket);
    let mut line = String::new();
    while head.read_line(&mut line).await? > 2 {
        line.clear();
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let mut server = TcpStream::connect(gateway).await?;
    copy_bidirectional(&mut socket, &mut server).await?;
    Ok(())
}
