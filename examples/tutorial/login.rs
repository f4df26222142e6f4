//! Who is talking: a cookie has the id of a session, and the session has the name.

use axum::{
    Form,
    extract::{FromRequestParts, State},
    http::{
        StatusCode,
        header::{COOKIE, SET_COOKIE},
        request::Parts,
    },
    response::IntoResponse,
};
use serde::Deserialize;

use crate::App;

/// An answer that says no.
type Refusal = (StatusCode, &'static str);

/// What the form on the page sends.
#[derive(Deserialize)]
pub(crate) struct Login {
    name: String,
    password: String,
}

impl Login {
    /// Ask your database here. It has a hash of each password (by argon2, say), never the password.
    fn is_right(&self) -> bool {
        [("ann", "apple"), ("ben", "banana")]
            .contains(&(self.name.as_str(), self.password.as_str()))
    }
}

/// Begins a session, whose id only this browser knows.
pub(crate) async fn login(
    State(app): State<App>,
    Form(login): Form<Login>,
) -> Result<impl IntoResponse, Refusal> {
    if !login.is_right() {
        return Err((StatusCode::UNAUTHORIZED, "wrong name or password"));
    }
    let id = random_id().map_err(|_| UNAVAILABLE)?;
    let begun = app.sessions.begin(&id, login.name).await;
    begun.map_err(|_| UNAVAILABLE)?;
    // Over TLS add `Secure`.
    let cookie = format!("session={id}; HttpOnly; SameSite=Lax; Path=/; Max-Age=86400");
    Ok((StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]))
}

/// Returns 128 bits that cannot be guessed.
fn random_id() -> Result<String, getrandom::Error> {
    let [high, low] = [getrandom::u64()?, getrandom::u64()?];
    Ok(format!("{high:016x}{low:016x}"))
}

/// The name of the user whose session a request belongs to. Without a session the answer is 401.
pub(crate) struct User(pub(crate) String);

impl FromRequestParts<App> for User {
    type Rejection = Refusal;

    async fn from_request_parts(head: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let id = session_id(head).ok_or(LOG_IN)?;
        let name = app.sessions.find(id).await.map_err(|_| UNAVAILABLE)?;
        Ok(Self(name.ok_or(LOG_IN)?))
    }
}

fn session_id(head: &Parts) -> Option<&str> {
    let lines = head.headers.get_all(COOKIE).iter(); // over HTTP/2 there may be several
    let mut cookies = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    cookies.find_map(|cookie| cookie.trim().strip_prefix("session="))
}

const LOG_IN: Refusal = (StatusCode::UNAUTHORIZED, "log in first");
const UNAVAILABLE: Refusal = (StatusCode::SERVICE_UNAVAILABLE, "try again later");
