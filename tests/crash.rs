//! An acknowledged document survives `kill -9`: 20 rounds of uploads that end with a kill at a
//! random moment, then an account of everything that was acknowledged. And SIGTERM ends well.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use support::{Caller, DataDir, Server};

const SEED: u64 = 20_251_124;
const N_ROUNDS: u64 = 20;
const N_WRITERS: u64 = 3;
const N_BATCHES: u64 = 10;
const N_DOCUMENTS: u64 = 4;
/// A kill falls between the first request and this long after it: in every other round among the
/// uploads, in the others mostly among the indexer's work.
const LATEST_KILL: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(600)];
const DOCUMENTS: &str = "/v1/collections/docs/documents";

/// What a writer knows of a document.
#[derive(Debug, Default)]
struct Known {
    /// The word of the last text that was acknowledged, and the task of it.
    acknowledged: Option<(String, String)>,
    /// The word of a later text whose upload was cut off: it may be there or not.
    in_doubt: Option<String>,
}

type Ledger = BTreeMap<String, Known>;

/// A word that no other number has, of letters that no stemmer takes away.
fn unique_word(number: u64) -> String {
    let letters: Vec<char> = "bcfhjkmnpqrtvwxz".chars().collect();
    let letter = |place: u32| letters[(number >> (4 * place)) as usize % 16];
    (0..8).map(letter).chain(['o']).collect()
}

/// One batch: mostly new documents, some new texts for old ones.
fn batch(ledger: &Ledger, own: &[String], random: &mut StdRng) -> Vec<(String, String)> {
    let mut documents = BTreeMap::new();
    for _ in 0..N_DOCUMENTS {
        let number = random.random::<u32>().into();
        let old = own.choose(random).filter(|_| random.random_bool(0.2));
        let id = old.cloned().unwrap_or_else(|| format!("doc-{number:08x}"));
        if ledger.get(&id).is_none_or(|known| known.in_doubt.is_none()) {
            documents.insert(id, unique_word(number));
        }
    }
    documents.into_iter().collect()
}

/// Uploads batches one after the other until the server is gone.
async fn write(caller: Caller, mut ledger: Ledger, mut random: StdRng) -> Ledger {
    for _ in 0..N_BATCHES {
        let own: Vec<String> = ledger.keys().cloned().collect();
        let documents = batch(&ledger, &own, &mut random);
        let bodies = documents.iter().map(|(id, word)| {
            json!({"id": id, "text": format!("The {word} is kept in drawer {id}.\n\n{word}在抽屉里。")})
        });
        let body = json!({"documents": bodies.collect::<Vec<Value>>()});
        let answer = caller.request(Method::POST, DOCUMENTS).json(&body).send().await;
        let task = match answer {
            Ok(answer) if answer.status() == 202 => answer.json::<Value>().await.ok(),
            Ok(answer) => panic!("{answer:?}"),
            Err(_) => None,
        };
        for (id, word) in documents {
            let known = ledger.entry(id).or_default();
            match &task {
                Some(task) => {
                    known.acknowledged = Some((word, task["task"].as_str().unwrap().to_owned()));
                }
                None => known.in_doubt = Some(word),
            }
        }
        if task.is_none() {
            break;
        }
    }
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_documents_survive_kills() {
    kill_again_and_again(DataDir::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_documents_survive_kills_on_postgres() {
    if let Some(dir) = DataDir::on_postgres().await {
        kill_again_and_again(dir).await;
    }
}

async fn kill_again_and_again(dir: DataDir) {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut ledgers: Vec<Ledger> = (0..N_WRITERS).map(|_| Ledger::new()).collect();
    let mut n_cut_off = 0;
    for round in 0..N_ROUNDS {
        let server = Server::start(dir.path()).await;
        server.caller.make("docs").await;
        check_some(&server.caller, &ledgers, &mut random).await;
        let writers: Vec<_> = ledgers
            .drain(..)
            .map(|ledger| {
                let random = StdRng::seed_from_u64(random.random());
                tokio::spawn(write(server.caller.clone(), ledger, random))
            })
            .collect();
        let moment = random.random_range(Duration::ZERO..LATEST_KILL[(round % 2) as usize]);
        tokio::time::sleep(moment).await;
        server.kill();
        for writer in writers {
            ledgers.push(writer.await.unwrap());
        }
        let known = ledgers.iter().flat_map(BTreeMap::values);
        let in_doubt = known.filter(|known| known.in_doubt.is_some()).count();
        n_cut_off += u64::from(in_doubt > n_cut_off as usize);
        println!("round {round}: killed after {moment:?}, {in_doubt} documents in doubt so far");
    }
    let server = Server::start(dir.path()).await;
    let n_acknowledged = account(&server.caller, &ledgers).await;
    assert!(n_acknowledged > 300, "{n_acknowledged} documents are too few to prove anything");
    assert!(n_cut_off > 2, "only {n_cut_off} rounds ended within an upload");
}

/// Right after a restart, a few of the acknowledged documents.
async fn check_some(caller: &Caller, ledgers: &[Ledger], random: &mut StdRng) {
    for ledger in ledgers {
        let ids: Vec<&String> = ledger.keys().collect();
        for id in ids.choose_multiple(random, 3) {
            let status = caller.get(&format!("{DOCUMENTS}/{id}")).await.status;
            assert!(status == 200 || ledger[*id].acknowledged.is_none(), "{id}: {status}");
        }
    }
}

/// Waits for every acknowledged upload, and for those in doubt that did arrive.
async fn settle(caller: &Caller, ledgers: &[Ledger]) {
    for (id, known) in ledgers.iter().flatten() {
        if let Some((_, task)) = &known.acknowledged {
            let task = caller.wait_for(task).await;
            assert_eq!(task["status"], "succeeded", "{id}: {task}");
        }
        if let Some(task) = caller.get(&format!("{DOCUMENTS}/{id}")).await.body["task"].as_str() {
            caller.wait_for(task).await;
        }
    }
}

/// Looks every document up, by its id and by its word, and sees that nothing is there twice.
async fn account(caller: &Caller, ledgers: &[Ledger]) -> usize {
    settle(caller, ledgers).await;
    let mut document_of_chunk: HashMap<String, String> = HashMap::new();
    let mut n_present = 0;
    let mut n_acknowledged = 0;
    for (id, known) in ledgers.iter().flatten() {
        n_acknowledged += usize::from(known.acknowledged.is_some());
        let document = caller.get(&format!("{DOCUMENTS}/{id}")).await;
        let acknowledged = known.acknowledged.as_ref().map(|(word, _)| word);
        if document.status == 404 && acknowledged.is_none() {
            continue;
        }
        assert_eq!(document.status, 200, "{id} is lost: {known:?}");
        n_present += 1;
        let words: Vec<&String> = acknowledged.into_iter().chain(&known.in_doubt).collect();
        let mut n_found = 0;
        for word in words {
            let body = json!({"query": word, "collection": "docs", "mode": "never", "top_k": 3});
            let found = caller.post("/v1/search", &body).await.body;
            for result in found["results"].as_array().unwrap() {
                let (chunk, of) = (&result["chunk_id"], result["document_id"].as_str().unwrap());
                let chunk = chunk.as_str().unwrap().to_owned();
                let before = document_of_chunk.insert(chunk, of.to_owned());
                assert!(before.is_none_or(|before| before == of), "{found}");
            }
            let first = &found["results"][0];
            if first["text"].as_str().unwrap().contains(word.as_str()) {
                assert_eq!(first["document_id"], **id, "{found}");
                n_found += 1;
            }
        }
        assert_eq!(n_found, 1, "{id} is not found by just one of its words: {known:?}");
    }
    let counts = caller.get("/v1/collections/docs").await.body["counts"].clone();
    assert_eq!(counts["documents"], n_present, "{counts}");
    assert_eq!(counts["chunks"], n_present, "each document is one passage: {counts}");
    assert_eq!(counts["pending_chunks"], 0, "{counts}");
    assert_eq!(document_of_chunk.len(), n_present, "a passage of each document, and no more");
    n_acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_the_server_in_time_with_its_work_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    let caller = server.caller.clone();
    caller.make("docs").await;
    let writers: Vec<_> = (0..2)
        .map(|n| tokio::spawn(write(caller.clone(), Ledger::new(), StdRng::seed_from_u64(n))))
        .collect();
    tokio::time::sleep(Duration::from_millis(30)).await;
    let started = Instant::now();
    let status = server.terminate(Duration::from_secs(10)).expect("still running after 10 s");
    assert_eq!(status.code(), Some(0));
    println!("ended after {:?}", started.elapsed());
    let mut ledgers = Vec::new();
    for writer in writers {
        ledgers.push(writer.await.unwrap());
    }
    let server = Server::start(dir.path()).await;
    assert!(account(&server.caller, &ledgers).await > 0);
}
