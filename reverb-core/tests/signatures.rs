//! Known signatures: the protocol's published test vectors, recomputed with the app 3 of Pusher's documentation.

use data_encoding::HEXLOWER;
use reverb_core::protocol::auth::{self, Query, Request, Unauthorized};
use reverb_core::protocol::{App, SocketId};

const SOCKET: SocketId = SocketId::new(1234, 1234);
const TIME: u64 = 1_353_088_179;
const EVENT: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;

fn app() -> App {
    App::new("3", "278d425bdf160c739803", "7ad3773142a6692b25b8").expect("an app")
}

fn check(method: &str, path: &str, query: &str, body: &str) -> Result<(), Unauthorized> {
    Request {
        method,
        path,
        query,
        body: body.as_bytes(),
    }
    .check(&app(), TIME)
}

fn credentials(signature: &str) -> String {
    format!(
        "auth_key=278d425bdf160c739803&auth_timestamp={TIME}&auth_version=1.0&auth_signature={signature}"
    )
}

/// Signs as an SDK does that signs exactly this.
fn sign(text: &str) -> String {
    HEXLOWER.encode(&app().secret.sign(&[text.as_bytes()]))
}

#[test]
fn channels_are_signed_as_published() {
    let cases = [
        (
            "private-foobar",
            None,
            "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4",
        ),
        (
            "presence-foobar",
            Some(r#"{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#),
            "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c",
        ),
        (
            "presence-foobar",
            Some(r#"{"user_id":10,"user_info":{"name":"Mr. Channels"}}"#),
            "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
        ),
        (
            "presence-room",
            Some(r#"{"user_id":"1","user_info":{"name":"Zü"}}"#),
            "18e6ed6e5a821c75f1478cb2d2b1602dd34b67a482e1c9e9f7e3b453b58032d4",
        ),
    ];
    for (channel, data, signature) in cases {
        let app = app();
        assert_eq!(
            HEXLOWER.encode(&auth::channel_signature(&app.secret, SOCKET, channel, data)),
            signature
        );
        let auth = format!("{}:{signature}", app.key);
        assert_eq!(
            auth::check_channel(&app, &auth, SOCKET, channel, data, 0),
            Ok(())
        );
        // Not for another socket, channel or user, nor in upper case, shortened, or with another key.
        assert!(
            auth::check_channel(&app, &auth, SocketId::new(1234, 1235), channel, data, 0).is_err()
        );
        assert!(auth::check_channel(&app, &auth, SOCKET, "private-other", data, 0).is_err());
        assert!(auth::check_channel(&app, &auth, SOCKET, channel, Some("{}"), 0).is_err());
        assert!(auth::check_channel(&app, &auth.to_uppercase(), SOCKET, channel, data, 0).is_err());
        assert!(
            auth::check_channel(&app, &auth[..auth.len() - 1], SOCKET, channel, data, 0).is_err()
        );
        assert!(
            auth::check_channel(
                &app,
                &format!("other:{signature}"),
                SOCKET,
                channel,
                data,
                0
            )
            .is_err()
        );
        assert!(auth::check_channel(&app, signature, SOCKET, channel, data, 0).is_err());
    }
}

#[test]
fn a_sign_in_is_signed_as_published() {
    let app = app();
    let signature = "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba";
    let data = r#"{"id":"12345"}"#;
    assert_eq!(
        HEXLOWER.encode(&auth::user_signature(&app.secret, SOCKET, data)),
        signature
    );
    assert_eq!(
        auth::check_user(&app, &format!("{}:{signature}", app.key), SOCKET, data, 0),
        Ok(())
    );
}

#[test]
fn a_webhook_is_signed_as_published() {
    let body = br#"{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"}]}"#;
    let signature = "c19001ae3963ccb13bf618e5b16ba9848e7e74df0993aa0689168e341c6833cf";
    assert_eq!(
        HEXLOWER.encode(&auth::webhook_signature(&app().secret, body)),
        signature
    );
}

#[test]
fn requests_are_signed_as_published() {
    let with_md5 =
        |md5: &str, signature: &str| format!("{}&body_md5={md5}", credentials(signature));
    let events = with_md5(
        "ec365a775a4cd0599faeb73354201b6f",
        "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
    );
    assert_eq!(check("POST", "/apps/3/events", &events, EVENT), Ok(()));
    let utf8 = with_md5(
        "f504a0f1379f3ab2b3f69ed892169485",
        "0046ff1245a06272c230b4b72bdf82f7024aa060e91e7fc3c5d45ac6cf786e40",
    );
    let body = r#"{"name":"café","channels":["my-channel"],"data":"{\"m\":\"héllo 😀\"}"}"#;
    assert_eq!(check("POST", "/apps/3/events", &utf8, body), Ok(()));
    let channels = credentials("16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291");
    let channels = format!("{channels}&filter_by_prefix=presence-&info=user_count");
    assert_eq!(check("GET", "/apps/3/channels", &channels, ""), Ok(()));
    // The Python SDK hashes the empty body of a GET as well.
    let python = with_md5(
        "d41d8cd98f00b204e9800998ecf8427e",
        "a36f3524f607276b73975ed0170196bf91c05b5532ef7fe0e1f60ec46e4c3ff0",
    );
    for info in [
        "user_count,subscription_count",
        "user_count%2Csubscription_count",
    ] {
        let query = format!("{python}&info={info}");
        assert_eq!(
            check("GET", "/apps/3/channels/presence-room", &query, ""),
            Ok(()),
            "{info}"
        );
    }
    let terminate = with_md5(
        "99914b932bd37a50b983c5e7c90ae93b",
        "01fa634edeb0cae84115307cad5c23f65a46cd286461b1c89637a3b5871a8f0e",
    );
    assert_eq!(
        check(
            "POST",
            "/apps/3/users/12345/terminate_connections",
            &terminate,
            "{}"
        ),
        Ok(())
    );
}

#[test]
fn every_sdks_way_to_encode_is_understood() {
    let base = format!("auth_key=278d425bdf160c739803&auth_timestamp={TIME}&auth_version=1.0");
    let path = "/apps/3/channels";
    let cases = [
        // What was signed after the credentials, and how it is sent.
        ("filter_by_prefix=a b", "filter_by_prefix=a+b"),
        ("filter_by_prefix=a b", "filter_by_prefix=a%20b"),
        ("filter_by_prefix=a+b", "filter_by_prefix=a+b"),
        ("filter_by_prefix=a+b", "filter_by_prefix=a%2Bb"),
        ("info=a,b", "info[0]=a&info[1]=b"),
        ("info=a,b", "info%5B0%5D=a&info%5B1%5D=b"),
        ("info=a,b", "info[]=a&info[]=b"),
        ("info=a", "INFO=a"),
        // Of eleven items the last does not come after the second.
        (
            "info=a,b,c,d,e,f,g,h,i,j,k",
            "info[0]=a&info[1]=b&info[2]=c&info[3]=d&info[4]=e&info[5]=f&info[6]=g&info[7]=h&info[8]=i&info[9]=j&info[10]=k",
        ),
    ];
    for (signed, sent) in cases {
        let signature = sign(&format!("GET\n{path}\n{base}&{signed}"));
        let query = format!("auth_signature={signature}&{sent}&{base}");
        assert_eq!(
            check("GET", path, &query, ""),
            Ok(()),
            "{signed} sent as {sent}"
        );
    }
    let paths = [
        (
            "/apps/3/users/a b/terminate_connections",
            "/apps/3/users/a%20b/terminate_connections",
        ),
        (
            "/apps/3/users/a%40b/terminate_connections",
            "/apps/3/users/a%40b/terminate_connections",
        ),
        ("/apps/3/channels", "/prefix/apps/3/channels"),
        ("/apps/3/channels/a@b", "/prefix/apps/3/channels/a%40b"),
    ];
    for (signed, sent) in paths {
        let signature = sign(&format!("GET\n{signed}\n{base}"));
        assert_eq!(
            check("GET", sent, &credentials(&signature), ""),
            Ok(()),
            "{signed} sent as {sent}"
        );
    }
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let path = "/apps/3/channels";
    let good = sign(&format!(
        "GET\n{path}\nauth_key=278d425bdf160c739803&auth_timestamp={TIME}&auth_version=1.0"
    ));
    let query = credentials(&good);
    assert_eq!(check("GET", path, &query, ""), Ok(()));
    let error = |query: &str, body: &str| {
        check("GET", path, query, body)
            .expect_err(query)
            .to_string()
    };
    assert_eq!(error("", ""), "Missing parameter in the query: auth_key");
    assert_eq!(
        error(&query.replace("auth_key=2", "auth_key=3"), ""),
        "auth_key is not a key of this app"
    );
    assert_eq!(
        error(&query.replace("=1.0", "=2.0"), ""),
        "auth_version must be 1.0"
    );
    assert_eq!(
        error(&query.replace("1353088179", "soon"), ""),
        "auth_timestamp must be a number of seconds since 1970"
    );
    assert!(error(&query.replace("1353088179", "1353087578"), "").starts_with("Timestamp expired"));
    assert!(error(&query.replace("1353088179", "1353088780"), "").starts_with("Timestamp expired"));
    assert_eq!(
        error(&query, "{}"),
        "Missing parameter in the query: body_md5"
    );
    assert_eq!(
        error(&format!("{query}&body_md5=0"), ""),
        "body_md5 is not the MD5 of the body as received"
    );
    assert_eq!(
        error(&format!("{query}&auth_key=x"), ""),
        "the parameter \"auth_key\" comes twice"
    );
    for wrong in [
        good.to_uppercase(),
        good[1..].to_owned(),
        format!("{good}0"),
        "0".repeat(64),
        String::new(),
    ] {
        let text = error(&credentials(&wrong), "");
        assert!(
            text.starts_with(
                "Invalid signature: you should have sent HmacSHA256Hex(\"GET\\n/apps/3/channels\\n"
            ),
            "{text}"
        );
        assert!(
            wrong.contains(&good) || !text.contains(&good),
            "the right signature is never told"
        );
    }
    assert!(Query::parse(&"a=b&".repeat(65)).is_err());
}

#[test]
fn clocks_may_differ_by_ten_minutes() {
    for at in [TIME - 600, TIME + 600] {
        let text = format!(
            "GET\n/apps/3/channels\nauth_key=278d425bdf160c739803&auth_timestamp={at}&auth_version=1.0"
        );
        let query = credentials(&sign(&text)).replace(&TIME.to_string(), &at.to_string());
        assert_eq!(check("GET", "/apps/3/channels", &query, ""), Ok(()), "{at}");
    }
}
