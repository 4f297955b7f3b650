//! Memory: what many clients needed goes back to the system when they have gone.

use std::time::Duration;

use reverb_core::hub::Hub;

/// How often it is looked after.
const INTERVAL: Duration = Duration::from_secs(5);
/// So many connections must have gone for it to be worth while.
const MANY: u64 = 1000;

/// Gives memory back whenever half of many connections have gone. glibc keeps what was freed for later, which after a
/// storm of clients is most of what the process holds.
///
/// Cancel safe; it never resolves.
pub async fn give_back(hub: &Hub) {
    let mut most = 0;
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let now = hub.sizes().connections;
        if now + MANY <= most && now <= most / 2 {
            // Some milliseconds for a heap of a hundred MiB: not on a thread that carries connections.
            let _ = tokio::task::spawn_blocking(trim).await;
            most = now;
        }
        most = most.max(now);
    }
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
fn trim() {}
