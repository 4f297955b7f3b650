//! The hub with an axum service on one port: routes of its own, one of which publishes.
//!
//! ```sh
//! APP_SECRET=secret cargo run --example axum_embed                    # on 127.0.0.1:6001
//! APP_SECRET=secret cargo run --example axum_embed -- 0.0.0.0:7000    # elsewhere
//! ```
//! Connect a Pusher client with key `my-key`, subscribe to `orders`, and
//!
//! ```sh
//! curl -d '{"id":7}' http://127.0.0.1:6001/paid
//! ```
//! Ctrl-C ends it: clients are told to come back, to whoever listens here next. The example `axum_serve` lets axum accept.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use reverb_core::app_store::MemoryApps;
use reverb_core::hub::{AppHandle, Hub};
use reverb_core::protocol::{App, Event};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:6001");
    let secret = std::env::var("APP_SECRET").map_err(|_| "APP_SECRET is not set")?;
    let app = App::new("1001", "my-key", &secret)?;
    let hub = Hub::builder(MemoryApps::from([app])).build()?;
    let site = Router::new()
        .route("/paid", post(paid))
        .with_state(hub.app("1001").await?)
        // GET /app/{key} for clients, /apps/{id}/… for backends elsewhere.
        .fallback_service(hub.service());
    let socket = TcpListener::bind(address).await?;
    println!("http://{}", socket.local_addr()?);
    hub.listen(socket, site);
    tokio::signal::ctrl_c().await?;
    hub.drain(Duration::from_secs(5)).await;
    Ok(())
}

/// Something happened here: whoever is subscribed hears of it, by no detour over HTTP.
async fn paid(State(shop): State<AppHandle>, order: String) -> StatusCode {
    let event = Event::new("order.paid", order).to("orders");
    match shop.publish(event).await {
        Ok(_) => StatusCode::ACCEPTED,
        Err(error) => {
            eprintln!("an order was not published: {error}");
            StatusCode::BAD_GATEWAY
        }
    }
}
