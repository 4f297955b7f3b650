//! What every adapter promises, against MariaDB.

mod support;

use reverb_core::app_store::Keyring;
use reverb_mysql::{LaravelKeys, MySql, MySqlApps, MySqlQueue, Secrets};

const APP_KEY: &str = "base64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

async fn apps(secrets: Secrets) -> MySqlApps {
    let url = support::database().await;
    MySql::open(&url).await.expect("a database").apps(secrets)
}

mod sealed {
    use super::*;

    async fn apps() -> MySqlApps {
        let keyring = Keyring::parse(&Keyring::generate()).expect("a key");
        super::apps(Secrets::Sealed(keyring)).await
    }

    reverb_core::app_editor_contract!(apps());
}

mod laravel {
    use super::*;

    async fn apps() -> MySqlApps {
        let keys = LaravelKeys::new(APP_KEY, "").expect("a key");
        super::apps(Secrets::Laravel(keys, None)).await
    }

    reverb_core::app_editor_contract!(apps());
}

mod queue {
    use super::*;

    async fn queue(limit: usize) -> MySqlQueue {
        let url = support::database().await;
        let database = MySql::open(&url).await.expect("a database");
        database.queue_with_limit(limit)
    }

    /// What opens a database again and again.
    async fn database() -> impl AsyncFn() -> MySqlQueue {
        let url = support::database().await;
        async move || MySql::open(&url).await.expect("a database").queue()
    }

    reverb_core::queue_contract!(queue(100_000));
    reverb_core::bounded_queue_contract!(queue(2));
    reverb_core::shared_queue_contract!(database());
}
