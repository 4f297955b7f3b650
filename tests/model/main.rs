//! The hub against a model of it: random scripts over real sockets, with one shard and with several.
//!
//! - `script` says what may happen, and how often.
//! - `stage` is a hub with its clock; `client` and `backend` are the two sides that use it.
//! - `steps` plays a script one operation at a time, and compares every message with what `expect` foretells.
//! - `bursts` plays many operations at once; `judge` and `compare` then look for contradictions in what clients heard.
//!
//! `PROPTEST_CASES` sets how many scripts each test plays; `MODEL_SHARDS` (as `1,2,5`) over how many shards.

mod backend;
mod bursts;
mod client;
mod compare;
mod expect;
mod heard;
mod judge;
mod script;
mod sitting;
mod stage;
mod steps;

use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::{Builder, Runtime};

#[test]
fn one_operation_after_the_other_is_heard_as_the_model_foretells() {
    over_shards(20, |runner, runtime, shards| {
        let played = runner.run(&script::steps(), |script| {
            runtime.block_on(steps::play(shards, &script))
        });
        played.map_err(|error| error.to_string())
    });
}

#[test]
fn bursts_leave_every_client_with_the_same_truth() {
    over_shards(20, |runner, runtime, shards| {
        let played = runner.run(&script::bursts(), |script| {
            runtime.block_on(bursts::play(shards, &script))
        });
        played.map_err(|error| error.to_string())
    });
}

/// Runs a property with one shard and with several; `cases` scripts each, unless the environment says more.
fn over_shards(cases: u32, test: impl Fn(&mut TestRunner, &Runtime, usize) -> Result<(), String>) {
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
        let mut runner = TestRunner::new(Config {
            cases: asked.unwrap_or(cases),
            // Races do not shrink for long.
            max_shrink_iters: 300,
            failure_persistence: None,
            ..Config::default()
        });
        if let Err(failure) = test(&mut runner, &runtime, shards) {
            panic!("with {shards} shards: {failure}");
        }
    }
}
