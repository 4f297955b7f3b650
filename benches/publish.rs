//! What a published event costs before anybody hears it: read the body, check it, write the frame.
//!
//! `cargo bench --bench publish`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use reverb_core::protocol::{App, Event, Outgoing};

fn events(criterion: &mut Criterion) {
    let app = App::new("1001", "app-key", "app-secret").expect("an app");
    let mut group = criterion.benchmark_group("publish");
    for (name, bytes) in [("200 B", 200), ("10 KB", 10 * 1024)] {
        // JSON in a JSON string, as SDKs send it: every eighth character is a quote with its backslash.
        let item = r#"\"abc\":1,"#;
        let body = format!(
            r#"{{"name":"order.shipped","channels":["private-orders"],"data":"{{{}}}"}}"#,
            item.repeat((bytes - 70) / item.len())
        );
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let event = Event::parse(black_box(&body)).expect("an event");
                event.check(&app.limits).expect("a good one");
                Outgoing::event(&event, "private-orders")
            });
        });
    }
}

criterion_group!(benches, events);
criterion_main!(benches);
