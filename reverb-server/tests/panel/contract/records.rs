use std::time::Duration;

use reverb_server::panel::store::{
    Entry, NewEntry, NewUser, PanelError, Retention, SessionKey, Swept, User, UserChange,
};

use super::{HASH, NOW, Store, at, change, found, hash, log_in, make, other_hash};

pub(crate) async fn settings_are_kept(store: Store) {
    assert!(store.settings().await.expect("all").is_empty());
    let long = "🦁".repeat(16 * 1024);
    for (name, value) in [("a.b_c-1", "1"), ("A", "ü"), ("a", ""), ("a", &long)] {
        store.set_setting(name, value).await.expect("set");
        let kept = store.setting(name).await.expect("an answer");
        assert_eq!(kept.as_deref(), Some(value));
    }
    let all = store.settings().await.expect("all");
    let names: Vec<_> = all.keys().map(String::as_str).collect();
    assert_eq!(names, ["A", "a", "a.b_c-1"]);
    assert!(store.unset_setting("a").await.expect("an answer"));
    assert!(!store.unset_setting("a").await.expect("an answer"));
    assert_eq!(store.setting("a").await.expect("an answer"), None);
    let longer = format!("{long}x");
    for (name, value) in [
        ("", "1"),
        ("a b", "1"),
        (&"x".repeat(65), "1"),
        ("a", &longer),
        ("a", "\0"),
    ] {
        let refused = store.set_setting(name, value).await;
        assert!(matches!(refused, Err(PanelError::Unfit { .. })), "{name}");
    }
}

pub(crate) async fn what_was_done_is_listed_newest_first(store: Store) {
    let mut first = NewEntry::new(NOW, "command line", "user.create", "ada@example.com");
    first.details = r#"{"name":"Ädä 🦁"}"#.to_owned();
    let mut second = NewEntry::new(NOW - 5, "ada@example.com", "app.delete", "");
    second.actor_id = Some(u64::from(u32::MAX) + 1);
    second.ip = Some("192.0.2.1".parse().expect("an address"));
    for entry in [&first, &second, &first] {
        store.note(entry).await.expect("noted");
    }
    let all = store.entries(None, 10).await.expect("a list");
    let noted: Vec<&NewEntry> = all.iter().map(|entry| &entry.entry).collect();
    assert_eq!(noted, [&first, &second, &first]);
    let page = store.entries(None, 2).await.expect("a page");
    assert_eq!(page, all[..2]);
    let page = store.entries(Some(all[1].id), 2).await.expect("a page");
    assert_eq!(page, all[2..]);
    let page = store.entries(Some(all[2].id), 2).await.expect("a page");
    assert!(page.is_empty());
}

pub(crate) async fn what_was_done_to_a_user_is_noted_and_what_was_refused_is_not(store: Store) {
    let entry = |action: &str| NewEntry::new(NOW, "ada@example.com", action, "bob@example.com");
    let (nothing, hash) = (UserChange::default(), hash(HASH));
    let bob = NewUser::new("Bob", "bob@example.com", hash.clone());
    let created = store.create_user(&bob, &entry("create")).await;
    let bob_id = created.expect("made").id;
    let off = change(|change| change.active = Some(false));
    let wrong = change(|change| change.name = Some(String::new()));
    let refused = [
        store.create_user(&bob, &entry("taken")).await.map(drop),
        store
            .update_user(bob_id, &off, &entry("last"))
            .await
            .map(drop),
        store
            .update_user(bob_id, &wrong, &entry("unfit"))
            .await
            .map(drop),
        store.remove_user(bob_id, &entry("last")).await.map(drop),
        store
            .update_user(bob_id + 1, &nothing, &entry("missing"))
            .await
            .map(drop),
        store
            .set_password(bob_id + 1, &hash, None, &entry("missing"))
            .await,
        store
            .remove_user(bob_id + 1, &entry("missing"))
            .await
            .map(drop),
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    make(&store, "ada").await;
    // An entry that cannot be kept is a reason, too.
    let unfit = store.remove_user(bob_id, &entry("no name")).await;
    assert!(matches!(unfit, Err(PanelError::Unfit { .. })), "{unfit:?}");
    let updated = store.update_user(bob_id, &off, &entry("update")).await;
    updated.expect("changed");
    let set = store
        .set_password(bob_id, &hash, None, &entry("password"))
        .await;
    set.expect("set");
    let removed = store.remove_user(bob_id, &entry("remove")).await;
    removed.expect("removed");
    let noted = store.entries(None, 10).await.expect("a list");
    let noted: Vec<_> = noted.into_iter().map(|noted| noted.entry).collect();
    let made = at(NOW);
    let [create, update] = ["create", "update"].map(entry);
    let [password, remove] = ["password", "remove"].map(entry);
    assert_eq!(noted, [remove, password, update, made, create]);
}

/// To be asked while nothing can be noted, of a user who is not the last one.
pub(crate) async fn nothing_is_done_unnoted(store: &Store, user: &User, key: &SessionKey) {
    let before = store.users(0, 10).await.expect("a list");
    let new = NewUser::new("new", "new@example.com", hash(HASH));
    let name = change(|change| change.name = Some("another".to_owned()));
    let entry = at(NOW);
    let refused = [
        store.create_user(&new, &entry).await.map(drop),
        store.update_user(user.id, &name, &entry).await.map(drop),
        store
            .set_password(user.id, &other_hash("abcd"), None, &entry)
            .await,
        store.remove_user(user.id, &entry).await.map(drop),
    ];
    let is_store = |done: &Result<(), _>| matches!(done, Err(PanelError::Store(_)));
    assert!(refused.iter().all(is_store), "{refused:?}");
    assert_eq!(store.users(0, 10).await.expect("a list"), before);
    assert!(found(store, key).await.is_some());
}

pub(crate) async fn what_is_too_long_for_the_log_is_cut_or_refused(store: Store) {
    let long = "🦁".repeat(300);
    let entry = NewEntry::new(NOW, &long, "a", &format!("\0{long}"));
    store.note(&entry).await.expect("noted");
    let kept = &store.entries(None, 1).await.expect("a list")[0].entry;
    assert_eq!(kept.actor, "🦁".repeat(255));
    assert_eq!(kept.subject, format!(" {}", "🦁".repeat(254)));
    let action = NewEntry::new(NOW, "a", &"x".repeat(65), "");
    let mut details = NewEntry::new(NOW, "a", "a", "");
    details.details = format!("\"{}\"", "x".repeat(16 * 1024));
    let mut no_json = NewEntry::new(NOW, "a", "a", "");
    no_json.details = "x".to_owned();
    for wrong in [action, details, no_json] {
        let refused = store.note(&wrong).await;
        assert!(matches!(refused, Err(PanelError::Unfit { .. })));
    }
}

pub(crate) async fn what_is_old_is_swept_away_slice_by_slice(store: Store) {
    let keep = |seconds, entries, most| {
        let mut keep = Retention::default();
        keep.sessions = Duration::from_secs(seconds);
        keep.entries = Duration::from_secs(entries);
        keep.most_entries = most;
        keep
    };
    let swept = |sessions, entries| {
        let mut swept = Swept::default();
        (swept.sessions, swept.entries) = (sessions, entries);
        swept
    };
    let ada = make(&store, "ada").await;
    // Nothing is so old, but what was noted of her.
    let sweep = store.sweep(NOW, &keep(1, 1, 0)).await;
    assert_eq!(sweep.expect("swept"), swept(0, 1));
    let nothing = store.sweep(NOW, &Retention::default()).await;
    assert_eq!(nothing.expect("swept"), swept(0, 0));
    let old = log_in(&store, &ada, "old", NOW).await;
    let new = log_in(&store, &ada, "new", NOW + 1).await;
    for n in 0..1200 {
        let entry = NewEntry::new(NOW + n, "a", "a", "");
        store.note(&entry).await.expect("noted");
    }
    // Until the very second, and more than two slices of it.
    let sweep = store.sweep(NOW + 1100, &keep(1100, 1, 1_000_000)).await;
    assert_eq!(sweep.expect("swept"), swept(1, 1100));
    assert!(found(&store, &old).await.is_none() && found(&store, &new).await.is_some());
    let sweep = store.sweep(NOW, &keep(u64::MAX, u64::MAX, 7)).await;
    assert_eq!(sweep.expect("swept"), swept(0, 93));
    let left = store.entries(None, 100).await.expect("a list");
    let at = |entry: &Entry| entry.entry.at;
    assert_eq!(
        left.iter().map(at).collect::<Vec<_>>(),
        (1193..1200).rev().map(|n| NOW + n).collect::<Vec<_>>()
    );
    let sweep = store.sweep(NOW, &keep(u64::MAX, u64::MAX, 0)).await;
    assert_eq!(sweep.expect("swept"), swept(0, 7));
}

pub(crate) async fn of_many_who_ask_at_once_one_has_the_turn(store: Store) {
    let hour = Duration::from_secs(3600);
    for chore in ["sweep", "other"] {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.claim(chore, hour).await })
            })
            .collect();
        let mut turns = 0;
        for asked in asking {
            turns += usize::from(asked.await.expect("no panic").expect("an answer"));
        }
        assert_eq!(turns, 1, "{chore}");
        assert!(!store.claim(chore, Duration::MAX).await.expect("an answer"));
    }
    // What is always due is so.
    assert!(
        store
            .claim("sweep", Duration::ZERO)
            .await
            .expect("an answer")
    );
    let refused = store.claim("no name", hour).await;
    assert!(matches!(refused, Err(PanelError::Unfit { .. })));
}
