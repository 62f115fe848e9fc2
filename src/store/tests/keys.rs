//! Keys: made, shown once, checked, expired, revoked.

use time::{Duration, OffsetDateTime};

use super::{Bench, tenant};
use crate::error::Kind;
use crate::store::access::{KeyLimits, NewKey, Scope};

pub(super) async fn a_key_opens_its_tenant_and_scopes_and_nothing_else(bench: Bench) {
    let owner = tenant("acme");
    let scopes = vec![Scope::Query, Scope::CorpusRead];
    let limits = KeyLimits { rate_per_minute: Some(60), max_concurrent: Some(0) };
    let name = Some("前端".to_owned());
    let new = NewKey { name, scopes: scopes.clone(), expires_at: None, limits };
    let created = bench.store.create_key(&owner, new).await.unwrap();
    assert_eq!(created.secret.len(), 46);
    assert!(created.secret.starts_with(&created.key.prefix));
    assert!(!format!("{created:?}").contains(&created.secret));

    let principal = bench.store.verify_key(&created.secret).await.unwrap().unwrap();
    assert_eq!((principal.key_id.as_str(), &principal.tenant), (created.key.id.as_str(), &owner));
    assert_eq!((&principal.scopes, principal.limits), (&scopes, limits));
    assert!(principal.may(Scope::Query) && !principal.may(Scope::CorpusWrite));

    let mut wrong = created.secret.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == 'a' { 'b' } else { 'a' });
    let strangers =
        [wrong.as_str(), "", "qk_", "%", "qk_' OR 1=1 --", &created.key.prefix, &"钥".repeat(50)];
    for stranger in strangers {
        assert!(bench.store.verify_key(stranger).await.unwrap().is_none(), "{stranger:?}");
    }
}

pub(super) async fn the_secret_is_nowhere_on_disk(bench: Bench) {
    let new = NewKey { scopes: vec![Scope::Query], ..NewKey::default() };
    let secret = bench.store.create_key(&tenant("acme"), new).await.unwrap().secret;
    bench.store.close().await;
    for entry in fs_err::read_dir(bench.directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs_err::read(&path).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{}", path.display());
        }
    }
}

pub(super) async fn expired_and_revoked_keys_open_nothing(bench: Bench) {
    let owner = tenant("acme");
    let key = |expires_at| NewKey { scopes: vec![Scope::Query], expires_at, ..NewKey::default() };
    let now = OffsetDateTime::now_utc();
    let past = Some(now - Duration::seconds(1));
    let expired = bench.store.create_key(&owner, key(past)).await.unwrap();
    assert!(bench.store.verify_key(&expired.secret).await.unwrap().is_none());
    let valid = bench.store.create_key(&owner, key(Some(now + Duration::HOUR))).await.unwrap();
    assert!(bench.store.verify_key(&valid.secret).await.unwrap().is_some());

    let foreign = bench.store.revoke_key(&tenant("other"), &valid.key.id).await.unwrap_err();
    assert_eq!(foreign.kind, Kind::NotFound);
    assert!(bench.store.verify_key(&valid.secret).await.unwrap().is_some());
    bench.store.revoke_key(&owner, &valid.key.id).await.unwrap();
    assert!(bench.store.verify_key(&valid.secret).await.unwrap().is_none());
    let first = bench.store.list_keys(&owner, 10, None).await.unwrap();
    bench.store.revoke_key(&owner, &valid.key.id).await.unwrap();
    assert_eq!(bench.store.list_keys(&owner, 10, None).await.unwrap(), first);
    assert_eq!(first.items.len(), 2);
    assert!(first.items[1].revoked_at.is_some());
    assert!(bench.store.list_keys(&tenant("other"), 10, None).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn scopes_have_one_spelling() {
    for scope in Scope::ALL {
        assert_eq!(scope.as_str().parse::<Scope>().unwrap(), scope);
    }
    let error = "admin".parse::<Scope>().unwrap_err();
    assert!(error.message.contains("models.promote"), "the message lists what exists");
    let bench = Bench::new().await;
    let none = bench.store.create_key(&tenant("acme"), NewKey::default()).await.unwrap_err();
    assert_eq!(none.code, "no_scopes");
}

#[tokio::test]
async fn the_last_use_of_a_key_is_noted_to_the_minute() {
    let bench = Bench::new().await;
    let owner = tenant("acme");
    let new = NewKey { scopes: vec![Scope::Query], ..NewKey::default() };
    let created = bench.store.create_key(&owner, new).await.unwrap();
    let is_worth = async || {
        let principal = bench.store.verify_key(&created.secret).await.unwrap().unwrap();
        principal.is_use_worth_noting
    };
    let last_use = async || {
        let keys = bench.store.list_keys(&owner, 10, None).await.unwrap();
        keys.items[0].last_used_at
    };
    assert_eq!((is_worth().await, last_use().await), (true, None));
    let ids = [created.key.id.clone(), "key_unknown".to_owned()];
    bench.store.note_key_uses(&ids).await.unwrap();
    let noted = last_use().await;
    assert!(noted.is_some() && !is_worth().await);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    bench.store.note_key_uses(&ids).await.unwrap();
    assert_eq!(last_use().await, noted, "it is written once a minute");
}
