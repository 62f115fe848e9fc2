//! An OpenAI-compatible server for tests, which does what a test tells it to.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// What the server does with the next requests.
#[derive(Debug, Clone)]
pub enum Behaviour {
    /// A chat completion that says this.
    Say(String),
    /// A chat completion after a while.
    SayAfter(Duration, String),
    /// A chat completion, but only to a body without `chat_template_kwargs`.
    SayStrictly(String),
    Status(u16),
    RedirectTo(String),
    /// A body with status 200.
    Raw(String),
    /// Nothing at all.
    Hang,
    /// The start of a body, and then a space now and then.
    Drip,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Value,
}

/// The server; it ends with the test's runtime.
#[derive(Clone)]
pub struct FakeModel {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<Asked>>,
}

impl FakeModel {
    pub async fn start(behaviour: Behaviour) -> Self {
        let shared =
            Arc::new(Shared { behaviour: Mutex::new(behaviour), asked: Mutex::new(Vec::new()) });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared }
    }

    pub fn now(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    /// What has been asked since the last look.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.asked.lock().unwrap())
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let is_strange = body.get("chat_template_kwargs").is_some();
    shared.asked.lock().unwrap().push(Asked { path: uri.path().to_owned(), headers, body });
    let behaviour = shared.behaviour.lock().unwrap().clone();
    match behaviour {
        Behaviour::Say(text) => completion(&text),
        Behaviour::SayAfter(pause, text) => {
            tokio::time::sleep(pause).await;
            completion(&text)
        }
        Behaviour::SayStrictly(_) if is_strange => StatusCode::UNPROCESSABLE_ENTITY.into_response(),
        Behaviour::SayStrictly(text) => completion(&text),
        Behaviour::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Behaviour::RedirectTo(place) => {
            (StatusCode::TEMPORARY_REDIRECT, [("location", place)]).into_response()
        }
        Behaviour::Raw(text) => text.into_response(),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::Drip => {
            let drops = futures::stream::unfold(0, |n| async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Some((Ok::<_, Infallible>(if n == 0 { "{" } else { " " }), n + 1))
            });
            Body::from_stream(drops).into_response()
        }
    }
}

fn completion(text: &str) -> Response {
    let body = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "tiny",
        "choices": [{
            "index": 0, "finish_reason": "stop",
            "message": {"role": "assistant", "content": text},
        }],
        "usage": {"prompt_tokens": 301, "completion_tokens": 7, "total_tokens": 308},
    });
    axum::Json(body).into_response()
}
