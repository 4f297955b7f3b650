//! What a delivery costs, publish and all: a signed request in, the event out to everybody on loopback.
//!
//! `cargo bench --bench fanout`. The time per element is that of one delivery; the hub runs on one thread, its clients on
//! another. With a window of 16 as many events are under way at any time, and share writes.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::protocol::App;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod crowd;
use crowd::{Ear, Stage};

fn deliveries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fanout");
    group.sample_size(10);
    let app = App::new("1001", "app-key", "app-secret").expect("an app");
    for receivers in [100_usize, 1000] {
        let stage = Stage::new(app.clone());
        let ear = Arc::<Ear>::default();
        let mut guests = stage.connect(receivers, &ear);
        let subscribed = ear.clone();
        // They stay until the measuring is over.
        let _guests = stage.run(async move {
            for guest in &mut guests {
                guest
                    .say(r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#)
                    .await;
            }
            subscribed.await_frames(receivers as u64).await;
            guests
        });
        group.throughput(Throughput::Elements(receivers as u64));
        for window in [1_usize, 16] {
            let mut backends: Vec<TcpStream> = (0..window).map(|_| stage.backend()).collect();
            group.bench_function(
                format!("{receivers} receivers, window {window}"),
                |bencher| {
                    bencher.iter_custom(|events| {
                        let (took, open) = measure(
                            &stage,
                            &app,
                            &ear,
                            std::mem::take(&mut backends),
                            events,
                            receivers as u64,
                        );
                        backends = open;
                        took
                    });
                },
            );
        }
    }
}

/// Publishes so many events, with as many under way as there are backends: the next goes out when everybody has heard
/// the one that many before it. (Their answers would not do: with a long queue they come before the deliveries.)
#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn measure(
    stage: &Stage,
    app: &App,
    ear: &Arc<Ear>,
    mut backends: Vec<TcpStream>,
    events: u64,
    receivers: u64,
) -> (Duration, Vec<TcpStream>) {
    let (request, ear) = (request(app), ear.clone());
    stage.run(async move {
        let started = Instant::now();
        let (before, window) = (ear.frames(), backends.len() as u64);
        for event in 0..events {
            let backend = &mut backends[(event % window) as usize];
            if let Some(earlier) = event.checked_sub(window) {
                ear.await_frames(before + (earlier + 1) * receivers).await;
                read_answer(backend).await;
            }
            backend
                .write_all(request.as_bytes())
                .await
                .expect("the hub reads");
        }
        for event in events.saturating_sub(window)..events {
            read_answer(&mut backends[(event % window) as usize]).await;
        }
        ear.await_frames(before + events * receivers).await;
        (started.elapsed(), backends)
    })
}

async fn read_answer(backend: &mut TcpStream) {
    let mut answer = [0; 256];
    let n = backend.read(&mut answer).await.expect("the hub answers");
    assert!(answer[..n].starts_with(b"HTTP/1.1 200 ") && answer[..n].ends_with(b"{}"));
}

#[expect(clippy::disallowed_methods, reason = "a signature is of today")]
fn request(app: &App) -> String {
    let data = "x".repeat(100);
    let body = format!(r#"{{"name":"tick","channels":["news"],"data":"{data}"}}"#);
    let md5 = HEXLOWER.encode(&Md5::digest(&body));
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let query = format!("auth_key=app-key&auth_timestamp={now}&auth_version=1.0&body_md5={md5}");
    let signature = app
        .secret
        .sign(&[format!("POST\n/apps/1001/events\n{query}").as_bytes()]);
    let signature = HEXLOWER.encode(&signature);
    let length = body.len();
    format!(
        "POST /apps/1001/events?{query}&auth_signature={signature} HTTP/1.1\r\nHost: bench\r\nContent-Length: {length}\r\n\r\n{body}"
    )
}

criterion_group!(benches, deliveries);
criterion_main!(benches);
