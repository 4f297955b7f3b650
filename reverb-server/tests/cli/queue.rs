//! `reverb-server queue …`

use std::time::Duration;

use reverb_core::queue::{Job, Queue};
use reverb_sqlite::Sqlite;

use crate::place::Place;

/// A place whose queue has a job that waits and these dead letters.
fn with_dead(kinds: &[&str]) -> Place {
    let place = Place::new();
    place.succeeds(&["app", "create"]);
    let queue = Sqlite::open(&place.path("data/reverb.sqlite3"))
        .expect("it opens")
        .queue();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        for kind in kinds {
            let job = Job::new(*kind, "what it carries").expect("a job");
            queue.push(job, Duration::ZERO).await.expect("pushed");
            let leased = queue
                .lease(&[], Duration::from_secs(9))
                .await
                .expect("an answer");
            let leased = leased.expect("the job");
            queue.bury(&leased, "nobody\nthere").await.expect("buried");
        }
        let job = Job::new("mail", "").expect("a job");
        queue.push(job, Duration::ZERO).await.expect("pushed");
    });
    place
}

#[test]
fn what_waits_and_what_could_not_be_done_is_listed() {
    let place = with_dead(&["webhook", "mail"]);
    let said = place.succeeds(&["queue", "list"]);
    assert!(said.starts_with("waiting 1, the oldest for "), "{said}");
    assert!(said.contains("with a worker 0; dead letters 2\n"), "{said}");
    let rows: Vec<&str> = said.lines().skip(3).collect();
    assert_eq!(rows.len(), 2, "{said}");
    assert!(
        rows[0].contains("  webhook  ") && rows[0].ends_with("nobody there"),
        "{said}"
    );
    assert!(
        place
            .succeeds(&["queue", "list", "--most", "1"])
            .ends_with("and 1 more: --most shows them\n")
    );
    let json = place.json(&["queue", "list", "--json"]);
    assert_eq!((&json["waiting"], &json["dead"]), (&1.into(), &2.into()));
    assert_eq!(json["dead_letters"][1]["payload"], "what it carries");
    assert_eq!(
        Place::new().succeeds(&["queue", "list"]),
        "there is no database yet, and so no queue\n"
    );
}

#[test]
fn dead_letters_are_made_due_again_or_deleted() {
    let place = with_dead(&["a", "b", "c", "d"]);
    let id =
        |n: usize| place.json(&["queue", "list", "--json"])["dead_letters"][n]["id"].to_string();
    let first = id(0);
    assert_eq!(
        place.succeeds(&["queue", "retry", &first]),
        format!("The job {first} is due again.\n")
    );
    let (code, said) = place.ends(&["queue", "retry", &first]);
    assert_eq!(code, 3, "{said}");
    let second = id(0);
    place.succeeds(&["queue", "purge", &second]);
    assert_eq!(place.ends(&["queue", "purge", &second]).0, 3);
    let (code, said) = place.ends(&["queue", "purge", "--all"]);
    assert_eq!(code, 4);
    assert!(
        said.contains("all 2 dead letters") && said.contains("--yes"),
        "{said}"
    );
    assert_eq!(
        place.succeeds(&["queue", "retry", "--all"]),
        "Jobs that are due again: 2.\n"
    );
    assert_eq!(
        place.succeeds(&["queue", "purge", "--all"]),
        "Dead letters deleted: 0.\n"
    );
    for wrong in [
        ["queue", "retry"].as_slice(),
        &["queue", "retry", "x"],
        &["queue", "purge", "1", "--all"],
    ] {
        assert_eq!(place.ends(wrong).0, 2, "{wrong:?}");
    }
}
