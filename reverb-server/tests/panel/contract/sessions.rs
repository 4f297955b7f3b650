use std::net::IpAddr;

use reverb_server::panel::store::{NewSession, PanelError, SessionKey};

use super::{NOW, Store, at, change, found, log_in, make, other_hash};

pub(crate) async fn another_password_ends_the_other_sessions(store: Store) {
    let (ada, bob) = (make(&store, "ada").await, make(&store, "bob").await);
    let keep = log_in(&store, &ada, "kept", NOW).await;
    let ends = log_in(&store, &ada, "ends", NOW).await;
    let bobs = log_in(&store, &bob, "bob's", NOW).await;
    let password = other_hash("abcd");
    let set = store
        .set_password(ada.id, &password, Some(&keep), &at(NOW))
        .await;
    set.expect("set");
    let (_, user) = found(&store, &keep).await.expect("it goes on");
    assert_eq!(user.password, password);
    assert_eq!(found(&store, &ends).await, None);
    assert_eq!(store.sessions_of(ada.id).await.expect("a list").len(), 1);
    // A session of somebody else is not to be kept by it.
    let set = store
        .set_password(ada.id, &other_hash("efgh"), Some(&bobs), &at(NOW))
        .await;
    set.expect("set");
    assert_eq!(found(&store, &keep).await, None);
    assert!(found(&store, &bobs).await.is_some());
    let set = store
        .set_password(bob.id, &other_hash("efgh"), None, &at(NOW))
        .await;
    set.expect("set");
    assert_eq!(found(&store, &bobs).await, None);
}

pub(crate) async fn a_session_is_found_with_its_user_as_it_is_now(store: Store) {
    let (ada, _) = (make(&store, "ada").await, make(&store, "bob").await);
    let key = SessionKey::of("token");
    assert_eq!(found(&store, &key).await, None);
    let mut session = NewSession::new(key, ada.id);
    session.ip = Some("2001:db8::1".parse().expect("an address"));
    session.user_agent = "Bröwser 🦁".to_owned();
    session.data = r#"{"a":"ü🦁"}"#.to_owned();
    store.create_session(&session, NOW).await.expect("begun");
    let (kept, user) = found(&store, &key).await.expect("it is there");
    assert_eq!((kept.key, kept.user, kept.ip), (key, ada.id, session.ip));
    assert_eq!(
        (kept.user_agent, kept.data),
        (session.user_agent, session.data)
    );
    assert_eq!((kept.created, kept.seen), (NOW, NOW));
    assert_eq!(user, ada);
    let off = change(|change| change.active = Some(false));
    store
        .update_user(ada.id, &off, &at(NOW))
        .await
        .expect("changed");
    let (_, user) = found(&store, &key).await.expect("it is there");
    assert!(!user.active);
    assert_eq!(found(&store, &SessionKey::of("Token")).await, None);
    let nobody = NewSession::new(SessionKey::of("x"), ada.id + 100);
    let refused = store.create_session(&nobody, NOW).await;
    assert!(matches!(refused, Err(PanelError::Missing)));
}

pub(crate) async fn a_session_ends_with_its_user(store: Store) {
    let (ada, bob) = (make(&store, "ada").await, make(&store, "bob").await);
    let [one, two] = [
        log_in(&store, &ada, "one", NOW).await,
        log_in(&store, &ada, "two", NOW).await,
    ];
    let bobs = log_in(&store, &bob, "bob's", NOW).await;
    assert!(store.remove_session(&one).await.expect("an answer"));
    assert!(!store.remove_session(&one).await.expect("an answer"));
    assert!(found(&store, &two).await.is_some());
    store.remove_user(ada.id, &at(NOW)).await.expect("removed");
    assert_eq!(found(&store, &two).await, None);
    assert!(!store.touch_session(&two, NOW).await.expect("an answer"));
    assert!(store.sessions_of(ada.id).await.expect("a list").is_empty());
    let all = log_in(&store, &bob, "another", NOW).await;
    let ended = store.remove_sessions(bob.id, Some(&bobs)).await;
    assert_eq!(ended.expect("an answer"), 1);
    assert_eq!(found(&store, &all).await, None);
    assert_eq!(
        store
            .remove_sessions(bob.id, None)
            .await
            .expect("an answer"),
        1
    );
    assert_eq!(found(&store, &bobs).await, None);
}

pub(crate) async fn a_session_is_seen_and_saved_while_it_is_there(store: Store) {
    let ada = make(&store, "ada").await;
    let early = log_in(&store, &ada, "early", NOW).await;
    let late = log_in(&store, &ada, "late", NOW + 1).await;
    let listed = || async {
        let sessions = store.sessions_of(ada.id).await.expect("a list");
        sessions
            .into_iter()
            .map(|session| session.key)
            .collect::<Vec<_>>()
    };
    assert_eq!(listed().await, [late, early]);
    assert!(
        store
            .touch_session(&early, NOW + 9)
            .await
            .expect("an answer")
    );
    assert!(
        store
            .touch_session(&early, NOW + 5)
            .await
            .expect("an answer")
    );
    assert_eq!(listed().await, [early, late]);
    let (session, _) = found(&store, &early).await.expect("it is there");
    assert_eq!((session.created, session.seen), (NOW, NOW + 9));
    for _ in 0..2 {
        let saved = store.save_session(&early, r#"{"n":1}"#).await;
        assert!(saved.expect("an answer"));
    }
    let (session, _) = found(&store, &early).await.expect("it is there");
    assert_eq!(session.data, r#"{"n":1}"#);
    assert!(store.remove_session(&early).await.expect("an answer"));
    assert!(!store.save_session(&early, "{}").await.expect("an answer"));
    assert!(!store.touch_session(&early, NOW).await.expect("an answer"));
    assert_eq!(listed().await, [late]);
}

pub(crate) async fn a_user_has_a_hundred_sessions_at_most(store: Store) {
    let ada = make(&store, "ada").await;
    let first = log_in(&store, &ada, "first", NOW).await;
    let seen_since = log_in(&store, &ada, "seen since", NOW).await;
    store
        .touch_session(&seen_since, NOW + 1000)
        .await
        .expect("seen");
    for n in 0..100 {
        log_in(&store, &ada, &n.to_string(), NOW + 1 + n).await;
    }
    assert_eq!(store.sessions_of(ada.id).await.expect("a list").len(), 100);
    assert_eq!(found(&store, &first).await, None);
    assert!(found(&store, &seen_since).await.is_some());
    assert!(found(&store, &SessionKey::of("99")).await.is_some());
    // By a clock that is behind, even.
    let new = log_in(&store, &ada, "new", 1).await;
    assert!(found(&store, &new).await.is_some());
}

pub(crate) async fn what_a_browser_says_of_itself_is_bounded(store: Store) {
    let ada = make(&store, "ada").await;
    let mut session = NewSession::new(SessionKey::of("1"), ada.id);
    session.user_agent = "🦁".repeat(10_000) + "\0";
    session.ip = Some(IpAddr::from([0xffff; 8]));
    session.data = format!("\"{}\"", "x".repeat(64 * 1024 - 2));
    store.create_session(&session, NOW).await.expect("begun");
    let (kept, _) = found(&store, &session.key).await.expect("it is there");
    assert_eq!(
        (kept.user_agent, kept.data),
        ("🦁".repeat(255), session.data.clone())
    );
    for wrong in [
        format!("\"{}\"", "x".repeat(64 * 1024)),
        String::new(),
        "{".to_owned(),
    ] {
        let saved = store.save_session(&session.key, &wrong).await;
        assert!(matches!(saved, Err(PanelError::Unfit { .. })));
        let mut other = NewSession::new(SessionKey::of("2"), ada.id);
        other.data = wrong;
        let begun = store.create_session(&other, NOW).await;
        assert!(matches!(begun, Err(PanelError::Unfit { .. })));
    }
}
