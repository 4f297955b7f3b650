//! [`AppCache`]: the hub's memory of what the app store has said.
//!
//! A store that answers at once, as one in memory, is asked every time. One that has to think is asked once for all who
//! want to know the same at the same time, and not again for a while, whatever it answered. While it cannot answer, its
//! last good answer holds for some time; that there is no such app is never taken from memory then, since clients
//! give up for good when they are told so.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::app_store::{AppStore, StoreError};
use crate::clock::Clock;
use crate::protocol::{App, AppId};

use super::{Asked, Sampled, poll_once};

mod entries;

pub use self::entries::AppCacheTimes;
use self::entries::{Entries, Question, Said};

type Answer = Result<Option<Arc<App>>, StoreError>;

/// What the store has said, and what it is being asked.
pub(crate) struct AppCache {
    store: Arc<dyn AppStore>,
    clock: Arc<dyn Clock>,
    times: AppCacheTimes,
    /// Whether the store has ever had to think. Until then nothing is kept.
    is_slow: AtomicBool,
    /// Whether it has ever answered at once.
    is_quick: AtomicBool,
    /// Whether every change is told: then what is remembered of an app is true until one is.
    is_followed: AtomicBool,
    entries: Mutex<Entries>,
    /// Questions that are with the store.
    asking: Semaphore,
    log: Sampled,
}

/// An answer that several wait for.
type Landed = Result<Option<Arc<App>>, Arc<StoreError>>;

/// Most questions that the store is asked at a time.
const MOST_ASKED: usize = 64;
/// How long the app store may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a store that could not answer is not asked about an app that is known.
const RETRY: Duration = Duration::from_secs(1);

impl AppCache {
    pub(super) fn new(
        store: Arc<dyn AppStore>,
        clock: Arc<dyn Clock>,
        times: AppCacheTimes,
    ) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            times,
            is_slow: AtomicBool::new(false),
            is_quick: AtomicBool::new(false),
            is_followed: AtomicBool::new(false),
            entries: Mutex::default(),
            asking: Semaphore::new(MOST_ASKED),
            log: Sampled::default(),
        })
    }

    /// The app with this key.
    pub(crate) async fn find_by_key(self: &Arc<Self>, key: &str) -> Answer {
        self.find(|| Question::Key(key.into())).await
    }

    /// The app with this id.
    pub(crate) async fn find_by_id(self: &Arc<Self>, id: &str) -> Answer {
        self.find(|| Question::Id(id.into())).await
    }

    /// The app with this key, if that is known without waiting. Nothing is until the store has been asked for the first
    /// time, otherwise: one that has to think shall not be asked the same twice.
    pub(super) fn known_by_key(&self, key: &str) -> Option<Answer> {
        if self.is_slow.load(Ordering::Acquire) {
            self.remembered(&Question::Key(key.into()))
        } else if self.is_quick.load(Ordering::Acquire) {
            self.said_at_once(self.store.find_by_key(key))
        } else {
            None
        }
    }

    /// The same for the app with this id.
    pub(super) fn known_by_id(&self, id: &str) -> Option<Answer> {
        if self.is_slow.load(Ordering::Acquire) {
            self.remembered(&Question::Id(id.into()))
        } else if self.is_quick.load(Ordering::Acquire) {
            self.said_at_once(self.store.find_by_id(id))
        } else {
            None
        }
    }

    fn remembered(&self, question: &Question) -> Option<Answer> {
        self.fresh(&self.entries.lock(), question).map(Ok)
    }

    /// What a store says that has answered at once before. If it has to think now it will be asked for all who want to
    /// know, and this once more.
    fn said_at_once(
        &self,
        mut asked: Pin<Box<dyn Future<Output = Answer> + Send + '_>>,
    ) -> Option<Answer> {
        match safely(asked.as_mut(), &mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            Poll::Pending => {
                self.is_slow.store(true, Ordering::Release);
                None
            }
        }
    }

    /// Whether changes are told, or have ceased to be.
    pub(super) fn set_followed(&self, is_followed: bool) {
        self.is_followed.store(is_followed, Ordering::Release);
    }

    /// What is remembered and need not be asked again.
    fn fresh(&self, entries: &Entries, question: &Question) -> Option<Option<Arc<App>>> {
        let said = entries.known.get(question)?.said.as_ref()?;
        let now = self.clock.now();
        let is_current = said.app.is_some()
            && !said.is_outdated
            && said.stale_until > now
            && self.is_followed.load(Ordering::Acquire);
        (said.fresh_until > now || is_current).then(|| said.app.clone())
    }

    /// Forgets everything: the store is asked again.
    pub(super) fn forget(&self) {
        self.entries.lock().known.clear();
    }

    /// Nothing that is remembered may be true any longer: the store is asked again. Until it answers, that is the last good
    /// answer.
    pub(super) fn expire_all(&self) {
        let now = self.clock.now();
        for entry in self.entries.lock().known.values_mut() {
            entry.expire(now);
        }
    }

    /// What is remembered of this app is true no longer: the store is asked again. Until it answers, that is the last good
    /// answer. That there is no such app may be untrue from now on for any key.
    pub(super) fn expire(&self, id: &AppId) {
        let now = self.clock.now();
        let mut entries = self.entries.lock();
        for (question, entry) in &mut entries.known {
            let app = entry.said.as_ref().map(|said| said.app.as_ref());
            let is_meant = match (question, app) {
                (Question::Id(asked), _) => **asked == *id.as_str(),
                (Question::Key(_), Some(Some(app))) => app.id == *id,
                (Question::Key(_), _) => true,
            };
            if is_meant {
                entry.expire(now);
            }
        }
    }

    /// What the store itself says now of the app with this id: a last good answer is none.
    pub(super) async fn ask_anew(self: &Arc<Self>, id: &AppId) -> Answer {
        let asked = self.clone().ask(Question::Id(id.as_str().into()));
        let answer = tokio::time::timeout(TIMEOUT, asked).await;
        answer.unwrap_or_else(|late| Err(StoreError::Unavailable(Box::new(late))))
    }

    /// Whether anything is remembered of this app.
    pub(super) fn remembers(&self, id: &AppId) -> bool {
        let entries = self.entries.lock();
        let mut said = entries
            .known
            .values()
            .filter_map(|entry| entry.said.as_ref());
        said.any(|said| said.app.as_ref().is_some_and(|app| app.id == *id))
    }

    /// What is remembered of this app was of the time before: it is this from now on, or nothing. Without the store nobody
    /// shall go back behind a change that was heard.
    pub(super) fn settle(&self, id: &AppId, app: Option<&Arc<App>>) {
        if !self.is_slow.load(Ordering::Acquire) {
            return;
        }
        let now = self.clock.now();
        let mut entries = self.entries.lock();
        for entry in entries.known.values_mut() {
            let before = entry.said.as_ref().and_then(|said| said.app.as_ref());
            if before.is_some_and(|before| before.id == *id) {
                entry.said = None;
            }
        }
        entries
            .known
            .retain(|_, entry| entry.said.is_some() || entry.flight.is_some());
        if let Some(app) = app
            && !entries.is_full(now)
        {
            entries.keep_for_need(app, now, now + self.times.stale, false);
        }
    }

    /// Forgets what is too old.
    pub(super) fn tidy(&self, now: Instant) {
        if self.is_slow.load(Ordering::Acquire) {
            self.entries.lock().tidy(now);
        }
    }

    async fn find(self: &Arc<Self>, question: impl FnOnce() -> Question) -> Answer {
        match self.find_now(question()) {
            Ok(answer) => answer,
            Err((question, asked)) => self.fly(question, asked).await,
        }
    }

    /// The answer of a store that answers at once; or the question, which it may have begun to think about.
    fn find_now(
        self: &Arc<Self>,
        question: Question,
    ) -> Result<Answer, (Question, Option<Asked<Answer>>)> {
        if self.is_slow.load(Ordering::Acquire) {
            return Err((question, None));
        }
        match poll_once(self.clone().ask(question.clone())) {
            Ok(answer) => {
                self.is_quick.store(true, Ordering::Release);
                Ok(answer)
            }
            Err(asked) => {
                self.is_slow.store(true, Ordering::Release);
                Err((question, Some(asked)))
            }
        }
    }

    /// What the store says, however long that takes.
    fn ask(self: Arc<Self>, question: Question) -> Asked<Answer> {
        Box::pin(async move {
            let mut asked = match &question {
                Question::Key(key) => self.store.find_by_key(key),
                Question::Id(id) => self.store.find_by_id(id),
            };
            std::future::poll_fn(|context| safely(asked.as_mut(), context)).await
        })
    }

    /// Takes the answer from memory, joins those who wait for it, or has it asked.
    async fn fly(self: &Arc<Self>, question: Question, asked: Option<Asked<Answer>>) -> Answer {
        let mut flight = {
            let mut entries = self.entries.lock();
            if let Some(app) = self.fresh(&entries, &question) {
                return Ok(app);
            }
            let flight = entries
                .known
                .get(&question)
                .and_then(|entry| entry.flight.clone());
            match flight {
                Some(flight) => flight,
                None => self.start(&mut entries, question, asked),
            }
        };
        // The task always answers, unless the runtime ends.
        match flight.wait_for(Option::is_some).await {
            Ok(landed) => match landed.as_ref().expect("it has landed") {
                Ok(app) => Ok(app.clone()),
                Err(error) => Err(match &**error {
                    StoreError::Corrupt(corrupt) => corrupt.clone().into(),
                    StoreError::Unavailable(_) => StoreError::Unavailable(Box::new(error.clone())),
                }),
            },
            Err(ended) => Err(StoreError::Unavailable(Box::new(ended))),
        }
    }

    fn start(
        self: &Arc<Self>,
        entries: &mut Entries,
        question: Question,
        asked: Option<Asked<Answer>>,
    ) -> watch::Receiver<Option<Landed>> {
        let (lands, flight) = watch::channel(None);
        let asked = asked.unwrap_or_else(|| self.clone().ask(question.clone()));
        entries.known.entry(question.clone()).or_default().flight = Some(flight.clone());
        let (cache, mine) = (self.clone(), flight.clone());
        // A task, so that nobody's leaving leaves the others without an answer.
        tokio::spawn(async move {
            let in_turn = async {
                let _permit = cache.asking.acquire().await;
                asked.await
            };
            let answer = tokio::time::timeout(TIMEOUT, in_turn).await;
            let answer = answer.unwrap_or_else(|late| Err(StoreError::Unavailable(Box::new(late))));
            let landed = cache.land(&question, &mine, answer);
            lands.send_replace(Some(landed));
        });
        flight
    }

    /// Keeps an answer, or finds an older one if this is none. It is not kept if nobody waits for this flight any more.
    fn land(
        &self,
        question: &Question,
        mine: &watch::Receiver<Option<Landed>>,
        answer: Answer,
    ) -> Landed {
        let now = self.clock.now();
        let mut entries = self.entries.lock();
        let is_full = entries.is_full(now);
        let entry = entries.known.get_mut(question).filter(|entry| {
            let flight = entry.flight.as_ref();
            flight.is_some_and(|flight| flight.same_channel(mine))
        });
        let Some(entry) = entry else {
            // It may be of the time before a change: good enough as the last good answer, if there is none.
            if let (Ok(Some(app)), false) = (&answer, is_full) {
                entries.keep_for_need(app, now, now + self.times.stale, true);
            }
            return answer.map_err(Arc::new);
        };
        entry.flight = None;
        match answer {
            Ok(app) => {
                let (fresh, stale) = match &app {
                    Some(_) => (self.times.fresh, self.times.stale),
                    None => (self.times.absent, self.times.absent),
                };
                if is_full && entry.said.is_none() {
                    entries.known.remove(question);
                } else {
                    let stale_until = now + stale.max(fresh);
                    entry.said = Some(Said {
                        app: app.clone(),
                        fresh_until: now + fresh,
                        stale_until,
                        is_outdated: false,
                        is_for_need: false,
                    });
                    if let Some(app) = app.as_ref().filter(|_| !is_full) {
                        entries.keep_for_need(app, now, stale_until, false);
                    }
                }
                Ok(app)
            }
            // That is an answer, and the last good one is good no longer.
            Err(corrupt @ StoreError::Corrupt(_)) => {
                entries.known.remove(question);
                Err(Arc::new(corrupt))
            }
            Err(error) => match &mut entry.said {
                Some(said) if said.app.is_some() && said.stale_until > now => {
                    said.fresh_until = now + RETRY;
                    if self.log.is_due(now) {
                        tracing::warn!(%error, "the app store cannot answer: apps are used as they were");
                    }
                    Ok(said.app.clone())
                }
                _ => {
                    entries.known.remove(question);
                    Err(Arc::new(error))
                }
            },
        }
    }
}

/// One try. A store that panics has not answered; it shall not take a shard's clients with it.
fn safely(
    asked: Pin<&mut (dyn Future<Output = Answer> + Send + '_)>,
    context: &mut Context<'_>,
) -> Poll<Answer> {
    let poll = AssertUnwindSafe(|| asked.poll(context));
    std::panic::catch_unwind(poll).unwrap_or_else(|_| {
        Poll::Ready(Err(StoreError::Unavailable(
            "the app store panicked".into(),
        )))
    })
}

impl fmt::Debug for AppCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppCache")
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}
