//! A small chat as one would really build it: people log in, see who is there and who is typing, and what was said before.
//!
//! ```sh
//! cargo run --example chat                            # prints the address to open, in two browsers
//! cargo run --example chat -- 127.0.0.1:8081          # somewhere else
//! PUSHER_JS=node_modules/pusher-js/dist/web cargo run --example chat    # pusher-js from here, not from its CDN
//! ```
//! Ada and Grace may enter the workshop, others may not.
//!
//! - `site.rs`: the pages, and the routes that the page calls; messages come in there and are published in process.
//! - `door.rs`: who may connect and who may see which room, for the hub and for `/auth`.
//! - `rooms.rs`, `people.rs`: the application itself.
//! - `page/`: what the browser gets, with the unmodified pusher-js.

mod door;
mod people;
mod rooms;
mod site;

use std::error::Error;
use std::time::Duration;

use reverb_core::app_store::MemoryApps;
use reverb_core::hooks::{self, Observations, Observed};
use reverb_core::hub::Hub;
use reverb_core::protocol::App;
use tokio::net::TcpListener;

use crate::door::Door;
use crate::people::People;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    let pusher_js = std::env::var_os("PUSHER_JS").map(Into::into);

    // Everything is signed and published in this process: nobody else needs the secret, so it may be a new one each time.
    let secret = format!("{:032x}", rand::random::<u128>());
    let app = App::new("chat", "chat", &secret)?;
    let people = People::default();
    let (observer, observations) = hooks::observer(1024);
    let hub = Hub::builder(MemoryApps::from([app]))
        .authorizer(Door::new(people.clone()))
        .observer(observer)
        .build()?;
    tokio::spawn(log(observations));

    let socket = TcpListener::bind(address).await?;
    println!("Open http://{}", socket.local_addr()?);
    // The site has a handle to the app, not the hub: the hub has the site, and would keep itself alive.
    let site = site::router(hub.app("chat").await?, people, pusher_js);
    hub.listen(socket, site.fallback_service(hub.service()));

    tokio::signal::ctrl_c().await?;
    // Clients come back at once, to whoever listens here next.
    hub.drain(Duration::from_secs(1)).await;
    Ok(())
}

/// What happens in the hub, a line each.
async fn log(mut observations: Observations) {
    while let Some(seen) = observations.next().await {
        match seen {
            Ok(Observed::Connected { socket_id, .. }) => println!("{socket_id} has come"),
            Ok(Observed::Subscribed {
                socket_id,
                channel,
                user,
                ..
            }) => match user {
                Some(user) => println!("{socket_id} is in {channel} as {user}"),
                None => println!("{socket_id} is in {channel}"),
            },
            Ok(Observed::Unsubscribed {
                socket_id, channel, ..
            }) => println!("{socket_id} has left {channel}"),
            Ok(Observed::Disconnected { socket_id, .. }) => println!("{socket_id} has gone"),
            // Who is typing is nobody's business; and there may be more to see one day.
            Ok(_) => {}
            Err(missed) => println!("{missed}"),
        }
    }
}
