//! Streams: order, resumption, and the end of work that nobody listens to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::body::{Body, to_bytes};
use futures::StreamExt;

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn seen(id: &str) -> HeaderMap {
    HeaderMap::from_iter([(LAST_EVENT_ID, HeaderValue::from_str(id).unwrap())])
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

/// Reads until the body has said `what`.
async fn read_until(body: &mut axum::body::BodyDataStream, what: &str) -> String {
    let mut read = String::new();
    while !read.contains(what) {
        let piece = body.next().await.unwrap().unwrap();
        read.push_str(std::str::from_utf8(&piece).unwrap());
    }
    read
}

fn id_of(response: &Response) -> String {
    let location = response.headers()[CONTENT_LOCATION].to_str().unwrap();
    location.rsplit_once('/').unwrap().1.to_owned()
}

async fn short(emitter: Emitter) -> Answer<()> {
    emitter.send("gate", &"pronoun");
    emitter.delta("rewrite_delta", "开原");
    emitter.delta("rewrite_delta", "有啥");
    emitter.send("rewrite", &1);
    Ok(())
}

#[tokio::test]
async fn events_come_in_order_with_ids_and_an_end() {
    let streams = Streams::new(4);
    let response = streams.answer(&tenant("a"), &HeaderMap::new(), short).await.unwrap();
    let id = id_of(&response);
    let expected = format!(
        "id: {id}:1\nevent: gate\ndata: \"pronoun\"\n\n\
         id: {id}:2\nevent: rewrite_delta\ndata: {{\"offset\":0,\"text\":\"开原\"}}\n\n\
         id: {id}:3\nevent: rewrite_delta\ndata: {{\"offset\":2,\"text\":\"有啥\"}}\n\n\
         id: {id}:4\nevent: rewrite\ndata: 1\n\nid: {id}:5\nevent: done\ndata: {{}}\n\n"
    );
    assert_eq!(text(response).await, expected);
    let rest = streams.resume(&tenant("a"), &id, &seen(&format!("{id}:3"))).await.unwrap();
    let rest = text(rest).await;
    assert!(rest.starts_with(&format!("id: {id}:4\n")) && rest.ends_with("{}\n\n"), "{rest}");
    assert!(streams.resume(&tenant("b"), &id, &HeaderMap::new()).await.is_err());
}

#[tokio::test]
async fn work_ends_with_its_last_listener_and_goes_on_with_the_next() {
    let streams = Streams::new(4);
    let (dropped, runs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    struct Mark(Arc<AtomicUsize>);
    impl Drop for Mark {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let (of_work, n_runs) = (Arc::clone(&dropped), Arc::clone(&runs));
    let work = move |emitter: Emitter| {
        let (mark, is_first) =
            (Mark(Arc::clone(&of_work)), n_runs.fetch_add(1, Ordering::SeqCst) == 0);
        async move {
            let _mark = mark;
            emitter.send("gate", &"pronoun");
            emitter.delta("rewrite_delta", "开原");
            if is_first {
                std::future::pending::<()>().await;
            }
            emitter.delta("rewrite_delta", "有啥");
            Ok(())
        }
    };
    let response = streams.answer(&tenant("a"), &HeaderMap::new(), work).await.unwrap();
    let id = id_of(&response);
    let mut body = response.into_body().into_data_stream();
    read_until(&mut body, "开原").await;
    drop(body);
    let left = Instant::now();
    while dropped.load(Ordering::SeqCst) == 0 {
        assert!(left.elapsed() < Duration::from_millis(100), "the work goes on");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seen = seen(&format!("{id}:2"));
    let again = |_| async { unreachable!("the stream is known") };
    let rest = text(streams.answer(&tenant("a"), &seen, again).await.unwrap()).await;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert!(rest.starts_with(&format!("id: {id}:3\nevent: rewrite_delta\n")), "{rest}");
    assert!(rest.contains("{\"offset\":2,\"text\":\"有啥\"}") && !rest.contains("开原"), "{rest}");
    assert!(rest.contains("event: done"), "{rest}");
}

#[tokio::test]
async fn failures_are_plain_before_the_first_event_and_events_after_it() {
    let streams = Streams::new(4);
    let at_once = |_| async { Err(Error::not_found("collection_not_found", "none").into()) };
    let refused = streams.answer(&tenant("a"), &HeaderMap::new(), at_once).await.unwrap_err();
    assert_eq!(refused.status(), 404);
    let later = |emitter: Emitter| async move {
        emitter.send("gate", &"pronoun");
        Err(Error::internal("secret").into())
    };
    let response = streams.answer(&tenant("a"), &HeaderMap::new(), later).await.unwrap();
    let said = text(response).await;
    assert!(said.contains("event: error") && !said.contains("secret"), "{said}");
    let panics = |emitter: Emitter| async move {
        emitter.send("gate", &"pronoun");
        panic!("on purpose")
    };
    let response = streams.answer(&tenant("a"), &HeaderMap::new(), panics).await.unwrap();
    assert!(text(response).await.contains("event: error"));
}

#[tokio::test]
async fn open_streams_are_limited() {
    let streams = Streams::new(1);
    let waits = |emitter: Emitter| async move {
        emitter.send("gate", &1);
        std::future::pending().await
    };
    let first = streams.answer(&tenant("a"), &HeaderMap::new(), waits).await.unwrap();
    let refused = streams.answer(&tenant("a"), &HeaderMap::new(), waits).await.unwrap_err();
    assert_eq!((refused.status().as_u16(), refused.code()), (503, "too_many_streams"));
    drop(first);
    let body: Body =
        streams.answer(&tenant("a"), &HeaderMap::new(), short).await.unwrap().into_body();
    drop(body);
}

#[test]
fn odd_event_ids_name_nothing() {
    for odd in ["", "7", "st_1:", "st_1:x", ":"] {
        assert_eq!(last_event(&seen(odd)), None, "{odd}");
    }
    assert_eq!(last_event(&seen("st_1:7")), Some(("st_1".to_owned(), 7)));
}

#[tokio::test]
async fn a_silent_stream_has_a_heartbeat_and_a_busy_one_none() {
    let streams = Streams { heartbeat: Duration::from_millis(200), ..Streams::new(4) };
    let silent = |emitter: Emitter| async move {
        emitter.send("gate", &"pronoun");
        tokio::time::sleep(Duration::from_millis(700)).await;
        Ok(())
    };
    let busy = |emitter: Emitter| async move {
        emitter.send("gate", &"pronoun");
        for _ in 0..14 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            emitter.delta("rewrite_delta", "开");
        }
        Ok(())
    };
    let silent = streams.answer(&tenant("a"), &HeaderMap::new(), silent).await.unwrap();
    let busy = streams.answer(&tenant("a"), &HeaderMap::new(), busy).await.unwrap();
    let (silent, busy) = tokio::join!(text(silent), text(busy));
    let n_beats = silent.matches("\n:\n\n").count();
    assert!((2..=3).contains(&n_beats), "{silent}");
    let (before, after) = silent.split_once("\n:\n\n").unwrap();
    assert!(before.contains("event: gate") && after.contains("event: done"), "{silent}");
    // A machine that has other things to do may be late with a delta, but not with them all.
    assert!(busy.matches("\n:\n\n").count() < 2, "{busy}");
    assert_eq!(HEARTBEAT, Duration::from_secs(15), "proxies cut off after a minute or half of it");
}
