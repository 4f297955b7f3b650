//! The seeds, run as tests, and a few thousand mutations of them.
//!
//! A failure names the seed and shows the bytes: put them into a file of `fuzz/seeds/TARGET`, where they stay.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;

use super::{Dice, TARGETS, Target};

/// The smallest stack that something of ours may run on: that of a thread of tokio's.
const STACK: usize = 2 << 20;

/// Longer ones are seeds for the sake of their length; a debug build would take too long over variations of them.
const MOST_MUTATED: usize = 2048;

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz")
        .join(of)
}

/// The files of a folder, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            let content = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            (path.display().to_string(), content)
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    files
}

fn seeds((name, _): Target) -> Vec<(String, Vec<u8>)> {
    let mut seeds = files(&folder("seeds").join(name));
    if name == "session" {
        let transcripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
        seeds.extend(files(&transcripts));
    }
    seeds
}

/// Runs all of them on a small stack. Those that fail are named.
fn run((name, body): Target, inputs: Vec<(String, Vec<u8>)>) {
    let all = move || {
        let mut failures = Vec::new();
        for (from, input) in inputs {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&input))) {
                let bytes = input[..input.len().min(2000)].escape_ascii();
                failures.push(format!("{from}\n  {}\n  bytes: {bytes}\n", said(&*panic)));
            }
        }
        failures
    };
    let thread = thread::Builder::new().stack_size(STACK).spawn(all);
    let failures = thread.expect("a thread").join().expect("panics are caught");
    let count = failures.len();
    let shown = &failures[..count.min(10)];
    assert!(
        count == 0,
        "{name} fails {count} times:\n{}",
        shown.join("\n")
    );
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic")
}

#[test]
fn every_seed_passes_its_target() {
    for target in TARGETS {
        run(*target, seeds(*target));
    }
}

#[test]
fn every_target_has_its_file_and_its_seeds_and_they_have_it() {
    let names = |of: &str, end: &str| -> Vec<String> {
        let entries = fs::read_dir(folder(of)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().trim_end_matches(end).to_owned())
            .collect();
        names.sort();
        names
    };
    let known: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    // Without the hub there is less to test.
    if cfg!(feature = "hub") {
        assert_eq!(names("seeds", ""), known);
        assert_eq!(names("fuzz_targets", ".rs"), known);
        let manifest = fs::read_to_string(folder("Cargo.toml")).expect("a manifest");
        for name in known {
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        }
    }
}

/// Something like the seed: libFuzzer does it better, but this is always there.
fn mutated(seeds: &[(String, Vec<u8>)], dice: &mut Dice) -> (String, Vec<u8>) {
    let (name, seed) = &seeds[dice.below(seeds.len())];
    let mut bytes = seed.clone();
    for _ in 0..1 + dice.below(4) {
        let (from, to) = (dice.below(bytes.len() + 1), dice.below(bytes.len() + 1));
        let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 64));
        match dice.below(8) {
            0 => drop(bytes.drain(from..to)),
            1 => {
                let copy = bytes[from..to].to_vec();
                let at = dice.below(bytes.len() + 1);
                bytes.splice(at..at, copy);
            }
            2 => bytes.truncate(to),
            3 => bytes.insert(from, dice.below(256) as u8),
            // A piece of another seed.
            4 => {
                let other = &seeds[dice.below(seeds.len())].1;
                let start = dice.below(other.len() + 1);
                let end = other.len().min(start + 1 + dice.below(40));
                bytes.splice(from..from, other[start..end].iter().copied());
            }
            // What means something in one of the formats.
            5 => {
                const MARKS: &[u8] = b"\"\\{}[]:,0 \r\n\t%+&=*.;#/@-\x00\x7f\x80\xff\xed";
                bytes.insert(from, MARKS[dice.below(MARKS.len())]);
            }
            _ if from == bytes.len() => {}
            6 => bytes[from] ^= 1 << dice.below(8),
            _ => bytes[from] = dice.below(256) as u8,
        }
    }
    (format!("{name}, mutated"), bytes)
}

fn mutations(name: &str, count: usize) {
    let found = TARGETS.iter().find(|target| target.0 == name);
    let target = *found.expect("a target");
    let mut seeds = seeds(target);
    seeds.retain(|(_, seed)| seed.len() <= MOST_MUTATED);
    let mut dice = Dice::of(name.as_bytes());
    let mutated = (0..count).map(|_| mutated(&seeds, &mut dice)).collect();
    run(target, mutated);
}

macro_rules! mutations {
    ($($test:ident: $name:literal, $count:literal;)*) => {$(
        #[test]
        fn $test() {
            mutations($name, $count);
        }
    )*};
}

mutations! {
    mutated_signatures_of_channels_pass_only_if_right: "channel_auth", 3000;
    mutated_names_are_judged_alike: "channel_name", 3000;
    mutated_client_messages_are_read_alike: "client_message", 3000;
    mutated_json_is_read_alike: "json", 3000;
    mutated_members_are_read_alike: "member", 3000;
    mutated_origins_are_judged_alike: "origins", 3000;
    mutated_bodies_are_read_alike: "publish_body", 3000;
    mutated_scripts_keep_a_session_in_order: "session", 3000;
    mutated_requests_pass_only_if_signed: "signed_request", 3000;
}

#[cfg(feature = "hub")]
mutations! {
    mutated_frames_are_read_as_tungstenite_does: "frame_decoder", 3000;
    mutated_handshakes_are_answered_or_refused: "handshake", 3000;
    mutated_heads_are_read_as_hyper_does: "http_head", 3000;
}
