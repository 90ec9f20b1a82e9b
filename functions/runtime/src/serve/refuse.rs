//! A short answer for connections beyond the limit.

use std::sync::Arc;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::problem::{CONNECTIONS, Problem};

/// So many peers get the answer at the same time; the next ones are only closed.
pub(super) const AT_ONCE: usize = 64;

/// The peer may be in the middle of its request: without a moment of reading, it would see a reset, not the answer.
const TIME: Duration = Duration::from_millis(500);

static ANSWER: LazyLock<String> = LazyLock::new(|| {
    let body = Problem::new(
        CONNECTIONS,
        "as many connections are open as may be; try again",
    )
    .to_json()
    .to_string();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
});

pub(super) fn refuse(mut stream: TcpStream, refusals: &Arc<Semaphore>) {
    let Ok(permit) = Arc::clone(refusals).try_acquire_owned() else {
        return;
    };
    tokio::spawn(async move {
        let answer = async {
            stream.write_all(ANSWER.as_bytes()).await?;
            stream.shutdown().await?;
            let mut scrap = vec![0; 1024];
            while stream.read(&mut scrap).await? > 0 {}
            std::io::Result::Ok(())
        };
        // However it ends, the socket is closed.
        let _ = tokio::time::timeout(TIME, answer).await;
        drop(permit);
    });
}
