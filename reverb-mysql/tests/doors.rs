//! Tables of an embedder's own in the same database.

mod support;

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use reverb_core::app_store::{BoxError, StoreError};
use reverb_core::ledger::{Ledger, LedgerError, Step};
use reverb_mysql::{MySql, OpenError};
use tokio::sync::Barrier;

const NOTES: Step = Step::new(
    "001_notes",
    "CREATE TABLE IF NOT EXISTS my_notes (id INT PRIMARY KEY, text VARCHAR(20) NOT NULL);\n
     INSERT IGNORE INTO my_notes VALUES (1, 'first');\n",
);
const FIRST: Ledger = Ledger::new("my_migrations", &[NOTES]);
const SECOND: Ledger = Ledger::new(
    "my_migrations",
    &[
        NOTES,
        Step::new("002_more", "INSERT IGNORE INTO my_notes VALUES (2, 'x');\n"),
    ],
);
const BROKEN: Ledger = Ledger::new(
    "my_migrations",
    &[
        NOTES,
        Step::new(
            "002_broken",
            "INSERT IGNORE INTO my_notes VALUES (3, 'x');\nDELETE FROM nowhere;\n",
        ),
    ],
);

async fn notes(database: &MySql) -> u64 {
    let mut connection = database.connection().await.expect("a connection");
    let notes = connection.query_first("SELECT COUNT(*) FROM my_notes");
    notes.await.expect("an answer").expect("a number")
}

async fn pending(url: &str, ledger: Ledger) -> Vec<&'static str> {
    MySql::pending(url, &[ledger])
        .await
        .expect("it can be told")
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_ones_own_are_brought_up_to_date_and_what_is_missing_is_told() {
    let url = support::database().await;
    let all = ["001_apps", "002_queue", "001_notes"];
    assert_eq!(pending(&url, FIRST).await, all);
    let database = MySql::open(&url).await.expect("it opens");
    assert_eq!(pending(&url, FIRST).await, ["001_notes"]);
    for _ in 0..2 {
        database.migrate(FIRST).await.expect("up to date");
    }
    assert_eq!(notes(&database).await, 1);
    assert_eq!(pending(&url, SECOND).await, ["002_more"]);
    database.migrate(SECOND).await.expect("up to date");
    assert!(pending(&url, SECOND).await.is_empty());

    let newer = database.migrate(FIRST).await.expect_err("it is newer");
    assert!(
        matches!(newer, OpenError::Ledger(LedgerError::Newer { name, known: 1 }) if name == "002_more")
    );
    let other = database.migrate(BROKEN).await.expect_err("another step");
    assert!(
        matches!(other, OpenError::Ledger(LedgerError::Different { name }) if name == "002_more")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_is_broken_off_is_taken_again_from_its_start() {
    let url = support::database().await;
    let database = MySql::open(&url).await.expect("it opens");
    let failed = database.migrate(BROKEN).await.expect_err("it fails");
    assert!(matches!(failed, OpenError::Database(_)), "{failed:?}");
    assert_eq!(pending(&url, BROKEN).await, ["002_broken"]);
    let mut connection = support::connect(&url).await;
    let mend = "CREATE TABLE nowhere (id INT)";
    connection.query_drop(mend).await.expect("mended");
    database.migrate(BROKEN).await.expect("up to date");
    assert_eq!(notes(&database).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_start_together_do_not_race() {
    let url = support::database().await;
    let nodes = (0..8).map(|_| {
        let url = url.clone();
        tokio::spawn(async move {
            let database = MySql::open(&url).await.expect("it opens");
            database.migrate(SECOND).await.expect("up to date");
        })
    });
    for node in nodes.collect::<Vec<_>>() {
        node.await.expect("no panic");
    }
    assert!(pending(&url, SECOND).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_to_an_end_is_broken_off_and_leaves_nothing() {
    let url = support::database().await;
    let database = MySql::open(&url).await.expect("it opens");
    database.migrate(FIRST).await.expect("up to date");
    let endless = MySql::patiently(async {
        let mut connection = database.connection().await?;
        let mut transaction = connection.start_transaction(Default::default()).await?;
        transaction
            .query_drop("INSERT INTO my_notes VALUES (9, 'never')")
            .await?;
        transaction.query_drop("SELECT SLEEP(60)").await?;
        transaction.commit().await?;
        Ok::<_, BoxError>(())
    });
    let late = endless.await.expect_err("it takes too long");
    assert!(late.is::<StoreError>(), "{late:?}");
    let patience = Duration::from_secs(5);
    let counted = tokio::time::timeout(patience, notes(&database)).await;
    assert_eq!(counted.expect("at once"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_in_each_others_way_one_is_told_that_it_passes() {
    let url = support::database().await;
    let database = MySql::open(&url).await.expect("it opens");
    database.migrate(FIRST).await.expect("up to date");
    let mut connection = database.connection().await.expect("one");
    let row = "INSERT INTO my_notes VALUES (21, ''), (22, '')";
    connection.query_drop(row).await.expect("put there");
    // Both have a row before either asks for the other's.
    let both = Arc::new(Barrier::new(2));
    let other = database.connection().await.expect("another");
    let change = |mut connection: Conn, ids: [u64; 2]| {
        let both = both.clone();
        tokio::spawn(async move {
            let mut transaction = connection.start_transaction(Default::default()).await?;
            let change = "UPDATE my_notes SET text = 'mine' WHERE id = ?";
            transaction.exec_drop(change, (ids[0],)).await?;
            both.wait().await;
            transaction.exec_drop(change, (ids[1],)).await?;
            transaction.commit().await
        })
    };
    let changes = [change(connection, [21, 22]), change(other, [22, 21])];
    let mut passing = Vec::new();
    for change in changes {
        if let Err(error) = change.await.expect("no panic") {
            passing.push(MySql::is_passing(&error));
        }
    }
    assert_eq!(passing, [true]);
}
