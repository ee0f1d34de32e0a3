//! Streams: how soon events arrive, and what ends them.

use bytes::Bytes;
use futures_util::stream;
use http_body::Body as _;
use hyper::body::Incoming;
use tokio::sync::mpsc::{Sender, channel};

use super::*;

type Events = Sender<&'static str>;

/// A backend that answers with a stream per request, fed by what it sends out here.
async fn streaming() -> (Gate, tokio::sync::mpsc::Receiver<Events>) {
    let (out, opened) = channel(8);
    let gate = Gate::start(move |_| {
        let out = out.clone();
        async move {
            let (events, feed) = channel::<&'static str>(8);
            out.send(events).await.unwrap();
            let body =
                stream::unfold(feed, |mut feed| async { feed.recv().await.map(|event| (Ok::<_, std::io::Error>(event), feed)) });
            Response::builder().header("content-type", "text/event-stream").body(Body::from_stream(body)).unwrap()
        }
    })
    .await;
    (gate, opened)
}

async fn next(body: &mut Incoming) -> Option<Bytes> {
    body.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
}

impl Gate {
    async fn get(&self) -> Response<Incoming> {
        self.send(self.request().method("GET").body(Body::empty()).unwrap()).await
    }
}

#[tokio::test]
async fn px_06_each_event_arrives_before_the_next_is_sent() {
    let (gate, mut opened) = streaming().await;
    let response = gate.post().await;
    assert_eq!(header(&response, "content-type"), "text/event-stream");
    assert_eq!(header(&response, "x-accel-buffering"), "no");
    assert_eq!(header(&response, "cache-control"), "no-store, no-transform");
    let (events, mut body) = (opened.recv().await.unwrap(), response.into_body());
    for event in ["data: 1\n\n", ": keep-alive\r\n\r\n", "id: 3\ndata: {", "}\n\n"] {
        events.send(event).await.unwrap();
        assert_eq!(next(&mut body).await.unwrap(), event);
    }
    drop(events);
    assert_eq!(next(&mut body).await, None);
}

#[tokio::test]
async fn px_07_a_client_that_leaves_ends_the_backends_work() {
    let (gate, mut opened) = streaming().await;
    let mut body = gate.post().await.into_body();
    let events = opened.recv().await.unwrap();
    events.send("data: 1\n\n").await.unwrap();
    next(&mut body).await.unwrap();
    drop(body);
    // Ready only when the backend's own server has dropped the answer.
    events.closed().await;
}

#[tokio::test]
async fn px_07_also_before_the_answer_began() {
    let (out, mut started) = channel::<tokio::sync::oneshot::Sender<()>>(1);
    let gate = Gate::start(move |_| {
        let out = out.clone();
        async move {
            let (alive, gone) = tokio::sync::oneshot::channel();
            out.send(alive).await.unwrap();
            // Nobody ever answers; `gone` lives as long as this handler.
            let _ = gone.await;
            answer(200, "application/json", "{}")
        }
    })
    .await;
    let (client, request) = (gate.client.clone(), gate.request().body(Body::from(PING)).unwrap());
    let call = tokio::spawn(async move { client.request(request).await });
    let mut alive = started.recv().await.unwrap();
    call.abort();
    alive.closed().await;
}

#[tokio::test]
async fn i4_a_revoked_grant_ends_its_streams() {
    let (gate, mut opened) = streaming().await;
    let (mut get, mut post) = (gate.get().await.into_body(), gate.post().await.into_body());
    let (first, second) = (opened.recv().await.unwrap(), opened.recv().await.unwrap());
    first.send("data: 1\n\n").await.unwrap();
    second.send("data: 1\n\n").await.unwrap();
    assert!(next(&mut get).await.is_some() && next(&mut post).await.is_some());
    gate.revoked.0.lock().unwrap().insert(GrantId::from_stored("g_1".to_owned()));
    assert_eq!((next(&mut get).await, next(&mut post).await), (None, None));
    first.closed().await;
    second.closed().await;
    assert_eq!(gate.get().await.status(), 401);
}

#[tokio::test]
async fn a_standing_stream_ends_with_its_token_and_an_answer_a_little_later() {
    let (gate, mut opened) = streaming().await;
    let (mut get, mut post) = (gate.get().await.into_body(), gate.post().await.into_body());
    let (_first, second) = (opened.recv().await.unwrap(), opened.recv().await.unwrap());
    gate.clock.0.store(NOW + 300, Ordering::SeqCst);
    assert_eq!(next(&mut get).await, None);
    second.send("data: late\n\n").await.unwrap();
    assert_eq!(next(&mut post).await.unwrap(), "data: late\n\n");
    gate.clock.0.store(NOW + 600, Ordering::SeqCst);
    assert_eq!(next(&mut post).await, None);
    second.closed().await;
}

#[tokio::test]
async fn a_cut_json_answer_looks_cut() {
    let (out, mut opened) = channel::<Events>(1);
    let gate = Gate::start(move |_| {
        let out = out.clone();
        async move {
            let (events, feed) = channel::<&'static str>(8);
            out.send(events).await.unwrap();
            let body =
                stream::unfold(feed, |mut feed| async { feed.recv().await.map(|event| (Ok::<_, std::io::Error>(event), feed)) });
            Response::builder().header("content-type", "application/json").body(Body::from_stream(body)).unwrap()
        }
    })
    .await;
    let mut body = gate.post().await.into_body();
    let events = opened.recv().await.unwrap();
    events.send("{\"a\":").await.unwrap();
    next(&mut body).await.unwrap();
    gate.revoked.0.lock().unwrap().insert(GrantId::from_stored("g_1".to_owned()));
    assert!(body.frame().await.unwrap().is_err());
    assert!(!body.is_end_stream() || body.frame().await.is_none());
}
