use std::collections::BTreeSet;

use reverb_server::panel::store::{NewUser, PanelError, UserChange};

use super::{HASH, NOW, Store, at, change, hash, is_last_active, make, other_hash};

pub(crate) async fn users_are_found_and_listed_in_the_order_in_which_they_were_made(store: Store) {
    assert_eq!(store.count_users().await.expect("a number"), 0);
    assert!(store.users(0, 10).await.expect("a list").is_empty());
    let mut user = NewUser::new("  Ada Löwe 🦁 ", " ada@example.com ", hash(HASH));
    user.verified = true;
    let ada = store.create_user(&user, &at(NOW)).await.expect("made");
    assert_eq!(
        (ada.name.as_str(), ada.email.as_str()),
        ("Ada Löwe 🦁", "ada@example.com")
    );
    assert_eq!((ada.active, ada.verified_at), (true, Some(NOW)));
    assert_eq!((ada.created, ada.updated), (Some(NOW), Some(NOW)));
    assert_eq!(ada.password.reveal(), HASH);
    let (bob, eve) = (make(&store, "bob").await, make(&store, "eve").await);
    assert_eq!((bob.verified_at, bob.active), (None, true));
    assert_eq!(store.count_users().await.expect("a number"), 3);
    assert_eq!(
        store.users(0, 2).await.expect("a page"),
        [ada.clone(), bob.clone()]
    );
    assert_eq!(
        store.users(bob.id, 2).await.expect("a page"),
        std::slice::from_ref(&eve)
    );
    assert!(
        store
            .users(eve.id, usize::MAX)
            .await
            .expect("a page")
            .is_empty()
    );
    assert_eq!(store.user(ada.id).await.expect("an answer"), Some(ada));
    assert_eq!(store.user(eve.id + 1).await.expect("an answer"), None);
    assert_eq!(store.user(u64::MAX).await.expect("an answer"), None);
}

pub(crate) async fn an_address_is_one_users_whatever_its_case(store: Store) {
    let ada = make(&store, "Ada").await;
    let bob = make(&store, "bob").await;
    make(&store, "kiss").await;
    for email in ["Ada@example.com", "ada@EXAMPLE.com"] {
        let found = store.user_by_email(email).await.expect("an answer");
        assert_eq!(found.as_ref(), Some(&ada), "{email}");
        let again = NewUser::new("another", email, hash(HASH));
        let taken = store.create_user(&again, &at(NOW)).await;
        assert!(matches!(taken, Err(PanelError::Taken(taken)) if taken == email));
        let other = change(|change| change.email = Some(email.to_owned()));
        let taken = store.update_user(bob.id, &other, &at(NOW)).await;
        assert!(matches!(taken, Err(PanelError::Taken(_))));
    }
    for other in [
        "àda@example.com",
        // The sign of Kelvin, a long s, and a dotless i.
        "\u{212a}iss@example.com",
        "ki\u{17f}s@example.com",
        "k\u{131}ss@example.com",
        "ada@example.com ",
        "ada@example.co",
        "%",
        "",
    ] {
        let found = store.user_by_email(other).await.expect("an answer");
        assert_eq!(found, None, "{other}");
    }
    let own = change(|change| change.email = Some("ADA@example.com".to_owned()));
    let ada = store
        .update_user(ada.id, &own, &at(NOW))
        .await
        .expect("changed");
    assert_eq!(ada.email, "ADA@example.com");
}

pub(crate) async fn what_cannot_be_kept_is_refused(store: Store) {
    let ada = make(&store, "ada").await;
    let long = "x".repeat(256);
    for (name, email) in [
        ("", "b@example.com"),
        (long.as_str(), "b@example.com"),
        ("B\0b", "b@example.com"),
        ("Bob", "b"),
        ("Bob", "b\0@example.com"),
        ("Bob", &format!("{long}@example.com")),
    ] {
        let refused = store
            .create_user(&NewUser::new(name, email, hash(HASH)), &at(NOW))
            .await;
        assert!(
            matches!(refused, Err(PanelError::Unfit { .. })),
            "{name} {email}"
        );
        let change = change(|change| {
            change.name = Some(name.to_owned());
            change.email = Some(email.to_owned());
        });
        let refused = store.update_user(ada.id, &change, &at(NOW)).await;
        assert!(
            matches!(refused, Err(PanelError::Unfit { .. })),
            "{name} {email}"
        );
    }
    assert_eq!(store.users(0, 10).await.expect("a list"), [ada]);
    let name = "ü".repeat(255);
    let user = NewUser::new(&name, "long@example.com", hash(HASH));
    let made = store.create_user(&user, &at(NOW)).await;
    assert_eq!(made.expect("made").name, name);
}

pub(crate) async fn what_is_not_said_of_a_user_stays(store: Store) {
    let ada = make(&store, "ada").await;
    let later = NOW + 60;
    let verified = change(|change| change.verified = Some(true));
    let after = store
        .update_user(ada.id, &verified, &at(later))
        .await
        .expect("changed");
    assert_eq!(after.verified_at, Some(later));
    assert_eq!((after.created, after.updated), (Some(NOW), Some(later)));
    let name = change(|change| {
        change.name = Some("Ada Lovelace".to_owned());
        change.verified = Some(true);
    });
    let after = store
        .update_user(ada.id, &name, &at(later + 60))
        .await
        .expect("changed");
    assert_eq!(after.name, "Ada Lovelace");
    assert_eq!((after.verified_at, &after.email), (Some(later), &ada.email));
    assert_eq!(
        store.user(ada.id).await.expect("an answer"),
        Some(after.clone())
    );
    let nothing = store
        .update_user(ada.id, &UserChange::default(), &at(later + 60))
        .await;
    assert_eq!(nothing.expect("changed"), after);
    let unverified = change(|change| change.verified = Some(false));
    let after = store
        .update_user(ada.id, &unverified, &at(later))
        .await
        .expect("changed");
    assert_eq!(after.verified_at, None);
    let password = other_hash("abcd");
    store
        .set_password(ada.id, &password, None, &at(later))
        .await
        .expect("set");
    let after = store.user(ada.id).await.expect("an answer").expect("there");
    assert_eq!((&after.password, after.active), (&password, true));
}

pub(crate) async fn the_last_active_user_stays_and_stays_active(store: Store) {
    let off = change(|change| change.active = Some(false));
    let on = change(|change| change.active = Some(true));
    let ada = make(&store, "ada").await;
    assert!(is_last_active(&store.remove_user(ada.id, &at(NOW)).await));
    assert!(is_last_active(
        &store.update_user(ada.id, &off, &at(NOW)).await
    ));
    let bob = make(&store, "bob").await;
    let mut eve = NewUser::new("eve", "eve@example.com", hash(HASH));
    eve.active = false;
    let eve = store.create_user(&eve, &at(NOW)).await.expect("made");
    assert!(!eve.active);
    let ada = store
        .update_user(ada.id, &off, &at(NOW))
        .await
        .expect("bob is active");
    assert!(!ada.active);
    assert!(is_last_active(&store.remove_user(bob.id, &at(NOW)).await));
    assert!(is_last_active(
        &store.update_user(bob.id, &off, &at(NOW)).await
    ));
    // Who is not active may go, and may stay so.
    store
        .update_user(eve.id, &off, &at(NOW))
        .await
        .expect("it is so");
    let gone = store.remove_user(ada.id, &at(NOW)).await.expect("removed");
    assert_eq!(gone.id, ada.id);
    store
        .update_user(eve.id, &on, &at(NOW))
        .await
        .expect("changed");
    store
        .remove_user(bob.id, &at(NOW))
        .await
        .expect("eve is active");
    assert_eq!(store.count_users().await.expect("a number"), 1);
    // Its number is nobody else's.
    assert!(make(&store, "new").await.id > eve.id);
}

pub(crate) async fn of_two_who_take_each_other_away_at_once_one_succeeds(store: Store) {
    let off = change(|change| change.active = Some(false));
    for round in 0..10 {
        let one = make(&store, &format!("one-{round}")).await;
        let two = make(&store, &format!("two-{round}")).await;
        for user in store.users(0, 100).await.expect("a list") {
            if ![one.id, two.id].contains(&user.id) {
                store.remove_user(user.id, &at(NOW)).await.expect("removed");
            }
        }
        let attempt = |id, is_removed| {
            let (store, off) = (store.clone(), off.clone());
            tokio::spawn(async move {
                match is_removed {
                    true => store.remove_user(id, &at(NOW)).await,
                    false => store.update_user(id, &off, &at(NOW)).await,
                }
            })
        };
        let attempts = [
            attempt(one.id, round % 2 == 0),
            attempt(two.id, round % 3 == 0),
        ];
        let mut succeeded = 0;
        for attempt in attempts {
            match attempt.await.expect("no panic") {
                Ok(_) => succeeded += 1,
                refused => assert!(is_last_active(&refused), "{refused:?}"),
            }
        }
        assert_eq!(succeeded, 1, "in round {round}");
        let left = store.users(0, 100).await.expect("a list");
        assert_eq!(left.iter().filter(|user| user.active).count(), 1);
    }
    // Many at once, of whom all but one succeed.
    for n in 0..8 {
        make(&store, &format!("many-{n}")).await;
    }
    let all = store.users(0, 100).await.expect("a list");
    let active = all.iter().filter(|user| user.active).map(|user| user.id);
    let active: BTreeSet<u64> = active.collect();
    let attempts: Vec<_> = active
        .iter()
        .map(|id| {
            let (store, off, id) = (store.clone(), off.clone(), *id);
            tokio::spawn(async move { store.update_user(id, &off, &at(NOW)).await })
        })
        .collect();
    let mut refused = 0;
    for attempt in attempts {
        let result = attempt.await.expect("no panic");
        assert!(result.is_ok() || is_last_active(&result), "{result:?}");
        refused += usize::from(result.is_err());
    }
    assert_eq!(refused, 1);
}

pub(crate) async fn who_is_not_there_is_missing(store: Store) {
    let ada = make(&store, "ada").await;
    let other = ada.id + 1;
    let nothing = UserChange::default();
    let results = [
        store.update_user(other, &nothing, &at(NOW)).await.map(drop),
        store.set_password(other, &hash(HASH), None, &at(NOW)).await,
        store.remove_user(other, &at(NOW)).await.map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(PanelError::Missing)), "{result:?}");
    }
}
