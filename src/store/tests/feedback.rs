//! Feedback and the requests it is about: kept, found, forgotten and purged.

use time::{Duration, OffsetDateTime};

use super::{Bench, tenant};
use crate::store::feedback::{
    Feedback, FeedbackFilter, FeedbackKind, NewFeedback, RequestForm, StoredRequest,
};
use crate::store::sql::query;
use crate::store::{Store, TenantId, to_ms};

/// The detail of a request, with what a database could stumble over.
const DETAIL: &str = r#"{"query":"那有啥好吃的","results":[{"chunk_id":"ck_1","score":0.5}]}"#;

fn request(id: &str, user: Option<&str>, expires_at: Option<OffsetDateTime>) -> StoredRequest {
    StoredRequest {
        id: id.to_owned(),
        rewrite_id: id.replace("se_", "rw_"),
        user: user.map(str::to_owned),
        collection: Some("docs".to_owned()),
        form: RequestForm::Plain,
        rewriter: None,
        embedder: "test@1".to_owned(),
        detail: DETAIL.to_owned(),
        // To the millisecond, as it is stored.
        created_at: OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(1_700_000_000_123),
        expires_at,
    }
}

fn given(target: &str, kind: FeedbackKind, user: Option<&str>) -> NewFeedback {
    NewFeedback {
        target: target.to_owned(),
        kind,
        chunk_id: None,
        value: Some(1.0),
        text: None,
        user: user.map(str::to_owned),
    }
}

async fn give(store: &Store, owner: &TenantId, new: &NewFeedback, about: &StoredRequest) {
    store.put_feedback(owner, new, &about.id, Some(about)).await.unwrap();
}

async fn all(store: &Store, owner: &TenantId) -> Vec<Feedback> {
    store.list_feedback(owner, &FeedbackFilter::default(), 100, None).await.unwrap().items
}

/// A moment as it is stored.
fn in_days(days: i64) -> OffsetDateTime {
    let moment = OffsetDateTime::now_utc() + Duration::days(days);
    moment.replace_nanosecond(0).unwrap()
}

pub(super) async fn feedback_is_kept_with_its_request_and_replaced_by_its_like(bench: Bench) {
    let (owner, store) = (tenant("acme"), &bench.store);
    let about = request("se_1", Some("u1"), Some(in_days(30)));
    let mut thumb = given("se_1", FeedbackKind::Thumb, Some("u1"));
    give(store, &owner, &thumb, &about).await;
    let first = all(store, &owner).await;
    thumb.value = Some(-1.0);
    thumb.chunk_id = None;
    give(store, &owner, &thumb, &about).await;
    let click = NewFeedback {
        chunk_id: Some("ck_1".to_owned()),
        value: None,
        text: Some("'; DROP TABLE feedback; --".to_owned()),
        ..given("se_1", FeedbackKind::Click, None)
    };
    give(store, &owner, &click, &about).await;
    let second = all(store, &owner).await;
    assert_eq!(second.len(), 2, "{second:?}");
    assert_eq!((&second[0].given, &second[1].given), (&thumb, &click));
    assert_eq!((&second[0].id, second[0].created_at), (&first[0].id, first[0].created_at));
    assert!(second[0].updated_at >= first[0].updated_at);
    // What has feedback does not expire by itself.
    let kept = StoredRequest { expires_at: None, ..about };
    assert_eq!(second[0].request.as_ref(), Some(&kept));
    for id in ["se_1", "rw_1"] {
        assert_eq!(store.find_request(&owner, id).await.unwrap().as_ref(), Some(&kept));
        assert_eq!(store.find_request(&tenant("other"), id).await.unwrap(), None);
    }
}

pub(super) async fn feedback_comes_in_pages_and_by_what_is_wanted(bench: Bench) {
    let (owner, store) = (tenant("acme"), &bench.store);
    for (n, user) in ["u1", "u2", "u1", "u1", "u2"].into_iter().enumerate() {
        let id = format!("se_{n}");
        let kind = if n == 2 { FeedbackKind::Edit } else { FeedbackKind::Thumb };
        give(store, &owner, &given(&id, kind, Some(user)), &request(&id, None, None)).await;
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let filter = FeedbackFilter::default();
        let page = store.list_feedback(&owner, &filter, 2, after.as_deref()).await.unwrap();
        assert!(page.items.len() <= 2);
        seen.extend(page.items.into_iter().map(|feedback| feedback.given.target));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["se_0", "se_1", "se_2", "se_3", "se_4"]);
    let user = Some("u1".to_owned());
    for (filter, n) in [
        (FeedbackFilter { user: user.clone(), ..Default::default() }, 3),
        (FeedbackFilter { kind: Some(FeedbackKind::Edit), ..Default::default() }, 1),
        (FeedbackFilter { target: Some("se_4".to_owned()), ..Default::default() }, 1),
        (FeedbackFilter { user, kind: Some(FeedbackKind::Thumb), target: None }, 2),
    ] {
        let found = store.list_feedback(&owner, &filter, 100, None).await.unwrap().items;
        assert_eq!(found.len(), n, "{filter:?}");
        let other = store.list_feedback(&tenant("other"), &filter, 100, None).await.unwrap();
        assert!(other.items.is_empty());
    }
}

pub(super) async fn a_user_is_forgotten_with_what_others_said_of_their_requests(bench: Bench) {
    let (owner, other, store) = (tenant("acme"), tenant("other"), &bench.store);
    let of_u1 = request("se_1", Some("u1"), None);
    let of_u2 = request("se_2", Some("u2"), None);
    for (about, user) in [(&of_u1, "u1"), (&of_u1, "u2"), (&of_u2, "u2")] {
        let mut new = given(&about.id, FeedbackKind::Dwell, Some(user));
        new.chunk_id = Some(format!("ck_{user}"));
        give(store, &owner, &new, about).await;
    }
    let theirs = request("se_3", Some("u1"), None);
    give(store, &other, &given("se_3", FeedbackKind::Thumb, Some("u1")), &theirs).await;
    assert_eq!(store.delete_feedback(&owner, Some("u1")).await.unwrap(), (2, 1));
    let left = all(store, &owner).await;
    assert_eq!((left.len(), left[0].given.target.as_str()), (1, "se_2"), "{left:?}");
    assert_eq!(store.delete_feedback(&owner, Some("u1")).await.unwrap(), (0, 0));
    assert_eq!(store.delete_feedback(&owner, None).await.unwrap(), (1, 1));
    assert_eq!(all(store, &other).await.len(), 1, "another tenant's stays");
}

pub(super) async fn what_is_older_than_its_time_is_purged(bench: Bench) {
    let (owner, store) = (tenant("acme"), &bench.store);
    let logged = |id: &str, days| (owner.clone(), request(id, None, Some(in_days(days))));
    let rows = [logged("se_old", -1), logged("se_new", 1), logged("se_old_said", -1)];
    store.put_requests(&rows).await.unwrap();
    let said = given("se_old_said", FeedbackKind::Thumb, None);
    give(store, &owner, &said, &rows[2].1).await;
    // Feedback is kept for ever, and with it the request.
    assert_eq!(store.purge_feedback(None).await.unwrap(), 1);
    for (id, is_there) in [("se_old", false), ("se_new", true), ("se_old_said", true)] {
        let found = store.find_request(&owner, id).await.unwrap();
        assert_eq!(found.is_some(), is_there, "{id}");
    }
    // Thirty days, and what was said longer ago goes with its request.
    let age = |days: i64| Some(OffsetDateTime::now_utc() - Duration::days(days));
    assert_eq!(store.purge_feedback(age(30)).await.unwrap(), 0);
    query("UPDATE feedback SET updated_at = $1")
        .bind(to_ms(in_days(-31)))
        .execute(&store.writer)
        .await
        .unwrap();
    assert_eq!(store.purge_feedback(age(32)).await.unwrap(), 0);
    assert_eq!(store.purge_feedback(age(30)).await.unwrap(), 2);
    assert!(all(store, &owner).await.is_empty());
    assert_eq!(store.find_request(&owner, "se_old_said").await.unwrap(), None);
    assert!(store.find_request(&owner, "se_new").await.unwrap().is_some());
}

pub(super) async fn a_salt_is_drawn_once(bench: Bench) {
    let salts = futures::future::join_all((0..8).map(|_| bench.store.salt("queries"))).await;
    let salts: Vec<Vec<u8>> = salts.into_iter().map(Result::unwrap).collect();
    assert!(salts.iter().all(|salt| *salt == salts[0] && salt.len() == 32));
    assert_ne!(bench.store.salt("others").await.unwrap(), salts[0]);
}
