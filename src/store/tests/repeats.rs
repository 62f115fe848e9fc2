//! What is kept for a time: answers to be repeated, and the audit trail.

use std::time::Duration;

use time::OffsetDateTime;

use super::{Bench, tenant};
use crate::store::audit::{AuditFilter, NewAuditEntry};
use crate::store::idempotency::{Attempt, Claim, StoredAnswer};

const LEASE: Duration = Duration::from_secs(30);

fn attempt(key_id: &str, body: u8) -> Attempt {
    Attempt { key_id: key_id.to_owned(), idempotency_key: "k".to_owned(), request_hash: [body; 32] }
}

fn answer() -> StoredAnswer {
    let headers = vec![("location".to_owned(), "/v1/tasks/ts_1".to_owned())];
    StoredAnswer { status: 202, headers, body: Some("任务".as_bytes().to_vec()) }
}

fn token(claim: Claim) -> String {
    let Claim::Granted(token) = claim else { panic!("{claim:?}") };
    token
}

pub(super) async fn one_of_many_claims_is_granted_and_its_answer_kept(bench: Bench) {
    let (store, one) = (&bench.store, attempt("key_1", 1));
    let claims =
        futures::future::join_all((0..50).map(|_| store.claim_idempotency(&one, LEASE))).await;
    let claims: Vec<Claim> = claims.into_iter().map(Result::unwrap).collect();
    let (granted, others): (Vec<Claim>, Vec<Claim>) =
        claims.into_iter().partition(|claim| matches!(claim, Claim::Granted(_)));
    assert_eq!((granted.len(), others), (1, vec![Claim::Running; 49]));
    let token = token(granted.into_iter().next().unwrap());
    store.complete_idempotency(&one, &token, &answer()).await.unwrap();
    let claim = async |attempt: Attempt| store.claim_idempotency(&attempt, LEASE).await.unwrap();
    assert_eq!(claim(one.clone()).await, Claim::Done(answer()));
    assert_eq!(claim(attempt("key_1", 2)).await, Claim::Mismatch);
    assert!(matches!(claim(attempt("key_2", 2)).await, Claim::Granted(_)));
    assert_eq!(store.purge_idempotency().await.unwrap(), 0);
}

pub(super) async fn claims_are_released_or_lapse(bench: Bench) {
    let (store, one) = (&bench.store, attempt("key_1", 1));
    let first = token(store.claim_idempotency(&one, LEASE).await.unwrap());
    store.release_idempotency(&one, "another's").await.unwrap();
    assert_eq!(store.claim_idempotency(&one, LEASE).await.unwrap(), Claim::Running);
    store.release_idempotency(&one, &first).await.unwrap();

    let crashed = token(store.claim_idempotency(&one, Duration::ZERO).await.unwrap());
    let second = token(store.claim_idempotency(&one, LEASE).await.unwrap());
    store.complete_idempotency(&one, &crashed, &answer()).await.unwrap();
    assert_eq!(store.claim_idempotency(&one, LEASE).await.unwrap(), Claim::Running);
    store.complete_idempotency(&one, &second, &answer()).await.unwrap();
    assert_eq!(store.claim_idempotency(&one, LEASE).await.unwrap(), Claim::Done(answer()));

    store.claim_idempotency(&attempt("key_2", 1), Duration::ZERO).await.unwrap();
    assert_eq!(store.purge_idempotency().await.unwrap(), 1);
    assert_eq!(store.claim_idempotency(&one, LEASE).await.unwrap(), Claim::Done(answer()));
}

pub(super) async fn audit_rows_are_their_tenants_and_go_with_time(bench: Bench) {
    let store = &bench.store;
    let now = OffsetDateTime::now_utc();
    let entry = |owner: Option<&str>, days: i64, n: usize| NewAuditEntry {
        tenant: owner.map(tenant),
        status: 403,
        at: now - time::Duration::days(days),
        ..NewAuditEntry::now("GET", "/v1/collections", &format!("req_{n}"))
    };
    let old: Vec<NewAuditEntry> = (0..6).map(|n| entry(Some("acme"), 91, n)).collect();
    let new = [entry(Some("acme"), 89, 6), entry(None, 0, 7), entry(Some("other"), 0, 8)];
    store.append_audit(&[&old[..], &new].concat()).await.unwrap();
    let everything = AuditFilter::default();
    let ids = async |owner: &str| {
        let page = store.list_audit(&tenant(owner), &everything, 100, None).await.unwrap();
        page.items.into_iter().map(|row| row.request_id).collect::<Vec<_>>()
    };
    assert_eq!(ids("acme").await, ["req_6", "req_5", "req_4", "req_3", "req_2", "req_1", "req_0"]);
    let filter = AuditFilter { since: Some(now - time::Duration::days(90)), ..everything.clone() };
    let recent = store.list_audit(&tenant("acme"), &filter, 100, None).await.unwrap();
    assert_eq!(recent.items.len(), 1);
    assert_eq!(store.purge_audit(now - time::Duration::days(90)).await.unwrap(), 6);
    assert_eq!(
        (ids("acme").await, ids("other").await),
        (vec!["req_6".into()], vec!["req_8".into()])
    );
    let nobodys = store.list_unauthenticated_audit(&everything, 100, None).await.unwrap().items;
    assert_eq!((nobodys.len(), nobodys[0].request_id.as_str()), (1, "req_7"));
}
