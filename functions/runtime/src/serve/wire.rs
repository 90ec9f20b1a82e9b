//! The socket as HTTP sees it: with the bytes in front that told the protocol, and a clock that hears of every move.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::clock::Clock;
use super::socket::Socket;

/// What every HTTP/2 connection with prior knowledge begins with.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// A connection whose first bytes may have been looked at.
#[derive(Debug)]
pub(super) struct Wire {
    socket: Socket,
    clock: Clock,
    /// Read, but not by HTTP yet.
    first: Bytes,
    /// The peer has said that nothing more will come.
    ended: bool,
}

impl Wire {
    pub(super) fn new(socket: Socket, clock: Clock) -> Self {
        Self {
            socket,
            clock,
            first: Bytes::new(),
            ended: false,
        }
    }

    /// Reads until the protocol is known: the first byte that differs from the preface means HTTP/1.
    /// `None` if the peer closes without a word. May be dropped at any time without losing a byte.
    pub(super) async fn protocol(&mut self) -> io::Result<Option<Protocol>> {
        loop {
            if !PREFACE.starts_with(&self.first) {
                return Ok(Some(Protocol::Http1));
            }
            if self.first.len() == PREFACE.len() {
                return Ok(Some(Protocol::Http2));
            }
            let mut bytes = [0; PREFACE.len()];
            let Some(room) = bytes.get_mut(self.first.len()..) else {
                return Ok(None);
            };
            let read = self.socket.read(room).await?;
            if read == 0 {
                self.ended = true;
                return Ok((!self.first.is_empty()).then_some(Protocol::Http1));
            }
            let more = room.get(..read).unwrap_or_default();
            self.first = [&self.first, more].concat().into();
        }
    }

    /// Whether the peer has said anything that nobody has read.
    pub(super) fn heard(&self) -> bool {
        !self.first.is_empty()
    }

    /// Takes back what was read too early.
    pub(super) fn unread(&mut self, bytes: Bytes) {
        debug_assert!(
            self.first.is_empty(),
            "what comes later was read before what comes first"
        );
        self.first = bytes;
    }

    /// Whether it can be told from outside that the peer [stirs](Self::stirs). With TLS it cannot: what was read from
    /// the network may wait to be decrypted, and what was encrypted to be sent.
    pub(super) fn naps(&self) -> bool {
        self.socket.plain().is_some()
    }

    /// Ends when the peer says more, or closes.
    pub(super) async fn stirs(&self) -> io::Result<()> {
        match self.socket.plain() {
            Some(stream) if !self.heard() => stream.readable().await,
            _ => Ok(()),
        }
    }

    /// Writes what fits into the socket now; a peer that takes nothing gets nothing.
    pub(super) fn say(&self, text: &[u8]) {
        // Best effort: the connection is closed next. In TLS that has to be enough.
        if let Some(stream) = self.socket.plain() {
            let _ = stream.try_write(text);
        }
    }

    /// Closes so that the peer can read the answer: what it still sends is taken and dropped for a while, because
    /// closing over unread bytes would reset the connection and destroy the answer on its way.
    pub(super) async fn linger(mut self) {
        const BYTES: usize = 64 << 20;
        const TIME: std::time::Duration = std::time::Duration::from_secs(2);
        let taking = async {
            // Mostly done already.
            let _ = self.socket.shutdown().await;
            // On the heap: every connection's task would be larger by it.
            let mut scrap = vec![0; 4096];
            let mut taken = 0;
            while !self.ended && taken < BYTES {
                let read = self.socket.read(&mut scrap).await?;
                taken += read;
                self.ended = read == 0;
            }
            io::Result::Ok(())
        };
        // However it ends, the socket is closed.
        let _ = tokio::time::timeout(TIME, taking).await;
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.first.is_empty() {
            let count = this.first.len().min(buffer.remaining());
            buffer.put_slice(this.first.get(..count).unwrap_or_default());
            this.first.advance(count);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if let Poll::Ready(Ok(())) = polled {
            if buffer.filled().len() > before {
                this.clock.received();
            } else {
                this.ended = true;
            }
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.clock.wrote(polled.is_ready());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        self.clock.wrote(polled.is_ready());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
