//! The hub inside an axum service, beside routes of its own.
//!
//! ```sh
//! APP_SECRET=secret cargo run --example axum_embed
//! ```
//! Then connect a Pusher client with key `my-key` to `ws://127.0.0.1:6001`.

use axum::{Router, routing::get};
use reverb_core::app_store::MemoryApps;
use reverb_core::hub::Hub;
use reverb_core::protocol::App;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = App::new("1001", "my-key", &std::env::var("APP_SECRET")?)?;
    let hub = Hub::builder(MemoryApps::from([app])).build()?;
    let site = Router::new()
        .route("/", get(|| async { "Hello" }))
        // GET /app/{key} for clients, /apps/{id}/… for backends.
        .fallback_service(hub.service());
    axum::serve(TcpListener::bind("127.0.0.1:6001").await?, site).await?;
    Ok(())
}
