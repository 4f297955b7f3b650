//! The hub against a model of it: random scripts over real sockets, with one shard and with several.
//!
//! - `cast` says who takes part, in three apps that know nothing of each other; `script` what may happen, and how often.
//! - `stage` is a hub with its clock; `client` and `backend` are the two sides that use it.
//! - `steps` plays a script one operation at a time, and compares every message with what `expect` foretells,
//!   and every answer of the HTTP API with `figures`.
//! - `bursts` has many `actors` at once; `judge` and `compare` then look for contradictions in what clients heard, and
//!   `tally` in what backends were told.
//! - `shrink` leaves what matters of a script that fails.
//!
//! `PROPTEST_CASES` sets how many scripts each test plays; `MODEL_SHARDS` (as `1,2,5`) over how many shards.

mod actors;
mod backend;
mod bursts;
mod cast;
mod client;
mod compare;
mod deeds;
mod expect;
mod figures;
mod heard;
mod judge;
mod publication;
mod script;
mod shrink;
mod sitting;
mod stage;
mod steps;
mod tally;

use proptest::prelude::{Just, Strategy};
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use tokio::runtime::{Builder, Runtime};

use crate::shrink::{Script, shrink};

#[test]
fn one_operation_after_the_other_is_heard_as_the_model_foretells() {
    over_shards(20, 2, &script::steps(), |runtime, shards, script| {
        runtime.block_on(steps::play(shards, script))
    });
}

#[test]
fn bursts_leave_every_client_with_the_same_truth() {
    over_shards(20, 5, &script::bursts(), |runtime, shards, script| {
        runtime.block_on(bursts::play(shards, script))
    });
}

/// Plays scripts with one shard and with several; as many `cases` each, unless the environment says more. Once one has
/// failed, those that are cut from it are played up to so many `times`.
fn over_shards<S: Script>(
    cases: u32,
    times: usize,
    scripts: &impl Strategy<Value = S>,
    play: impl Fn(&Runtime, usize, &S) -> Result<(), TestCaseError>,
) {
    let shards = std::env::var("MODEL_SHARDS").unwrap_or_else(|_| "1,3".to_owned());
    for shards in shards
        .split(',')
        .map(|n| n.trim().parse().expect("numbers of shards"))
    {
        // More workers than cores: the shards shall interrupt each other anywhere.
        let runtime = Builder::new_multi_thread()
            .worker_threads(shards + 2)
            .enable_all()
            .build()
            .expect("a runtime");
        let asked = std::env::var("PROPTEST_CASES")
            .ok()
            .and_then(|n| n.parse().ok());
        let play = |script: &S| play(&runtime, shards, script);
        let Err((script, why)) = run(asked.unwrap_or(cases), scripts, play) else {
            continue;
        };
        let fails = |script: &S| {
            let mut played = (0..times).map(|_| run(1, &Just(script.clone()), play));
            played.find_map(|played| played.err().map(|(_, why)| why))
        };
        let (script, why) = shrink(script, why, fails);
        panic!("with {shards} shards: {why}\nthe shortest script found: {script:#?}");
    }
}

/// Plays so many scripts; the first one that fails is returned, and why it does.
fn run<S: Script>(
    cases: u32,
    scripts: &impl Strategy<Value = S>,
    play: impl Fn(&S) -> Result<(), TestCaseError>,
) -> Result<(), (S, String)> {
    let mut runner = TestRunner::new(Config {
        cases,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..Config::default()
    });
    match runner.run(scripts, |script| play(&script)) {
        Ok(()) => Ok(()),
        Err(TestError::Fail(why, script)) => Err((script, why.to_string())),
        Err(TestError::Abort(why)) => panic!("nothing was played: {why}"),
    }
}
