//! The least that answers HTTP with the libraries that Hookrun uses: the peer of the measurement "exec to first answer".
//!
//! It has no limits, no clock, no routes and no configuration but the port in its first argument. Nobody should run it
//! for anything else.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args()
        .nth(1)
        .ok_or("the port is missing")?
        .parse()?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    // The first process of a container does not end by itself when it is told to.
    let mut end = signal(SignalKind::terminate())?;
    loop {
        let (stream, _) = tokio::select! {
            accepted = listener.accept() => accepted?,
            _ = end.recv() => return Ok(()),
        };
        tokio::spawn(
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)),
        );
    }
}

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("OK\n")))
}
