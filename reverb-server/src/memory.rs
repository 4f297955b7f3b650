//! Memory: what a storm of clients or requests needed goes back to the system when it is over.

use std::time::Duration;

use reverb_core::hub::Hub;
use tokio::time::Instant;

/// How often it is looked after.
const INTERVAL: Duration = Duration::from_secs(5);
/// Bytes that the process may hold beyond the least that it has held.
const SPARE: u64 = 16 << 20;
/// So many clients leave memory behind that is worth a try.
const MANY: u64 = 1_000;
/// Who holds much because it needs it is asked less and less often, down to this.
const SELDOM: Duration = Duration::from_secs(600);
/// The same while there is reason to hope.
const SOON: Duration = Duration::from_secs(60);

/// Gives memory back that was freed. glibc keeps it for later, which after a storm is most of what the process holds; how
/// much that is it does not say, so it is tried when the process has grown.
///
/// While it works nobody gets memory of the heap in question: some milliseconds for a hundred MiB, some tens if it is full
/// of holes. So it is tried less and less often while the process stays large, but again within a minute when it has grown
/// further or many clients have gone.
///
/// Cancel safe; it never resolves.
pub async fn give_back(hub: &Hub) {
    let mut need = Need::default();
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        // It cannot be known here, or no descriptor is left to look it up with.
        let Some(held) = resident() else {
            continue;
        };
        let clients = hub.sizes().connections;
        if !need.is_there(held, clients, Instant::now()) {
            continue;
        }
        let _ = tokio::task::spawn_blocking(trim).await;
        let left = resident().unwrap_or(held);
        need.was_tried(left, clients, Instant::now());
        tracing::debug!(before = held, after = left, "gave memory back");
    }
}

/// When it is worth a try.
#[derive(Debug, Default)]
struct Need {
    /// The least that the process has held, in bytes.
    least: Option<u64>,
    /// None while the process is small.
    tried: Option<Tried>,
}

/// The last try.
#[derive(Debug)]
struct Tried {
    at: Instant,
    /// How long the next one waits.
    pause: Duration,
    /// Bytes that the process held then.
    left: u64,
    /// Most clients since.
    clients: u64,
}

impl Need {
    fn is_there(&mut self, held: u64, clients: u64, now: Instant) -> bool {
        let least = *self
            .least
            .insert(self.least.map_or(held, |least| least.min(held)));
        if held < least + SPARE {
            self.tried = None;
            return false;
        }
        let Some(tried) = &mut self.tried else {
            return true;
        };
        tried.clients = tried.clients.max(clients);
        if held >= tried.left + SPARE || clients + MANY <= tried.clients {
            tried.pause = tried.pause.min(SOON);
        }
        now >= tried.at + tried.pause
    }

    fn was_tried(&mut self, left: u64, clients: u64, now: Instant) {
        let last = self.tried.as_ref().map_or(INTERVAL, |tried| tried.pause);
        self.tried = Some(Tried {
            at: now,
            pause: (last * 2).min(SELDOM),
            left,
            clients,
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Looks every [`INTERVAL`], so many times, at a process whose memory stays as it is whatever is tried.
    fn tries(need: &mut Need, now: &mut Instant, looks: u32, held: u64, clients: u64) -> Vec<u32> {
        let looks = (0..looks).filter(|_| {
            *now += INTERVAL;
            let is_there = need.is_there(held, clients, *now);
            if is_there {
                need.was_tried(held, clients, *now);
            }
            is_there
        });
        looks.collect()
    }

    #[test]
    fn a_process_that_needs_its_memory_is_asked_less_and_less_often() {
        let (mut need, mut now) = (Need::default(), Instant::now());
        assert!(tries(&mut need, &mut now, 100, 10 * MIB, 0).is_empty());
        let hour = 720;
        let tried = tries(&mut need, &mut now, hour, 60 * MIB, 0);
        assert_eq!(tried, [0, 2, 6, 14, 30, 62, 126, 246, 366, 486, 606]);
    }

    #[test]
    fn growth_and_many_who_leave_are_worth_a_try_within_a_minute() {
        let (mut need, mut now) = (Need::default(), Instant::now());
        need.is_there(10 * MIB, 0, now);
        assert!(!tries(&mut need, &mut now, 720, 60 * MIB, 5_000).is_empty());
        let tried = tries(&mut need, &mut now, 5, 60 * MIB, 4_001);
        assert!(tried.is_empty(), "{tried:?}");
        // The last one is longer than a minute ago.
        let tried = tries(&mut need, &mut now, 40, 60 * MIB, 4_000);
        assert_eq!(tried, [0, 24]);
        let tried = tries(&mut need, &mut now, 12, 76 * MIB, 4_000);
        assert_eq!(tried, [0]);
    }

    /// What it gives back is taken again at once: that is no use either.
    #[test]
    fn a_heap_that_breathes_is_left_alone_as_well() {
        let (mut need, mut now) = (Need::default(), Instant::now());
        need.is_there(10 * MIB, 0, now);
        let hour = 720;
        let tried = (0..hour).filter(|_| {
            now += INTERVAL;
            let is_there = need.is_there(90 * MIB, 0, now);
            if is_there {
                need.was_tried(60 * MIB, 0, now);
            }
            is_there
        });
        let tried = tried.count();
        assert!(tried <= 64, "{tried} times in an hour");
    }

    #[test]
    fn a_process_that_has_been_small_is_asked_at_once() {
        let (mut need, mut now) = (Need::default(), Instant::now());
        need.is_there(10 * MIB, 0, now);
        assert!(!tries(&mut need, &mut now, 720, 60 * MIB, 0).is_empty());
        assert!(tries(&mut need, &mut now, 1, 20 * MIB, 0).is_empty());
        assert_eq!(tries(&mut need, &mut now, 3, 60 * MIB, 0), [0, 2]);
    }
}
