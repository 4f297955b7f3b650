//! In MariaDB.

use std::sync::Arc;
use std::time::Duration;

use reverb_mysql::mysql_async::prelude::Queryable;
use reverb_mysql::{MySql, OpenError};
use reverb_server::panel::store::{MYSQL_LEDGER, MySqlPanel, PanelError, PanelStore, SessionKey};

use crate::contract::{
    NOW, Store, at, found, is_last_active, log_in, make, nothing_is_done_unnoted, other_hash,
    promises,
};
use crate::mariadb;

pub(crate) async fn panel(url: &str) -> MySqlPanel {
    let database = MySql::open(url).await.expect("it opens");
    MySqlPanel::open(database).await.expect("a panel")
}

async fn store() -> Store {
    let panel = panel(&mariadb::database().await).await;
    assert!(!panel.is_php());
    Arc::new(panel)
}

promises!(store());

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_do_not_race() {
    let url = mariadb::database().await;
    let nodes = (0..6).map(|n| {
        let url = url.clone();
        tokio::spawn(async move {
            let store: Store = Arc::new(panel(&url).await);
            make(&store, &format!("user-{n}")).await;
        })
    });
    for node in nodes.collect::<Vec<_>>() {
        node.await.expect("no panic");
    }
    assert_eq!(panel(&url).await.count_users().await.expect("a number"), 6);
    let pending = MySql::pending(&url, &[MYSQL_LEDGER]).await;
    assert!(pending.expect("told").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_broken_off_is_taken_again() {
    let url = mariadb::database().await;
    let mut conn = mariadb::connect(&url).await;
    let statements = MYSQL_LEDGER.steps()[0].statements();
    for statement in statements.take(4) {
        conn.query_drop(statement).await.expect("half of it");
    }
    let store: Store = Arc::new(panel(&url).await);
    make(&store, "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_newer_version_has_changed_is_refused() {
    let url = mariadb::database().await;
    panel(&url).await;
    let mut conn = mariadb::connect(&url).await;
    let newer = "INSERT INTO rp_panel_migrations VALUES (99, '099_later', 'x', UTC_TIMESTAMP())";
    conn.query_drop(newer).await.expect("noted");
    let database = MySql::open(&url).await.expect("the apps are as they were");
    let refused = MySqlPanel::open(database).await.expect_err("it is newer");
    assert!(matches!(refused, OpenError::Ledger(_)));
    assert!(refused.to_string().contains("099_later"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_put_there_by_hand_are_read_as_far_as_they_go() {
    let url = mariadb::database().await;
    let store: Store = Arc::new(panel(&url).await);
    let ada = make(&store, "ada").await;
    let mut conn = mariadb::connect(&url).await;
    for row in [
        "INSERT INTO rp_panel_users (id, name, email, password, active) VALUES (70, '', 'ä@b', '', 7)",
        "INSERT INTO rp_panel_sessions VALUES (REPEAT(CHAR(0), 32), 1, '', 'nowhere', '', 0, 0, '')",
        "INSERT INTO rp_panel_audit (at, actor, ip, action, subject, details) VALUES (0, '', 'nowhere', '', '', 'no JSON')",
    ] {
        conn.query_drop(row).await.expect("put there");
    }
    let users = store.users(0, 10).await.expect("a list");
    assert_eq!((users[1].active, users[1].created), (true, None));
    let found_by = store.user_by_email("ä@B").await.expect("an answer");
    assert_eq!(found_by.as_ref(), Some(&users[1]));
    assert_eq!(store.user_by_email("Ä@B").await.expect("an answer"), None);
    assert!(store.sessions_of(ada.id).await.expect("a list").is_empty());
    assert_eq!(found(&store, &SessionKey::of("x")).await, None);
    let noted = store.entries(None, 10).await.expect("a list");
    assert_eq!(noted[0].entry.details, "no JSON");
    store
        .remove_user(ada.id, &at(NOW))
        .await
        .expect("70 is active");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chore_is_due_again_when_its_time_has_come_or_the_clock_was_put_back() {
    let url = mariadb::database().await;
    let (one, two) = (panel(&url).await, panel(&url).await);
    let mut conn = mariadb::connect(&url).await;
    let hour = Duration::from_secs(3600);
    let mut turns = Vec::new();
    for ago in [0, 3600, -5, -60] {
        one.claim("sweep", Duration::ZERO).await.expect("an answer");
        let set = format!("UPDATE rp_panel_chores SET at = UNIX_TIMESTAMP() - ({ago})");
        conn.query_drop(set).await.expect("set");
        let asked = tokio::join!(one.claim("sweep", hour), two.claim("sweep", hour));
        let told = [asked.0, asked.1].map(|told| usize::from(told.expect("an answer")));
        turns.push(told.iter().sum::<usize>());
    }
    assert_eq!(turns, [0, 1, 0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_the_middle_leaves_nothing() {
    let url = mariadb::database().await;
    let store: Store = Arc::new(panel(&url).await);
    let (ada, _) = (make(&store, "ada").await, make(&store, "bob").await);
    let key = log_in(&store, &ada, "token", NOW).await;
    let mut conn = mariadb::connect(&url).await;
    let trigger =
        "CREATE TRIGGER no BEFORE DELETE ON rp_panel_sessions FOR EACH ROW SIGNAL SQLSTATE '45000'";
    conn.query_drop(trigger).await.expect("made");
    let set = store
        .set_password(ada.id, &other_hash("abcd"), None, &at(NOW))
        .await;
    assert!(matches!(set, Err(PanelError::Store(_))), "{set:?}");
    let removed = store.remove_user(ada.id, &at(NOW)).await;
    assert!(matches!(removed, Err(PanelError::Store(_))), "{removed:?}");
    let (_, user) = found(&store, &key).await.expect("it is there");
    assert_eq!(user, ada);
    conn.query_drop("DROP TRIGGER no").await.expect("gone");
    let trigger =
        "CREATE TRIGGER no BEFORE INSERT ON rp_panel_audit FOR EACH ROW SIGNAL SQLSTATE '45000'";
    conn.query_drop(trigger).await.expect("made");
    nothing_is_done_unnoted(&store, &ada, &key).await;
    conn.query_drop("DROP TRIGGER no").await.expect("gone");
    store.remove_user(ada.id, &at(NOW)).await.expect("removed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_keeps_nobody_waiting_and_what_was_kept_is_there_again() {
    let started = tokio::task::spawn_blocking(|| mariadb::Server::start(&[])).await;
    let mut server = started.expect("a server");
    let url = mariadb::database_of(&server.url).await;
    let store: Store = Arc::new(panel(&url).await);
    let ada = make(&store, "ada").await;
    let key = log_in(&store, &ada, "token", NOW).await;
    let mut server = tokio::task::spawn_blocking(move || {
        server.order("KILL");
        server
    })
    .await
    .expect("killed");
    // It may be answered once more before the signal comes.
    let mut told = None;
    for _ in 0..1000 {
        let patience = Duration::from_secs(8);
        let asked = tokio::time::timeout(patience, store.find_session(&key)).await;
        told = asked.expect("in time").err();
        if told.is_some() {
            break;
        }
    }
    assert!(matches!(told, Some(PanelError::Store(_))), "{told:?}");
    let _server = tokio::task::spawn_blocking(move || {
        server.order("start");
        server
    })
    .await
    .expect("started");
    assert!(found(&store, &key).await.is_some());
    assert!(is_last_active(&store.remove_user(ada.id, &at(NOW)).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_dropped_leaves_no_lock_and_no_half_of_it() {
    let url = mariadb::database().await;
    let store: Store = Arc::new(panel(&url).await);
    let (ada, bob) = (make(&store, "ada").await, make(&store, "bob").await);
    let key = log_in(&store, &ada, "token", NOW).await;
    let mut other = mariadb::connect(&url).await;
    other.query_drop("BEGIN").await.expect("begun");
    let lock = format!(
        "SELECT * FROM rp_panel_users WHERE id = {} FOR UPDATE",
        bob.id
    );
    other.query_drop(lock).await.expect("locked");
    // It has ended the session and looks for another active user, who is locked.
    let entry = at(NOW);
    let removing = store.remove_user(ada.id, &entry);
    let removing = tokio::time::timeout(Duration::from_millis(300), removing);
    assert!(removing.await.is_err(), "it waits");
    other.query_drop("ROLLBACK").await.expect("ended");
    assert!(found(&store, &key).await.is_some());
    store
        .remove_user(ada.id, &at(NOW))
        .await
        .expect("nothing is locked");
    assert_eq!(found(&store, &key).await, None);
}
