//! [`Shards`]: a set of them.

/// A set of shards; there are at most 63.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shards(pub(super) u64);

impl Shards {
    /// Most shards of a hub.
    pub(super) const MAX: usize = 63;

    /// Every shard there can be.
    pub(super) const ALL: Self = Self::all(Self::MAX);

    /// No shard, but those who listen in this process.
    pub(super) const LISTENERS: Self = Self(1 << 63);

    pub(super) const fn one(shard: usize) -> Self {
        Self(1 << shard)
    }

    pub(super) const fn all(shards: usize) -> Self {
        Self(u64::MAX >> (64 - shards))
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn only(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) const fn contains(self, shard: usize) -> bool {
        self.0 & (1 << shard) != 0
    }
}

impl Iterator for Shards {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let shard = self.0.trailing_zeros() as usize;
        self.0 &= self.0.checked_sub(1)?;
        Some(shard)
    }
}
