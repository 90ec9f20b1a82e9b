//! HTTP/2, frame by frame: floods that are legal one by one.

use std::sync::Arc;

use anyhow::{Result, ensure};
use control_plane::Cluster;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{MIB, PATIENCE, Target};
use crate::{case::Case, cases};

pub(super) fn cases() -> Vec<Case> {
    cases![
        streams_that_are_reset_at_once_end_their_connection_and_nothing_else,
        continuations_without_end_are_cut_off,
        floods_of_control_frames_leave_memory_flat,
    ]
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    bytes
}

/// `POST http://test/flow`, in HPACK without a table.
fn head() -> Vec<u8> {
    let mut head = vec![0x83, 0x86];
    for (index, value) in [(0x04, "/flow"), (0x01, "test")] {
        head.push(index);
        head.push(u8::try_from(value.len()).unwrap_or_default());
        head.extend(value.as_bytes());
    }
    head
}

/// Writes until the peer has enough, reading what it says meanwhile; tells whether the peer ended the connection.
async fn flood(target: &Target, chunk: impl Fn(u32) -> Vec<u8>, chunks: u32) -> Result<bool> {
    let stream = TcpStream::connect(target.address()).await?;
    let (mut reader, mut writer) = stream.into_split();
    let reading = tokio::spawn(async move {
        let mut buffer = vec![0; 16 << 10];
        while reader.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    });
    let writing = async {
        writer.write_all(&preface()).await?;
        for number in 0..chunks {
            writer.write_all(&chunk(number)).await?;
        }
        std::io::Result::Ok(())
    };
    // A peer that reads no more is as good as one that is gone.
    let written = timeout(PATIENCE / 4, writing).await;
    let ended = !matches!(written, Ok(Ok(()))) || timeout(PATIENCE / 8, reading).await.is_ok();
    Ok(ended)
}

async fn attack(
    cluster: &Cluster,
    chunk: impl Fn(u32) -> Vec<u8>,
    chunks: u32,
    must_end: bool,
) -> Result<()> {
    let target = Target::start(cluster).await?;
    let mut before = 0;
    for round in 0..6 {
        let ended = flood(&target, &chunk, chunks).await?;
        ensure!(
            ended || !must_end,
            "it took {chunks} of them in round {round}"
        );
        target.is_well(&format!("after-{round}")).await?;
        if round == 1 {
            before = target.memory()?;
        }
    }
    target.is_flat(before, 6 * MIB)
}

async fn streams_that_are_reset_at_once_end_their_connection_and_nothing_else(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let reset = |number| {
        let stream = 2 * number + 1;
        let mut bytes = frame(HEADERS, END_HEADERS, stream, &head());
        bytes.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        bytes
    };
    attack(&cluster, reset, 50_000, true).await
}

async fn continuations_without_end_are_cut_off(cluster: Arc<Cluster>) -> Result<()> {
    let endless = |number| match number {
        0 => frame(HEADERS, END_STREAM, 1, &head()),
        _ => frame(CONTINUATION, 0, 1, &vec![b'a'; 16 << 10]),
    };
    attack(&cluster, endless, 4000, true).await
}

async fn floods_of_control_frames_leave_memory_flat(cluster: Arc<Cluster>) -> Result<()> {
    let chatter = |_| [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])].concat();
    attack(&cluster, chatter, 50_000, false).await
}
