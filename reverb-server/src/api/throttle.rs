//! [`Throttle`]: how often one address may call, fail and restart.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use http::HeaderMap;
use ipnet::IpNet;
use parking_lot::Mutex;

/// How long calls are counted before the count begins anew.
const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses that one counter remembers. Beyond, the one that came first is forgotten: whoever has so many need not wait,
/// and nobody else is shut out by it.
const MOST: usize = 16 * 1024;

/// How often one address may do what within a minute. Each has a counter of its own, so that none of them eats up another's.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Calls with the token.
    pub(super) calls: Counter,
    /// Calls without it: guesses.
    pub(super) failures: Counter,
    /// Restarts, which are calls as well.
    pub(super) restarts: Counter,
}

impl Default for Throttle {
    fn default() -> Self {
        Self {
            calls: Counter::new(60),
            failures: Counter::new(10),
            restarts: Counter::new(5),
        }
    }
}

/// What one address has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) limit: u32,
    pub(super) remaining: u32,
}

/// It has nothing left, until so much time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exhausted {
    pub(super) limit: u32,
    pub(super) wait: Duration,
}

/// Counts by address. A window begins with the first call in it.
#[derive(Debug)]
pub(super) struct Counter {
    limit: u32,
    windows: Mutex<Windows>,
}

#[derive(Debug, Default)]
struct Windows {
    by_address: HashMap<IpAddr, Window>,
    /// In the order of their ends, as all are equally long.
    ends: VecDeque<(Instant, IpAddr)>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    count: u32,
}

impl Counter {
    fn new(limit: u32) -> Self {
        Self {
            limit,
            windows: Mutex::default(),
        }
    }

    /// Counts one more, if there is one left. What is refused does not count.
    pub(super) fn take(&self, address: IpAddr, now: Instant) -> Result<Left, Exhausted> {
        let mut windows = self.windows.lock();
        windows.tidy(now);
        let window = windows.of(address, now);
        if window.count >= self.limit {
            return Err(self.exhausted(window, now));
        }
        window.count += 1;
        Ok(Left {
            limit: self.limit,
            remaining: self.limit - window.count,
        })
    }

    /// Whether there is one left.
    pub(super) fn check(&self, address: IpAddr, now: Instant) -> Result<(), Exhausted> {
        let windows = self.windows.lock();
        match windows.by_address.get(&address) {
            Some(window) if window.ends > now && window.count >= self.limit => {
                Err(self.exhausted(window, now))
            }
            _ => Ok(()),
        }
    }

    fn exhausted(&self, window: &Window, now: Instant) -> Exhausted {
        Exhausted {
            limit: self.limit,
            wait: window.ends.saturating_duration_since(now),
        }
    }
}

impl Windows {
    /// Forgets what is over.
    fn tidy(&mut self, now: Instant) {
        while self.ends.front().is_some_and(|(ends, _)| *ends <= now) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, address)) = self.ends.pop_front() {
            self.by_address.remove(&address);
        }
    }

    fn of(&mut self, address: IpAddr, now: Instant) -> &mut Window {
        if !self.by_address.contains_key(&address) {
            if self.ends.len() >= MOST {
                self.forget_first();
            }
            self.ends.push_back((now + WINDOW, address));
        }
        self.by_address.entry(address).or_insert(Window {
            ends: now + WINDOW,
            count: 0,
        })
    }
}

/// Who calls: the peer, or whom a proxy that is trusted has it from; behind several of them, the last one that is none. What a
/// caller writes into `X-Forwarded-For` itself stands further to the front, and does not count.
///
/// Of an IPv6 address the first half is taken: whoever has one has the whole network.
pub(super) fn caller(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let forwarded = headers.get_all("x-forwarded-for").iter();
    let lists = forwarded.map(|list| list.to_str().unwrap_or_default());
    let hops: Vec<&str> = lists.flat_map(|list| list.split(',')).collect();
    let mut caller = peer.to_canonical();
    for hop in hops.iter().rev() {
        if !trusted.iter().any(|network| network.contains(&caller)) {
            break;
        }
        let Some(before) = address(hop.trim()) else {
            break;
        };
        caller = before.to_canonical();
    }
    match caller {
        IpAddr::V4(_) => caller,
        IpAddr::V6(address) => {
            let network = address.to_bits() & (u128::MAX << 64);
            Ipv6Addr::from_bits(network).into()
        }
    }
}

/// Some proxies write the port as well.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reverb_core::clock::{Clock, ManualClock};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn who_has_used_up_a_minute_waits_for_its_end_and_nobody_else_does() {
        let clock = ManualClock::new(Duration::ZERO);
        let counter = Counter::new(2);
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let left = |remaining| {
            Ok(Left {
                limit: 2,
                remaining,
            })
        };
        let exhausted = |seconds| Exhausted {
            limit: 2,
            wait: Duration::from_secs(seconds),
        };
        assert_eq!(counter.take(one, clock.now()), left(1));
        clock.advance(Duration::from_secs(20));
        assert_eq!(counter.check(one, clock.now()), Ok(()));
        assert_eq!(counter.take(one, clock.now()), left(0));
        for _ in 0..3 {
            assert_eq!(counter.take(one, clock.now()), Err(exhausted(40)));
            assert_eq!(counter.check(one, clock.now()), Err(exhausted(40)));
        }
        assert_eq!(counter.take(other, clock.now()), left(1));
        clock.advance(Duration::from_secs(40));
        assert_eq!(counter.check(one, clock.now()), Ok(()));
        assert_eq!(counter.take(one, clock.now()), left(1));
        assert_eq!(counter.take(other, clock.now()), left(0));
    }

    #[test]
    fn many_addresses_are_forgotten_in_their_order_and_all_in_time() {
        let clock = ManualClock::new(Duration::ZERO);
        let counter = Counter::new(1);
        let address = |n: usize| IpAddr::from((n as u32).to_be_bytes());
        for n in 0..3 * MOST {
            counter.take(address(n), clock.now()).expect("the first");
        }
        let held = || {
            let windows = counter.windows.lock();
            (windows.by_address.len(), windows.ends.len())
        };
        assert_eq!(held(), (MOST, MOST));
        assert!(counter.take(address(3 * MOST - 1), clock.now()).is_err());
        assert!(counter.take(address(0), clock.now()).is_ok());
        clock.advance(WINDOW);
        assert!(counter.take(address(1), clock.now()).is_ok());
        assert_eq!(held(), (1, 1));
    }

    #[test]
    fn only_a_trusted_proxy_says_who_calls() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "::1/128"]
            .map(|net| net.parse().expect("a network"))
            .into();
        let seen = |peer: &str, lists: &[&str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append("x-forwarded-for", list.parse().expect("a header"));
            }
            caller(ip(peer), &headers, &trusted).to_string()
        };
        assert_eq!(seen("192.0.2.9", &["198.51.100.1"]), "192.0.2.9");
        assert_eq!(seen("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(seen("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            seen("10.0.0.1", &["203.0.113.5, 198.51.100.1"]),
            "198.51.100.1"
        );
        assert_eq!(
            seen(
                "10.0.0.1",
                &["203.0.113.5, 198.51.100.1", "10.0.0.2,10.0.0.3"]
            ),
            "198.51.100.1"
        );
        assert_eq!(seen("10.0.0.1", &["10.0.0.7"]), "10.0.0.7");
        assert_eq!(seen("10.0.0.1", &["203.0.113.5, who knows"]), "10.0.0.1");
        assert_eq!(seen("::1", &["198.51.100.1:4711"]), "198.51.100.1");
        assert_eq!(seen("::1", &["[2001:db8::7]:4711"]), "2001:db8::");
        assert_eq!(seen("::1", &["[2001:db8::7]"]), "2001:db8::");
        assert_eq!(seen("2001:db8:1:2:3:4:5:6", &[]), "2001:db8:1:2::");
    }
}
