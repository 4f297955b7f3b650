//! Memory: what a storm of clients or requests needed goes back to the system when it is over.

use std::time::Duration;

use tokio::time::Instant;

/// How often it is looked after.
const INTERVAL: Duration = Duration::from_secs(5);
/// Bytes that the process may hold beyond the least that it has held.
const SPARE: u64 = 16 << 20;
/// Who holds much because it needs it is asked less and less often, down to this.
const SELDOM: Duration = Duration::from_secs(20);

/// Gives memory back that was freed. glibc keeps it for later, which after a storm is most of what the process holds; how
/// much that is it does not say, so it is tried whenever the process has grown.
///
/// Cancel safe; it never resolves.
pub async fn give_back() {
    let mut least = u64::MAX;
    let mut pause = INTERVAL;
    let mut tried = Instant::now();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        // It cannot be known here, or no descriptor is left to look it up with.
        let Some(held) = resident() else {
            continue;
        };
        least = least.min(held);
        if held < least + SPARE || tried.elapsed() < pause {
            continue;
        }
        // Some milliseconds for a heap of a hundred MiB: not on a thread that carries connections.
        let _ = tokio::task::spawn_blocking(trim).await;
        tried = Instant::now();
        let left = resident().unwrap_or(held);
        pause = match left > held - held / 10 {
            true => (pause * 2).min(SELDOM),
            false => INTERVAL,
        };
        tracing::debug!(before = held, after = left, "gave memory back");
    }
}

/// Bytes of memory that the process holds, where that can be known and changed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn resident() -> Option<u64> {
    let figures = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = figures.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(
    unsafe_code,
    reason = "the allocator's own way to be told; there is no safe one"
)]
fn trim() {
    // SAFETY: it may be called at any time from any thread; 0 asks to keep nothing beyond what is used.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn resident() -> Option<u64> {
    None
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}
