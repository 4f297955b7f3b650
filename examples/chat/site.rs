//! The site: its pages, and the routes that the page calls.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, SET_COOKIE};
use axum::http::request::Parts;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use reverb_core::clock::{Clock, SystemClock};
use reverb_core::hub::{AppHandle, PublishError};
use reverb_core::protocol::{Event, UserId};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::door;
use crate::people::{People, Person};
use crate::rooms::{History, Message, ROOMS, Room, inbox};

/// What the routes have at hand.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) app: AppHandle,
    people: People,
    history: Arc<History>,
    pusher_js: Option<PathBuf>,
}

/// All routes. `pusher_js` is a folder with pusher-js for browsers.
pub(crate) fn router(app: AppHandle, people: People, pusher_js: Option<PathBuf>) -> Router {
    let script = |text| get(async move || ([(CONTENT_TYPE, "text/javascript")], text));
    let style = |text| get(async move || ([(CONTENT_TYPE, "text/css")], text));
    Router::new()
        .route("/", get(front_page))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/chat", get(chat_page))
        .route("/me", get(me))
        .route("/rooms/{room}/messages", get(messages).post(say))
        .route("/auth", post(door::sign))
        .route("/chat.js", script(include_str!("page/chat.js")))
        .route("/chat.css", style(include_str!("page/chat.css")))
        .route("/pusher.js", get(pusher_js_file))
        .with_state(Site {
            app,
            people,
            history: Arc::default(),
            pusher_js,
        })
}

/// Who asks. A route that takes a [`Person`] is for those who are logged in.
impl FromRequestParts<Site> for Person {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, site: &Site) -> Result<Self, Self::Rejection> {
        let found = site.people.find(&parts.headers);
        found.ok_or((StatusCode::UNAUTHORIZED, "Log in first"))
    }
}

async fn front_page(person: Result<Person, (StatusCode, &'static str)>) -> Response {
    match person {
        Ok(_) => Redirect::to("/chat").into_response(),
        Err(_) => Html(include_str!("page/login.html")).into_response(),
    }
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

async fn log_in(State(site): State<Site>, Form(Login { name }): Form<Login>) -> Response {
    let Some(person) = Person::named(&name) else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "A name has 1 to 32 bytes").into_response();
    };
    match site.people.log_in(person) {
        Some(cookie) => ([(SET_COOKIE, cookie)], Redirect::to("/chat")).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "Too many are logged in").into_response(),
    }
}

/// Logs out everywhere: what is still connected is closed, and finds the door closed when it comes back.
async fn log_out(State(site): State<Site>, person: Person) -> Redirect {
    site.people.log_out(&person);
    if let Ok(user) = UserId::new(&person.id) {
        site.app.terminate(&user);
    }
    Redirect::to("/")
}

async fn chat_page(
    State(site): State<Site>,
    person: Result<Person, (StatusCode, &'static str)>,
) -> Response {
    if person.is_err() {
        return Redirect::to("/").into_response();
    }
    let pusher_js = match site.pusher_js {
        Some(_) => "/pusher.js",
        None => "https://js.pusher.com/8.4.0/pusher.min.js",
    };
    Html(include_str!("page/chat.html").replace("{{pusher.js}}", pusher_js)).into_response()
}

async fn pusher_js_file(State(site): State<Site>) -> Result<impl IntoResponse, StatusCode> {
    let folder = site.pusher_js.ok_or(StatusCode::NOT_FOUND)?;
    let script = tokio::fs::read(folder.join("pusher.min.js")).await;
    let script = script.map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(([(CONTENT_TYPE, "text/javascript")], script))
}

/// What the page needs to know.
async fn me(State(site): State<Site>, person: Person) -> Json<Value> {
    let rooms: Vec<&Room> = ROOMS.iter().filter(|room| room.lets_in(&person)).collect();
    Json(json!({
        "key": site.app.app().key.as_str(),
        "inbox": inbox(&person),
        "person": person,
        "rooms": rooms,
    }))
}

/// The room, if this person may see it.
fn room(id: &str, person: &Person) -> Result<&'static Room, (StatusCode, String)> {
    let room = Room::find(id).filter(|room| room.lets_in(person));
    room.ok_or_else(|| (StatusCode::NOT_FOUND, "There is no such room".to_owned()))
}

async fn messages(
    State(site): State<Site>,
    person: Person,
    Path(id): Path<String>,
) -> Result<Json<Vec<Message>>, (StatusCode, String)> {
    Ok(Json(site.history.of(room(&id, &person)?)))
}

#[derive(Deserialize)]
struct Said {
    text: String,
}

/// Somebody says something: everybody in the room hears it, those whom it mentions wherever they are.
async fn say(
    State(site): State<Site>,
    person: Person,
    Path(id): Path<String>,
    said: Result<Json<Said>, JsonRejection>,
) -> Result<StatusCode, (StatusCode, String)> {
    let room = room(&id, &person)?;
    let Json(Said { text }) = said.map_err(|error| (error.status(), error.body_text()))?;
    let text = text.trim();
    if text.is_empty() || text.len() > Message::LONGEST {
        let why = format!("A message has 1 to {} bytes", Message::LONGEST);
        return Err((StatusCode::UNPROCESSABLE_ENTITY, why));
    }
    let at = SystemClock.unix_time().as_millis() as u64;
    let message = site.history.add(room, person, text.to_owned(), at);
    let data = json!(message).to_string();
    let event = Event::new("message", &data).to(room.channel());
    site.app.publish(event).await.map_err(refused)?;
    for mentioned in message.mentions().filter(|person| room.lets_in(person)) {
        let event = Event::new("mention", &data).to(inbox(&mentioned));
        site.app.publish(event).await.map_err(refused)?;
    }
    Ok(StatusCode::NO_CONTENT)
}

fn refused(error: PublishError) -> (StatusCode, String) {
    let status = match &error {
        PublishError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
        PublishError::TooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, error.to_string())
}
