//! Every message comes back as it was: for suites that test the WebSocket side alone, such as Autobahn's.
//!
//! ```sh
//! cargo run --release --example echo -- 9001
//! kosoku 127.0.0.1:9001 -x '12.*' -x '13.*'
//! ```
//! What a suite meets here is the listener, the handshake, the frames and the outbox that the product has; only the
//! protocol on top is left out. Any path will do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reverb_core::app_store::{AppStore, StoreError};
use reverb_core::hub::Hub;
use reverb_core::protocol::App;
use tokio::net::TcpListener;

/// Autobahn's largest messages have 16 MiB.
const LARGEST: usize = 16 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::args().nth(1).as_deref().unwrap_or("0").parse()?;
    let mut app = App::new("echo", "echo", "echo")?;
    // A suite counts the frames that it gets: no ping of ours may be among them.
    app.activity_timeout = Duration::from_secs(24 * 60 * 60);
    let hub = Hub::builder(Always(Arc::new(app))).echo(LARGEST).build()?;
    let socket = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("ws://{}", socket.local_addr()?);
    hub.listen(socket, hub.service());
    std::future::pending().await
}

/// This app, whoever asks.
struct Always(Arc<App>);

#[async_trait]
impl AppStore for Always {
    async fn find_by_key(&self, _key: &str) -> Result<Option<Arc<App>>, StoreError> {
        Ok(Some(self.0.clone()))
    }

    async fn find_by_id(&self, _id: &str) -> Result<Option<Arc<App>>, StoreError> {
        Ok(Some(self.0.clone()))
    }
}
