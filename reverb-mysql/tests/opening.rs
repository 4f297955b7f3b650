//! Opening a database: what is there already, who else is there, and how it is reached.

mod support;

use mysql_async::prelude::Queryable;
use reverb_core::app_store::{AppEditor, Keyring};
use reverb_core::ledger::LedgerError;
use reverb_core::protocol::App;
use reverb_mysql::{MySql, OpenError, Secrets};

fn secrets() -> Secrets {
    Secrets::Sealed(Keyring::parse(&Keyring::generate()).expect("a key"))
}

#[tokio::test(flavor = "multi_thread")]
async fn many_nodes_that_start_together_do_not_race() {
    let url = support::database().await;
    let nodes = (0..8).map(|n| {
        let url = url.clone();
        tokio::spawn(async move {
            let apps = MySql::open(&url).await.expect("it opens").apps(secrets());
            let app = App::new(&n.to_string(), &format!("key-{n}"), "secret").expect("an app");
            apps.create(app).await.expect("created");
        })
    });
    for node in nodes.collect::<Vec<_>>() {
        node.await.expect("no panic");
    }
    let mut conn = support::connect(&url).await;
    let noted: Option<(u64, u64)> = conn
        .query_first("SELECT COUNT(*), COUNT(DISTINCT number) FROM rp_migrations")
        .await
        .expect("a row");
    let (steps, distinct) = noted.expect("a row");
    assert_eq!(steps, distinct, "each step was taken once");
    let apps: Option<u64> = conn
        .query_first("SELECT COUNT(*) FROM reverb_apps")
        .await
        .expect("a row");
    assert_eq!(apps, Some(8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_interrupted_is_taken_again() {
    let url = support::database().await;
    let mut conn = support::connect(&url).await;
    // As far as the first two statements: the step is not noted.
    let step = include_str!("../migrations/001_apps.sql");
    for statement in step.split(";\n").take(2) {
        conn.query_drop(statement).await.expect("half of it");
    }
    let apps = MySql::open(&url).await.expect("it opens").apps(secrets());
    apps.create(App::new("1", "key", "secret").expect("an app"))
        .await
        .expect("created");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_has_changed_is_refused_and_left_alone() {
    let url = support::database().await;
    MySql::open(&url).await.expect("it opens").close().await;
    let mut conn = support::connect(&url).await;
    let newer = "INSERT INTO rp_migrations VALUES (99, '099_later', 'x', UTC_TIMESTAMP())";
    conn.query_drop(newer).await.expect("noted");
    let refused = MySql::open(&url)
        .await
        .expect_err("it is newer")
        .to_string();
    assert!(refused.contains("099_later"), "{refused}");
    let other = "UPDATE rp_migrations SET checksum = 'x' WHERE number = 1";
    conn.query_drop(other).await.expect("changed");
    let refused = MySql::open(&url).await.expect_err("it is another one");
    assert!(
        matches!(refused, OpenError::Ledger(LedgerError::Different { name }) if name == "001_apps")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_and_write_rows_can_use_a_database_that_is_ready() {
    let url = support::database().await;
    MySql::open(&url).await.expect("it opens").close().await;
    let name = url.rsplit('/').next().expect("a name").to_owned();
    let mut conn = support::connect(&url).await;
    for grant in [
        format!("CREATE USER clerk_{name}@'%' IDENTIFIED BY 'p@ss/w:rd'"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO clerk_{name}@'%'"),
    ] {
        conn.query_drop(grant).await.expect("granted");
    }
    let clerk = url.replace("root@", &format!("clerk_{name}:p%40ss%2Fw%3Ard@"));
    let apps = MySql::open(&clerk).await.expect("it opens").apps(secrets());
    apps.create(App::new("1", "key", "secret").expect("an app"))
        .await
        .expect("created");
    let wrong = MySql::open(&clerk.replace("p%40", "x%40"))
        .await
        .expect_err("another password");
    let said = format!(
        "{wrong} {}",
        std::error::Error::source(&wrong).expect("why")
    );
    assert!(
        said.contains("Access denied") && !said.contains("ss/w"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tls_the_server_is_who_its_certificate_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let made =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(path("cert.pem"), made.cert.pem()).expect("written");
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).expect("written");
    let other =
        rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    std::fs::write(path("other.pem"), other.cert.pem()).expect("written");
    let options = [
        format!("--ssl-cert={}", path("cert.pem")),
        format!("--ssl-key={}", path("key.pem")),
    ];
    let server = tokio::task::spawn_blocking(move || {
        support::start(&options.each_ref().map(String::as_str))
    });
    let server = server.await.expect("a server");
    let mut conn = support::connect(&server).await;
    conn.query_drop("CREATE DATABASE apps").await.expect("made");

    let url = |ca: &str| format!("{server}/apps?ssl_ca={}", path(ca).replace('/', "%2F"));
    let database = MySql::open(&url("cert.pem")).await.expect("it is trusted");
    assert!(database.is_encrypted().await.expect("an answer"));
    for untrusted in [url("other.pem"), format!("{server}/apps?require_ssl=true")] {
        let refused = MySql::open(&untrusted)
            .await
            .expect_err("nobody vouches for it");
        assert!(matches!(refused, OpenError::Database(_)), "{refused:?}");
    }
    let plain = MySql::open(&format!("{server}/apps"))
        .await
        .expect("it opens");
    assert!(!plain.is_encrypted().await.expect("an answer"));
    let missing = MySql::open(&url("missing.pem"))
        .await
        .expect_err("no such file");
    assert!(matches!(missing, OpenError::Database(_)), "{missing:?}");
}
