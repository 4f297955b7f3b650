//! The hub within a server that accepts by itself, here `axum::serve`: every handshake and request passes its layers.
//!
//! ```sh
//! APP_SECRET=secret cargo run --example axum_serve                    # on 127.0.0.1:6001
//! ```
//! Where no layer has to see handshakes and publishes, `Hub::listen` is the quicker way: the example `axum_embed`. A layer,
//! and a listener other than TCP's, are in the example `tls`.

use std::time::Duration;

use axum::{Router, extract::State, http::StatusCode, routing::post};
use reverb_core::app_store::MemoryApps;
use reverb_core::hub::{AppHandle, Hub};
use reverb_core::protocol::{App, Event};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

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
        .fallback_service(hub.service());
    let socket = TcpListener::bind(address).await?;
    println!("http://{}", socket.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    // A task of its own: `main` is none of the runtime's workers, and each connection would wake one thread from another.
    let served = tokio::spawn(async {
        axum::serve(socket, site)
            .with_graceful_shutdown(async { drop(stopped.await) })
            .await
    });
    tokio::signal::ctrl_c().await?;
    drop(stop);
    // Requests that are under way finish. axum would wait for ever for one that does not.
    let _ = tokio::time::timeout(Duration::from_secs(5), served).await;
    // It has let go of the clients when they shook hands: they are the hub's, and still there.
    hub.drain(Duration::from_secs(5)).await;
    Ok(())
}

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
