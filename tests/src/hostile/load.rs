//! Too much at once: bodies that are too large, too many, and more requests than there is room for.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use control_plane::Cluster;
use futures_util::future::join_all;
use http::{Method, header};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::{MIB, Target, exchange, post, rest, status};
use crate::{
    case::Case,
    cases,
    faults::{Action, Faults, Rule},
    samples::{CANARY, plain},
};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = cases![
        a_body_that_is_announced_too_large_is_refused_before_it_comes,
        a_body_that_turns_out_too_large_is_refused_while_it_comes,
        requests_beyond_the_cap_are_told_when_to_come_again,
        wrong_credentials_by_the_thousand_cost_nothing,
    ];
    cases.extend(
        cases![bodies_beyond_the_byte_budget_are_refused_and_memory_is_given_back]
            .into_iter()
            .map(Case::alone),
    );
    cases
}

async fn a_body_that_is_announced_too_large_is_refused_before_it_comes(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let target = Target::start(&cluster).await?;
    let before = target.memory()?;
    for length in ["10485761", "1099511627776", "9223372036854775807"] {
        let request = format!("{}Content-Length: {length}\r\n\r\n", post());
        let answer = exchange(target.address(), request.as_bytes()).await?;
        ensure!(status(&answer) == Some(413), "{length}: {answer}");
        let request = format!(
            "{}Content-Length: {length}\r\nExpect: 100-continue\r\n\r\n",
            post()
        );
        let answer = exchange(target.address(), request.as_bytes()).await?;
        ensure!(
            status(&answer) == Some(413),
            "{length}, expecting to be asked: {answer}"
        );
    }
    target.is_flat(before, 2 * MIB)?;
    target.is_well("after").await
}

async fn a_body_that_turns_out_too_large_is_refused_while_it_comes(
    cluster: Arc<Cluster>,
) -> Result<()> {
    let target = Target::with(&cluster, |setup| setup.env("HOOKRUN_BODY_TIME", "20s")).await?;
    let mut before = 0;
    for round in 0..6 {
        let mut stream = TcpStream::connect(target.address()).await?;
        let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", post());
        stream.write_all(head.as_bytes()).await?;
        let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
        let mut written: u64 = 0;
        // A gigabyte, if nobody stops us.
        while written < 1 << 30 && stream.write_all(chunk.as_bytes()).await.is_ok() {
            written += 0x10000;
        }
        // What is read after the refusal, so that it can be read, is bounded too.
        ensure!(written < 96 * MIB, "it took {} MiB", written / MIB);
        let answer = rest(&mut stream).await?;
        // Our writing may have broken the connection before its answer was read.
        ensure!(matches!(status(&answer), None | Some(413)), "{answer}");
        if round == 1 {
            before = target.memory()?;
        }
    }
    target.is_flat(before, 12 * MIB)?;
    // Somebody who reads while writing gets to know why.
    let body = Bytes::from(vec![b'a'; 11 << 20]);
    let stream = futures_util::stream::iter(
        (0..11).map(move |part| std::io::Result::Ok(body.slice(part << 20..(part + 1) << 20))),
    );
    if let Ok(answer) = target
        .function
        .post("/flow")
        .body(reqwest::Body::wrap_stream(stream))
        .send()
        .await
    {
        ensure!(answer.status() == 413, "{}", answer.status());
    }
    target.is_well("after").await
}

async fn bodies_beyond_the_byte_budget_are_refused_and_memory_is_given_back(
    cluster: Arc<Cluster>,
) -> Result<()> {
    const ROUNDS: usize = 12;
    // A body counts four times: room for eight of these.
    let target = Target::with(&cluster, |setup| {
        setup
            .env("HOOKRUN_MEMORY_BYTES", "64MiB")
            .env("HOOKRUN_BODY_TIME", "20s")
            .env("HOOKRUN_BODY_BYTES", "4MiB")
    })
    .await?;
    let body = Bytes::from(format!("\"{}", CANARY.repeat((2 << 20) / CANARY.len())));
    let mut refused = 0;
    let mut memory = Vec::new();
    for _ in 0..ROUNDS {
        let requests = (0..40).map(|_| target.function.post("/flow").body(body.clone()).send());
        for answer in join_all(requests).await {
            // A refusal may break the connection while the body is still being written.
            let Ok(answer) = answer else { continue };
            match answer.status().as_u16() {
                503 => {
                    ensure!(
                        answer.headers().contains_key(header::RETRY_AFTER),
                        "no Retry-After"
                    );
                    refused += 1;
                }
                status => ensure!(status == 400, "{status} {}", answer.text().await?),
            }
        }
        memory.push(target.memory()? / MIB);
    }
    ensure!(refused > 0, "the budget was never used up");
    // How much the allocator keeps depends on how many bodies met in memory. All rounds together bring fifteen times the
    // budget, so whatever is not given back shows here.
    ensure!(
        memory.iter().all(|resident| *resident < 128),
        "resident MiB after each round: {memory:?}"
    );
    target.is_well("after").await
}

async fn requests_beyond_the_cap_are_told_when_to_come_again(cluster: Arc<Cluster>) -> Result<()> {
    const ROOM: usize = 8;
    let faults = Faults::start(&cluster).await?;
    let target = Target::with(&cluster, |setup| {
        setup
            .through(&faults)
            .env("HOOKRUN_REQUESTS", &ROOM.to_string())
    })
    .await?;
    faults.add(Rule::of("", Action::Delay(Duration::from_millis(300))));
    let before = target.memory()?;
    let flow = plain("many", &target.namespace).to_string();
    let mut served = vec!["warm".to_owned()];
    let requests = (0..200).map(async |number| {
        let event = format!("many-{number}");
        let request = target
            .function
            .post("/flow")
            .header("idempotency-key", &event);
        (event, request.body(flow.clone()).send().await)
    });
    let health = async {
        let answer = target
            .function
            .anonymous(Method::GET, "/healthz")
            .send()
            .await?;
        ensure!(
            answer.status() == 200,
            "busy is not unhealthy: {}",
            answer.status()
        );
        Ok(())
    };
    let (answers, health) = tokio::join!(join_all(requests), health);
    health?;
    for (event, answer) in answers {
        let answer = answer.context("a connection was cut")?;
        match answer.status().as_u16() {
            200 => served.push(event),
            503 => ensure!(
                answer.headers().contains_key(header::RETRY_AFTER),
                "no Retry-After"
            ),
            status => anyhow::bail!("{status} {}", answer.text().await?),
        }
    }
    ensure!(served.len() > ROOM, "only {} were served", served.len() - 1);
    ensure!(
        served.len() < 100,
        "{} were served, there is no cap",
        served.len() - 1
    );
    target.is_flat(before, 16 * MIB)?;
    faults.heal();
    target.is_well("after").await?;
    served.push("after".to_owned());
    let served: Vec<&str> = served.iter().map(String::as_str).collect();
    target.nothing_else_ran(&cluster, &served).await
}

async fn wrong_credentials_by_the_thousand_cost_nothing(cluster: Arc<Cluster>) -> Result<()> {
    let target = Target::start(&cluster).await?;
    let mut before = 0;
    for round in 0..5 {
        let requests = (0..400).map(|number| {
            let request = target.function.anonymous(Method::POST, "/flow").body("{}");
            match number % 4 {
                0 => request,
                1 => request.basic_auth("tester", Some(format!("{CANARY}-{number}"))),
                2 => request.header("authorization", format!("Basic {}", "%".repeat(number))),
                _ => request.bearer_auth("a".repeat(number * 10)),
            }
            .send()
        });
        for answer in join_all(requests).await {
            let answer = answer?;
            ensure!(
                matches!(answer.status().as_u16(), 401 | 503),
                "{}",
                answer.status()
            );
        }
        if round == 1 {
            before = target.memory()?;
        }
    }
    target.is_flat(before, 6 * MIB)?;
    target.is_well("after").await
}
