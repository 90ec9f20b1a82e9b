//! Any request to the Kubernetes API of `hookrun dev`, and the folder that it leaves: a line with method and path, header
//! lines, an empty line, the body. Requests share a folder for a while, so that they meet objects of earlier ones.

#![no_main]

use std::{cell::RefCell, time::Duration};

use bytes::Bytes;
use embedded::Api;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// Requests that share a folder: enough to meet each other, few enough that an input can be told from its predecessors.
const SHARED: usize = 256;

struct Server {
    // Dropped first: what it still has to do holds the API, and with it the folder.
    threads: Runtime,
    api: Api,
    folder: TempDir,
    answered: usize,
}

impl Server {
    fn start() -> Self {
        let threads = Builder::new_current_thread().enable_time().build();
        let threads = threads.expect("a runtime");
        // The fuzzer ends without dropping anything, so the last folder stays: among the build's files.
        let build = concat!(env!("CARGO_MANIFEST_DIR"), "/target");
        let folder = tempfile::tempdir_in(build).expect("a folder");
        let api = threads.block_on(async { Api::open(folder.path()).expect("it is empty") });
        Self {
            threads,
            api,
            folder,
            answered: 0,
        }
    }

    /// What was written can be read again.
    fn end(self) {
        let Self {
            threads,
            api,
            folder,
            ..
        } = self;
        drop((threads, api));
        let threads = Builder::new_current_thread().enable_time().build();
        let again = threads
            .expect("a runtime")
            .block_on(async { Api::open(folder.path()) });
        let unreadable = again.expect("nobody else has it").unreadable();
        assert!(unreadable.is_empty(), "{unreadable:?}");
    }
}

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

fuzz_target!(|bytes: &[u8]| {
    let Some(request) = request(bytes) else {
        return;
    };
    SERVER.with_borrow_mut(|slot| {
        let server = slot.get_or_insert_with(Server::start);
        let shown = format!("{} {}", request.method(), request.uri());
        server.threads.block_on(async {
            let answer = server.api.clone().oneshot(request).await;
            let (head, body) = answer.expect("whatever is wrong is an answer").into_parts();
            assert_ne!(head.status, StatusCode::INTERNAL_SERVER_ERROR, "{shown}");
            // A watch has no end; what it has to say at once is enough.
            let _ = tokio::time::timeout(Duration::ZERO, body.collect()).await;
            tokio::task::yield_now().await;
        });
        server.answered += 1;
        if server.answered == SHARED {
            slot.take().expect("it answered").end();
        }
    });
});

fn request(bytes: &[u8]) -> Option<Request<Full<Bytes>>> {
    let middle = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = middle.map_or((bytes, &b""[..]), |middle| {
        (&bytes[..middle], &bytes[middle + 2..])
    });
    let mut lines = head.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let space = first.iter().position(|byte| *byte == b' ')?;
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body)));
    *request.method_mut() = Method::from_bytes(&first[..space]).ok()?;
    *request.uri_mut() = Uri::try_from(&first[space + 1..]).ok()?;
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request)
}
