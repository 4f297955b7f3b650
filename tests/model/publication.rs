//! [`Publication`]: a request that publishes, as the three backends of an app send it, and what its answer must look like.

use serde_json::{Value, json};

use crate::backend;
use crate::cast::Tenant;
use crate::script::{Post, Posts};
use crate::stage::Stage;

/// A request that publishes.
pub(crate) struct Publication<'a> {
    app: Tenant,
    backend: usize,
    posts: &'a Posts,
}

impl<'a> Publication<'a> {
    pub(crate) fn new(app: Tenant, backend: usize, posts: &'a Posts) -> Self {
        Self {
            app,
            backend,
            posts,
        }
    }

    /// Sends it. `data` is each event's; `socket_id` finds those of the clients that are left out.
    ///
    /// The last backend sends in chunks: such requests are read by hyper, the others by a shard.
    pub(crate) async fn send(
        &self,
        stage: &Stage,
        data: &[String],
        socket_id: impl Fn(usize) -> Option<String>,
    ) -> Value {
        let events = self.posts.events().iter().zip(data).enumerate();
        let mut events = events.map(|(n, (Post { to, except }, data))| {
            let mut event = json!({
                "name": "published",
                "data": data,
                "socket_id": except.and_then(&socket_id),
                "info": self.asks(n).then_some("subscription_count,user_count"),
            });
            match self.posts {
                Posts::One(_) => {
                    event["channels"] = to.iter().map(|target| target.name()).collect()
                }
                Posts::Batch(_) => event["channel"] = to[0].name().into(),
            }
            event
        });
        let (path, body) = match self.posts {
            Posts::One(_) => ("events", events.next().expect("an event")),
            Posts::Batch(_) => (
                "batch_events",
                json!({"batch": events.collect::<Vec<Value>>()}),
            ),
        };
        let app = stage.app(self.app);
        match self.backend {
            2 => backend::post_in_chunks(stage, app, path, &body).await,
            _ => backend::post(stage, app, path, &body).await,
        }
    }

    /// What must be answered: `figures` are those of each event's targets.
    pub(crate) fn answer(&self, figures: &[Vec<Value>]) -> Value {
        let asks: Vec<bool> = (0..figures.len()).map(|n| self.asks(n)).collect();
        if !asks.contains(&true) {
            return json!({});
        }
        match self.posts {
            Posts::One(post) => {
                let names = post.to.iter().map(|target| target.name());
                let channels: serde_json::Map<String, Value> =
                    names.zip(figures[0].iter().cloned()).collect();
                json!({"channels": channels})
            }
            Posts::Batch(_) => {
                let entries = figures.iter().zip(asks);
                let entries: Vec<Value> = entries
                    .map(|(figures, asks)| if asks { figures[0].clone() } else { json!({}) })
                    .collect();
                json!({"batch": entries})
            }
        }
    }

    /// The figures in an answer, event by event and target by target; nothing where none were asked for.
    pub(crate) fn figures(&self, answer: &Value) -> Vec<Vec<Value>> {
        let events = self.posts.events().iter().enumerate();
        events
            .map(|(n, post)| match self.posts {
                _ if !self.asks(n) => Vec::new(),
                Posts::One(_) => {
                    let names = post.to.iter().map(|target| target.name());
                    names.map(|name| answer["channels"][name].clone()).collect()
                }
                Posts::Batch(_) => vec![answer["batch"][n].clone()],
            })
            .collect()
    }

    /// The first backend asks for no figures, the second in every other event, the third always.
    fn asks(&self, event: usize) -> bool {
        match self.backend {
            0 => false,
            1 => event.is_multiple_of(2),
            _ => true,
        }
    }
}
