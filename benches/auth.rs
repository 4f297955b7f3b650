//! What it costs to check a signature: a subscription's, and those of requests to the HTTP API.
//!
//! `cargo bench --bench auth`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use data_encoding::HEXLOWER;
use md5::{Digest, Md5};
use reverb_core::protocol::{App, SocketId, auth};

const NOW: u64 = 1_700_000_000;

/// A request that an app's backend signed: `decoded` is what was signed of its query, `sent` how it went out.
struct Signed {
    method: &'static str,
    path: String,
    query: String,
    body: String,
}

impl Signed {
    fn new(
        app: &App,
        method: &'static str,
        path: &str,
        more: &[(&str, &str, &str)],
        body: String,
    ) -> Self {
        let md5 = HEXLOWER.encode(&Md5::digest(&body));
        let now = NOW.to_string();
        let mut pairs = vec![
            ("auth_key", "app-key", "app-key"),
            ("auth_timestamp", &now, &now),
            ("auth_version", "1.0", "1.0"),
        ];
        if !body.is_empty() {
            pairs.push(("body_md5", &md5, &md5));
        }
        pairs.extend(more);
        pairs.sort_unstable();
        let join = |pairs: Vec<String>| pairs.join("&");
        let decoded = join(
            pairs
                .iter()
                .map(|(key, value, _)| format!("{key}={value}"))
                .collect(),
        );
        let sent = join(
            pairs
                .iter()
                .map(|(key, _, value)| format!("{key}={value}"))
                .collect(),
        );
        let signature = app
            .secret
            .sign(&[format!("{method}\n{path}\n{decoded}").as_bytes()]);
        let query = format!("{sent}&auth_signature={}", HEXLOWER.encode(&signature));
        Self {
            method,
            path: path.to_owned(),
            query,
            body,
        }
    }

    fn check(&self, app: &App) -> bool {
        let request = auth::Request {
            method: self.method,
            path: black_box(&self.path),
            query: black_box(&self.query),
            body: black_box(self.body.as_bytes()),
        };
        request.check(app, NOW).is_ok()
    }
}

fn signatures(criterion: &mut Criterion) {
    let app = App::new("1001", "app-key", "app-secret").expect("an app");
    let mut group = criterion.benchmark_group("auth");

    let socket_id = SocketId::new(1234, 5678);
    let signature = auth::channel_signature(&app.secret, socket_id, "private-orders", None);
    let signed = format!("app-key:{}", HEXLOWER.encode(&signature));
    group.bench_function("subscription", |bencher| {
        bencher.iter(|| {
            auth::check_channel(
                &app,
                black_box(&signed),
                socket_id,
                black_box("private-orders"),
                None,
                0,
            )
        });
    });
    assert_eq!(
        auth::check_channel(&app, &signed, socket_id, "private-orders", None, 0),
        Ok(())
    );

    for (name, bytes) in [("POST of 200 B", 200), ("POST of 10 KB", 10 * 1024)] {
        let body = format!(
            r#"{{"name":"e","channels":["c"],"data":"{}"}}"#,
            "x".repeat(bytes - 41)
        );
        let post = Signed::new(&app, "POST", "/apps/1001/events", &[], body);
        group.throughput(Throughput::Bytes(post.body.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| post.check(&app)));
        assert!(post.check(&app));
    }

    let more = [
        ("filter_by_prefix", "presence-", "presence-"),
        (
            "info",
            "user_count,subscription_count",
            "user_count%2Csubscription_count",
        ),
    ];
    let get = Signed::new(&app, "GET", "/apps/1001/channels", &more, String::new());
    group.throughput(Throughput::Elements(1));
    group.bench_function("GET with escapes", |bencher| {
        bencher.iter(|| get.check(&app))
    });
    assert!(get.check(&app));
}

criterion_group!(benches, signatures);
criterion_main!(benches);
