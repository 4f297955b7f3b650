//! Who comes in and who sees which room: the hub asks here, and so do clients who want a signature.

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::{Form, Json, extract::State};
use reverb_core::hooks::{Authorizer, Denied, Pass, SubscribeRequest, Visit};
use reverb_core::protocol::{ChannelKind, Close, Member, SocketId, auth};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::people::{People, Person};
use crate::rooms::may_hear;
use crate::site::Site;

/// Lets in who is logged in.
pub(crate) struct Door(People);

impl Door {
    pub(crate) fn new(people: People) -> Self {
        Self(people)
    }
}

#[async_trait]
impl Authorizer for Door {
    /// The handshake brings the site's cookie along, as every request of a browser does.
    async fn connect(&self, visit: &Visit) -> Result<Pass, Close> {
        match self.0.find(&visit.request.headers) {
            Some(person) => Ok(Pass::with(person)),
            // 4000 to 4099: the client stops trying. It should not come back before somebody has logged in.
            None => Err(Close::with(4010, "Log in first").expect("a code that clients know")),
        }
    }

    /// `/auth` has signed private and presence channels already, but for a socket: whose it is, is known here. And public
    /// channels need no signature. There are none; this is what keeps clients out of them.
    async fn subscribe(&self, request: &SubscribeRequest) -> Result<(), Denied> {
        let denied = || Denied::new("AuthError", 403, "This room is not yours");
        let person = request.pass.get::<Person>().ok_or_else(denied)?;
        let is_self = |member: &Member| member.id.as_str() == person.id;
        match may_hear(person, request.channel.as_str())
            && request.member.as_ref().is_none_or(is_self)
        {
            true => Ok(()),
            false => Err(denied()),
        }
    }
}

/// What pusher-js asks for.
#[derive(Deserialize)]
pub(crate) struct Question {
    socket_id: String,
    channel_name: String,
}

/// What it gets, and shows to the hub.
#[derive(Serialize)]
pub(crate) struct Signature {
    auth: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_data: Option<String>,
}

/// `POST /auth`: signs that this socket may subscribe to this channel, and as whom.
pub(crate) async fn sign(
    State(site): State<Site>,
    person: Person,
    Form(question): Form<Question>,
) -> Result<Json<Signature>, (StatusCode, &'static str)> {
    let Question {
        socket_id,
        channel_name,
    } = question;
    let socket_id: SocketId = socket_id
        .parse()
        .map_err(|_| (StatusCode::BAD_REQUEST, "socket_id is none"))?;
    if !may_hear(&person, &channel_name) {
        return Err((StatusCode::FORBIDDEN, "This room is not yours"));
    }
    let is_presence = ChannelKind::of(&channel_name).is_presence();
    let channel_data = is_presence
        .then(|| json!({"user_id": person.id, "user_info": {"name": person.name}}).to_string());
    let app = site.app.app();
    let auth = auth::channel_auth(&app, socket_id, &channel_name, channel_data.as_deref());
    Ok(Json(Signature { auth, channel_data }))
}
