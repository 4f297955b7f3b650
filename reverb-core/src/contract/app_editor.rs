//! The promises of [`AppEditor`], each of which is given an empty store.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use crate::app_store::{AppEditor, AppRow, Changed, EditError, LastUse, SecretUse};
use crate::protocol::{
    App, AppId, ClientEvents, OldSecret, Origins, Secret, Webhook, WebhookEvent,
};

fn app(n: u32) -> App {
    App::new(&format!("{n}"), &format!("key-{n}"), &format!("secret-{n}")).expect("an app")
}

async fn created(store: &impl AppEditor, app: App) -> Arc<App> {
    store.create(app).await.expect("created")
}

async fn by_id(store: &impl AppEditor, id: &str) -> Option<Arc<App>> {
    store.find_by_id(id).await.expect("an answer")
}

async fn by_key(store: &impl AppEditor, key: &str) -> Option<Arc<App>> {
    store.find_by_key(key).await.expect("an answer")
}

async fn ids(store: &impl AppEditor) -> Vec<String> {
    let listed = all(store).await;
    listed.iter().map(|app| app.id.to_string()).collect()
}

async fn all(store: &impl AppEditor) -> Vec<Arc<App>> {
    page(store, None, usize::MAX).await
}

async fn page(store: &impl AppEditor, after: Option<&str>, most: usize) -> Vec<Arc<App>> {
    let page = store.list(after, most).await.expect("a page").into_iter();
    page.map(|row| row.app.expect("none is stored wrongly"))
        .collect()
}

/// What has changed since this revision, and the revision now.
async fn told(store: &impl AppEditor, revision: u64) -> (HashSet<String>, u64) {
    let changes = store.changes_since(revision).await.expect("an answer");
    let Changed::These(apps) = changes.apps else {
        panic!("an editor knows what it has changed");
    };
    let apps = apps.iter().map(AppId::to_string).collect();
    (apps, changes.revision)
}

/// Everything of an app but its revision, as text.
fn all_of(app: &App) -> String {
    let mut app = app.clone();
    app.revision = 0;
    let old = app.old_secret.as_ref().map(|old| old.secret.reveal());
    format!("{app:?} {} {old:?}", app.secret.reveal())
}

fn read_secret(text: &str) -> Secret {
    Secret::new(text).expect("a secret")
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn what_was_created_is_found_and_listed(store: impl AppEditor) {
    assert!(by_id(&store, "1").await.is_none());
    assert!(by_key(&store, "key-1").await.is_none());
    let app = created(&store, app(1)).await;
    assert!(app.revision > 0, "a change has a revision");
    let found = [by_id(&store, "1").await, by_key(&store, "key-1").await];
    for found in found {
        let found = found.expect("it is found");
        assert_eq!(all_of(&found), all_of(&app));
        assert_eq!(found.revision, app.revision);
    }
    assert_eq!(ids(&store).await, ["1"]);
    assert_eq!(store.count().await.expect("a number"), 1);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn everything_that_was_saved_comes_back(store: impl AppEditor) {
    let mut app = App::clone(&*created(&store, app(1)).await);
    app.secret = read_secret("another-\u{20ac}-secret");
    app.old_secret = Some(OldSecret::new(read_secret("secret-1"), 4_000_000_000));
    app.description = "two\nlines".to_owned();
    app.webhooks =
        vec![Webhook::new("https://shop.example/hook?a=b", WebhookEvent::ALL).expect("a webhook")];
    app.name = "Shop \"\u{1f6d2}\" '; --".to_owned();
    app.active = false;
    app.allowed_origins = Origins::new(["shop.example", "*.shop.example"]);
    app.client_events = ClientEvents::All;
    app.max_connections = Some(7);
    app.subscription_count = true;
    app.watchlist = false;
    app.force_tls = true;
    app.activity_timeout = Duration::from_secs(17);
    app.limits.event_bytes = 12_345;
    app.limits.events_per_second = 3;
    let saved = store.save(app.clone()).await.expect("saved");
    assert_eq!(all_of(&saved), all_of(&app));
    let found = by_id(&store, "1").await.expect("it is found");
    assert_eq!(all_of(&found), all_of(&app));
    assert!(found.revision > app.revision);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn an_id_and_a_key_belong_to_one_app(store: impl AppEditor) {
    created(&store, app(1)).await;
    let second = created(&store, app(2)).await;
    let same_id = App::new("1", "key-3", "s").expect("an app");
    let same_key = App::new("3", "key-1", "s").expect("an app");
    let mut moved = App::clone(&second);
    moved.key = same_key.key.clone();
    for (refused, field) in [
        (store.create(same_id).await, "id"),
        (store.create(same_key).await, "key"),
        (store.save(moved).await, "key"),
    ] {
        match refused {
            Err(EditError::Taken { field: taken, .. }) => assert_eq!(taken, field),
            other => panic!("the {field} is taken, not {other:?}"),
        }
    }
    assert_eq!(ids(&store).await, ["1", "2"]);
    let (_, now) = told(&store, 0).await;
    assert_eq!(now, second.revision, "what was refused has changed nothing");
    let found = by_key(&store, "key-2").await.expect("as before");
    assert_eq!(all_of(&found), all_of(&second));
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_changed_key_is_found_and_the_old_one_is_not(store: impl AppEditor) {
    let mut app_1 = App::clone(&*created(&store, app(1)).await);
    app_1.key = app(9).key;
    store.save(app_1).await.expect("saved");
    assert!(by_key(&store, "key-1").await.is_none());
    let found = by_key(&store, "key-9").await.expect("it is found");
    assert_eq!(found.id.as_str(), "1");
    created(&store, App::new("2", "key-1", "s").expect("an app")).await;
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn what_was_removed_is_gone_and_its_key_is_free(store: impl AppEditor) {
    let app_1 = created(&store, app(1)).await;
    store.remove("1").await.expect("removed");
    assert!(by_id(&store, "1").await.is_none());
    assert!(by_key(&store, "key-1").await.is_none());
    assert!(ids(&store).await.is_empty());
    assert_eq!(store.count().await.expect("a number"), 0);
    for missing in [
        store.remove("1").await.err(),
        store.save(App::clone(&app_1)).await.err(),
    ] {
        assert!(matches!(missing, Some(EditError::Missing(id)) if id == "1"));
    }
    let again = created(&store, app(1)).await;
    assert!(
        again.revision > app_1.revision + 1,
        "the removal was one too"
    );
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn what_somebody_else_has_changed_is_not_overwritten(store: impl AppEditor) {
    let read = created(&store, app(1)).await;
    let (mut first, mut second) = (App::clone(&read), App::clone(&read));
    first.name = "first".to_owned();
    second.name = "second".to_owned();
    let saved = store.save(first).await.expect("saved");
    match store.save(second).await {
        Err(EditError::Outdated {
            read: before, now, ..
        }) => assert_eq!((before, now), (read.revision, saved.revision)),
        other => panic!("it was changed, not {other:?}"),
    }
    assert_eq!(by_id(&store, "1").await.expect("the app").name, "first");
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_list_comes_in_pages_and_in_order(store: impl AppEditor) {
    for n in [30, 4, 200, 1, 10] {
        created(&store, app(n)).await;
    }
    let (mut after, mut pages) = (None::<String>, Vec::new());
    loop {
        let page = page(&store, after.as_deref(), 2).await;
        let Some(last) = page.last() else { break };
        after = Some(last.id.to_string());
        pages.push(
            page.iter()
                .map(|app| app.id.to_string())
                .collect::<Vec<_>>(),
        );
    }
    let expected: [&[&str]; 3] = [&["1", "10"], &["200", "30"], &["4"]];
    assert_eq!(pages, expected);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn a_number_stays_with_its_app_and_is_nobody_elses(store: impl AppEditor) {
    for n in [3, 1, 2] {
        created(&store, app(n)).await;
    }
    let rows = async |after, most| store.rows(after, most).await.expect("a page");
    let all = rows(0, usize::MAX).await;
    let id_of = |row: &AppRow| row.app.as_ref().expect("an app").id.to_string();
    let listed: Vec<String> = all.iter().map(id_of).collect();
    assert_eq!(
        listed,
        ["3", "1", "2"],
        "in the order in which they were made"
    );
    assert!(all.is_sorted_by(|one, next| one.number < next.number));
    let page = rows(all[0].number, 1).await;
    assert_eq!((page.len(), id_of(&page[0])), (1, "1".to_owned()));
    assert!(rows(all[2].number, 10).await.is_empty());
    for row in &all {
        let (created, updated) = (row.created.expect("known"), row.updated.expect("known"));
        assert!(created > 1_700_000_000 && created <= updated, "{row:?}");
        let found = store.row(row.number).await.expect("an answer");
        assert_eq!(found.map(|found| id_of(&found)), Some(id_of(row)));
        let found = store.row_of(&id_of(row)).await.expect("an answer");
        assert_eq!(found.map(|found| found.number), Some(row.number));
    }
    for none in [0, u64::MAX] {
        assert!(store.row(none).await.expect("an answer").is_none());
        assert_eq!(rows(none, 10).await.len(), if none == 0 { 3 } else { 0 });
    }
    assert!(store.row_of("4").await.expect("an answer").is_none());

    let mut first = App::clone(all[0].app.as_ref().expect("an app"));
    first.name = "changed".to_owned();
    store.save(first).await.expect("saved");
    store.remove("2").await.expect("removed");
    created(&store, app(2)).await;
    let now = rows(0, usize::MAX).await;
    assert_eq!(now[0].number, all[0].number);
    assert!(
        now[2].number > all[2].number,
        "the app that has gone had another"
    );
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn every_change_is_told_once_in_order(store: impl AppEditor) {
    let (nothing, start) = told(&store, 0).await;
    assert!(nothing.is_empty());
    let first = created(&store, app(1)).await;
    created(&store, app(2)).await;
    let (both, now) = told(&store, start).await;
    assert_eq!(both, HashSet::from(["1".to_owned(), "2".to_owned()]));
    assert!(told(&store, now).await.0.is_empty(), "it is told once");
    let (second, _) = told(&store, first.revision).await;
    assert_eq!(second, HashSet::from(["2".to_owned()]));
    let mut app_1 = App::clone(&first);
    app_1.name = "Shop".to_owned();
    let saved = store.save(app_1).await.expect("saved");
    let (changed, then) = told(&store, now).await;
    assert_eq!(changed, HashSet::from(["1".to_owned()]));
    assert_eq!(then, saved.revision);
    store.remove("2").await.expect("removed");
    let (removed, last) = told(&store, then).await;
    assert_eq!(removed, HashSet::from(["2".to_owned()]));
    assert!(last > then);
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn an_announcement_concerns_all_and_changes_none(store: impl AppEditor) {
    let first = created(&store, app(1)).await;
    created(&store, app(2)).await;
    let (_, start) = told(&store, 0).await;
    store.announce_all().await.expect("announced");
    for before in [0, first.revision, start] {
        let changes = store.changes_since(before).await.expect("an answer");
        assert_eq!(changes.apps, Changed::Any);
        assert!(changes.revision > start);
    }
    let changes = store.changes_since(start).await.expect("an answer");
    let (nothing, now) = told(&store, changes.revision).await;
    assert!(nothing.is_empty(), "it is told once");
    assert_eq!(
        all_of(&by_id(&store, "1").await.expect("it is there")),
        all_of(&first)
    );
    let mut app_1 = App::clone(&first);
    app_1.name = "Shop".to_owned();
    store.save(app_1).await.expect("nobody has changed it");
    store.remove("2").await.expect("removed");
    let (both, _) = told(&store, now).await;
    assert_eq!(both, HashSet::from(["1".to_owned(), "2".to_owned()]));
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn the_last_use_of_a_secret_goes_with_it_and_is_no_change(store: impl AppEditor) {
    let read = created(&store, app(1)).await;
    // All that give rows agree.
    let last = async || {
        let row = store.row_of("1").await.expect("an answer");
        let used = row.map(|row| row.last_use);
        let listed = store.list(None, 1).await.expect("a page");
        assert_eq!(listed.first().map(|row| row.last_use), used);
        let rows = store.rows(0, 1).await.expect("a page");
        assert_eq!(rows.first().map(|row| row.last_use), used);
        used
    };
    assert_eq!(last().await, Some(LastUse::default()));
    let used = |app: &str, secret: &str, at| {
        SecretUse::new(AppId::new(app).expect("an id"), read_secret(secret), at)
    };
    let record = async |used: &[SecretUse]| store.record_use(used).await.expect("recorded");
    record(&[used("1", "secret-1", 500), used("2", "secret-2", 500)]).await;
    record(&[used("1", "secret-1", 400), used("1", "another", 900)]).await;
    assert_eq!(last().await, Some(LastUse::new(Some(500), None)));

    let mut rotated = App::clone(&read);
    rotated.rotate_secret(read_secret("another"), Some(4_000_000_000));
    let rotated = store.save(rotated).await.expect("it was no change");
    assert_eq!(last().await, Some(LastUse::new(None, Some(500))));
    record(&[used("1", "secret-1", 600), used("1", "another", 700)]).await;
    assert_eq!(last().await, Some(LastUse::new(Some(700), Some(600))));

    let mut settled = App::clone(&rotated);
    settled.old_secret = None;
    store.save(settled).await.expect("saved");
    record(&[used("1", "secret-1", 800)]).await;
    assert_eq!(last().await, Some(LastUse::new(Some(700), None)));
    store.remove("1").await.expect("removed");
    assert_eq!(last().await, None);
    created(&store, app(1)).await;
    assert_eq!(last().await, Some(LastUse::default()), "it is another app");
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn secrets_that_are_kept_well_are_left_alone(store: impl AppEditor) {
    let first = created(&store, app(1)).await;
    let mut rotated = App::clone(&first);
    rotated.rotate_secret(read_secret("another"), Some(4_000_000_000));
    let saved = store.save(rotated).await.expect("saved");
    for dry_run in [true, false] {
        assert_eq!(store.seal_secrets(dry_run).await.expect("an answer"), 0);
    }
    let now = by_id(&store, "1").await.expect("the app");
    assert_eq!(
        (now.revision, all_of(&now)),
        (saved.revision, all_of(&saved))
    );
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn an_app_that_stays_the_same_is_the_same(store: impl AppEditor) {
    let first = created(&store, app(1)).await;
    let (id, key) = (by_id(&store, "1").await, by_key(&store, "key-1").await);
    let (id, key) = (id.expect("it is found"), key.expect("it is found"));
    assert!(Arc::ptr_eq(&id, &key) && Arc::ptr_eq(&id, &first));
    store.save(App::clone(&first)).await.expect("saved");
    assert!(!Arc::ptr_eq(
        &first,
        &by_id(&store, "1").await.expect("it is found")
    ));
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn names_are_told_apart_exactly(store: impl AppEditor) {
    let apps = [
        ("a", "key"),
        ("A", "KEY"),
        ("\u{e9}", "cl\u{e9}"),
        ("e", "cle"),
    ];
    for (id, key) in apps {
        created(&store, App::new(id, key, "s").expect("an app")).await;
    }
    for (id, key) in apps {
        let found = by_key(&store, key).await.expect("it is found");
        assert_eq!((found.id.as_str(), found.key.as_str()), (id, key));
        assert_eq!(
            by_id(&store, id).await.expect("it is found").key.as_str(),
            key
        );
    }
    for none in ["Key", "key ", " key", "k%", "k_y", ""] {
        assert!(by_key(&store, none).await.is_none(), "{none:?}");
    }
}

#[expect(missing_docs, reason = "the names say it")]
pub async fn many_at_once_leave_one_winner_and_no_gap(store: impl AppEditor) {
    let store = Arc::new(store);
    let attempts = (0..16).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            // All want the same key, and each an id of its own besides.
            let same = App::new(&format!("same-{n}"), "same-key", "s").expect("an app");
            let won = store.create(same).await.is_ok();
            created(&*store, app(n)).await;
            won
        })
    });
    let attempts: Vec<_> = attempts.collect();
    let mut winners = 0;
    for attempt in attempts {
        winners += usize::from(attempt.await.expect("no panic"));
    }
    assert_eq!(winners, 1);
    let listed = all(&*store).await;
    assert_eq!(listed.len(), 17);
    let revisions: HashSet<u64> = listed.iter().map(|app| app.revision).collect();
    assert_eq!(revisions.len(), 17, "each change has a number of its own");
    let (told, now) = told(&*store, 0).await;
    assert_eq!(told.len(), 17);
    assert_eq!(Some(now), revisions.into_iter().max());
}
