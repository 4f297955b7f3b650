//! How many instructions the hot paths take, counted by callgrind: a gate that other programs on the machine do not sway.
//!
//! `cargo bench --features instructions --bench instructions`. It needs valgrind, and gungraun-runner in the very version
//! of gungraun in Cargo.lock. It fails when a path takes more than the figure that is written beside it, and a few per cent
//! of slack. What has become cheaper passes; its figure should be brought down with it.
//!
//! The figures are those of Rust 1.95, the `bench` profile and a processor with AVX2, which is what valgrind then says
//! it is on. It knows no instructions for SHA: signatures are dearer here than outside. System calls are left out: what the
//! kernel does for a delivery is several times this, and a matter for benches/compare.

mod hub;
mod messages;
mod room;

use gungraun::prelude::*;
use gungraun::{Callgrind, EventKind};

use hub::with_sockets;
use messages::without_sockets;

/// glibc copies longer texts by a single instruction that callgrind counts once per byte: a loop says more.
const LIBC: &str = "glibc.cpu.x86_rep_movsb_threshold=1000000000";

/// A bench whose path took so many instructions when that was last looked at, and may take so many per cent more.
fn took(instructions: u64, slack: u64) -> LibraryBenchmarkConfig {
    let most = instructions + instructions * slack / 100;
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::default().hard_limits([(EventKind::Ir, most)]));
    config
}

main!(
    config = LibraryBenchmarkConfig::default()
        .env("GLIBC_TUNABLES", LIBC)
        .tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [without_sockets, with_sockets]
);
