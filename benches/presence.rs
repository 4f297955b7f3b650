//! What coming and going costs in a presence channel of 400: the newcomer's snapshot, and a notice to everybody else.
//!
//! `cargo bench --bench presence`. Over loopback, all at once: one element is one member's join or leave. Those who leave in
//! the same turn of the hub need not hear of each other, which makes leaving cheaper than coming.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use data_encoding::HEXLOWER;
use reverb_core::protocol::outgoing::{presence_entry, presence_id};
use reverb_core::protocol::{App, Member, Outgoing, auth};

mod crowd;
use crowd::{Ear, Guest, Stage};

const MEMBERS: usize = 400;
/// Whoever has come hears of all who come later.
const NOTICES: u64 = (MEMBERS * (MEMBERS - 1) / 2) as u64;

fn coming_and_going(criterion: &mut Criterion) {
    let mut app = App::new("1001", "app-key", "app-secret").expect("an app");
    app.limits.presence_members = MEMBERS;
    let mut group = criterion.benchmark_group("presence");
    group.sample_size(10);
    group.throughput(Throughput::Elements(MEMBERS as u64));

    let stage = Stage::new(app.clone());
    let ear = Arc::<Ear>::default();
    let mut guests = stage.connect(MEMBERS, &ear);
    let comes: Vec<String> = guests
        .iter()
        .enumerate()
        .map(|(n, guest)| subscribe(&app, n, guest))
        .collect();
    let leave = r#"{"event":"pusher:unsubscribe","data":{"channel":"presence-room"}}"#.to_owned();
    let comes: Arc<[String]> = comes.into();
    let goes: Arc<[String]> = vec![leave; MEMBERS].into();
    let join = |guests: Vec<Guest>| all_say(&stage, &ear, guests, &comes, Until::Noticed);
    let leave = |guests: Vec<Guest>| all_say(&stage, &ear, guests, &goes, Until::Gone);
    let mut both = |rounds: u64| {
        let (mut joining, mut leaving) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..rounds {
            let (took, came) = join(std::mem::take(&mut guests));
            joining += took;
            let (took, gone) = leave(came);
            leaving += took;
            guests = gone;
        }
        (joining, leaving)
    };
    group.bench_function("400 join", |bencher| {
        bencher.iter_custom(|rounds| both(rounds).0)
    });
    group.bench_function("400 leave", |bencher| {
        bencher.iter_custom(|rounds| both(rounds).1)
    });
    group.finish();
    snapshot(criterion);
}

/// When everybody has heard everything.
#[derive(Clone, Copy)]
enum Until {
    /// Everybody has heard that it has come, and of all who came later.
    Noticed,
    /// Everybody has heard a pong after it left: nothing follows that.
    Gone,
}

/// Everybody says something; the time until all was heard.
#[expect(clippy::disallowed_methods, reason = "a bench measures")]
fn all_say(
    stage: &Stage,
    ear: &Arc<Ear>,
    mut guests: Vec<Guest>,
    texts: &Arc<[String]>,
    until: Until,
) -> (Duration, Vec<Guest>) {
    let (ear, texts) = (ear.clone(), texts.clone());
    stage.run(async move {
        let started = Instant::now();
        let (frames, pongs) = (ear.frames(), ear.pongs());
        for (guest, text) in guests.iter_mut().zip(&*texts) {
            guest.say(text).await;
            if matches!(until, Until::Gone) {
                guest.say(r#"{"event":"pusher:ping","data":{}}"#).await;
            }
        }
        match until {
            Until::Noticed => ear.await_frames(frames + NOTICES + MEMBERS as u64).await,
            Until::Gone => ear.await_pongs(pongs + MEMBERS as u64).await,
        }
        (started.elapsed(), guests)
    })
}

fn subscribe(app: &App, number: usize, guest: &Guest) -> String {
    let data = channel_data(number);
    let signature =
        auth::channel_signature(&app.secret, guest.socket_id, "presence-room", Some(&data));
    let (auth, data) = (HEXLOWER.encode(&signature), serde_json::json!(data));
    format!(
        r#"{{"event":"pusher:subscribe","data":{{"auth":"app-key:{auth}","channel_data":{data},"channel":"presence-room"}}}}"#
    )
}

fn channel_data(number: usize) -> String {
    format!(r#"{{"user_id":"user-{number}","user_info":{{"name":"Number {number}"}}}}"#)
}

/// What a newcomer is told, without its way over the wire.
fn snapshot(criterion: &mut Criterion) {
    let members: Vec<Member> = (0..MEMBERS)
        .map(|n| Member::from_channel_data(&channel_data(n)).expect("a member"))
        .collect();
    let encode = |members: &[Member]| {
        let (mut ids, mut hash) = (Vec::new(), Vec::new());
        for member in members {
            presence_id(&mut ids, &member.id);
            presence_entry(&mut hash, member);
            ids.push(b',');
            hash.push(b',');
        }
        ids.pop();
        hash.pop();
        (ids, hash)
    };
    let mut group = criterion.benchmark_group("presence snapshot");
    group.bench_function("encode 400 members anew", |bencher| {
        bencher.iter(|| encode(black_box(&members)))
    });
    let (ids, hash) = encode(&members);
    group.bench_function("copy 400 members kept encoded", |bencher| {
        bencher.iter(|| {
            Outgoing::presence_succeeded(
                "presence-room",
                MEMBERS,
                black_box(&ids),
                black_box(&hash),
            )
        });
    });
}

criterion_group!(benches, coming_and_going);
criterion_main!(benches);
