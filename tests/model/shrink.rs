//! Shrinking: of a script that fails, the fewest lines that still do.
//!
//! Races fail now and then. So each shorter script is played several times before it counts as one that passes, and
//! whole stretches are left out before single lines.

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use reverb_core::clock::{Clock, SystemClock};

use crate::script::{Op, Post, Posts};

/// Lines that can be left out or made plainer.
pub(crate) trait Script: Clone + Debug {
    fn lines(&self) -> usize;
    fn without(&self, lines: Range<usize>) -> Self;
    fn line(&mut self, n: usize) -> &mut Op;
}

/// How long it is tried.
const PATIENCE: Duration = Duration::from_secs(120);

/// The shortest script that was found to fail, and why it does. `fails` plays one, as often as it takes.
pub(crate) fn shrink<S: Script>(
    mut script: S,
    mut why: String,
    fails: impl Fn(&S) -> Option<String>,
) -> (S, String) {
    let start = SystemClock.now();
    let mut tried = |script: &mut S, candidate: S| {
        let has_time = SystemClock.now() - start < PATIENCE;
        match has_time.then(|| fails(&candidate)).flatten() {
            Some(reason) => {
                (*script, why) = (candidate, reason);
                true
            }
            None => false,
        }
    };
    let mut stretch = script.lines().div_ceil(2);
    loop {
        let (mut at, mut is_shorter) = (0, false);
        while at < script.lines() && script.lines() > 1 {
            let shorter = script.without(at..(at + stretch).min(script.lines()));
            if tried(&mut script, shorter) {
                is_shorter = true;
            } else {
                at += stretch;
            }
        }
        if stretch == 1 && !is_shorter {
            break;
        }
        stretch = stretch.div_ceil(2);
    }
    for n in 0..script.lines() {
        // From the beginning again as long as something can go.
        while plainer(script.clone().line(n)).into_iter().any(|op| {
            let mut candidate = script.clone();
            *candidate.line(n) = op;
            tried(&mut script, candidate)
        }) {}
    }
    (script, why)
}

/// The same with something left out.
fn plainer(op: &Op) -> Vec<Op> {
    let with = |posts: Posts| match op.clone() {
        Op::Publish { app, backend, .. } => Op::Publish {
            app,
            backend,
            posts,
        },
        other => other,
    };
    match op {
        Op::Publish {
            posts: Posts::One(post),
            ..
        } => {
            let posts = plainer_posts(post).into_iter().map(Posts::One);
            posts.map(with).collect()
        }
        Op::Publish {
            posts: Posts::Batch(posts),
            ..
        } => {
            let fewer = (0..posts.len()).filter(|_| posts.len() > 1).map(|n| {
                let mut fewer = posts.clone();
                fewer.remove(n);
                fewer
            });
            let plainer = posts.iter().enumerate().flat_map(|(n, post)| {
                plainer_posts(post).into_iter().map(move |post| {
                    let mut all = posts.clone();
                    all[n] = post;
                    all
                })
            });
            let posts = fewer.chain(plainer).map(Posts::Batch);
            posts.map(with).collect()
        }
        Op::SignIn {
            client,
            user,
            watches,
        } => (0..watches.len())
            .map(|n| {
                let mut watches = watches.clone();
                watches.remove(n);
                Op::SignIn {
                    client: *client,
                    user: *user,
                    watches,
                }
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn plainer_posts(post: &Post) -> Vec<Post> {
    let mut plainer = Vec::new();
    if post.except.is_some() {
        let to = post.to.clone();
        plainer.push(Post { to, except: None });
    }
    for n in (0..post.to.len()).filter(|_| post.to.len() > 1) {
        let mut fewer = post.clone();
        fewer.to.remove(n);
        plainer.push(fewer);
    }
    plainer
}

impl Script for Vec<Op> {
    fn lines(&self) -> usize {
        self.len()
    }

    fn without(&self, lines: Range<usize>) -> Self {
        let (before, after) = (&self[..lines.start], &self[lines.end..]);
        [before, after].concat()
    }

    fn line(&mut self, n: usize) -> &mut Op {
        &mut self[n]
    }
}

/// Bursts, line by line; one without lines goes.
impl Script for Vec<Vec<Op>> {
    fn lines(&self) -> usize {
        self.iter().map(Vec::len).sum()
    }

    fn without(&self, lines: Range<usize>) -> Self {
        let mut n = 0;
        let mut bursts = self.clone();
        for burst in &mut bursts {
            burst.retain(|_| {
                n += 1;
                !lines.contains(&(n - 1))
            });
        }
        bursts.retain(|burst| !burst.is_empty());
        bursts
    }

    fn line(&mut self, n: usize) -> &mut Op {
        self.iter_mut()
            .flatten()
            .nth(n)
            .expect("there are so many lines")
    }
}
