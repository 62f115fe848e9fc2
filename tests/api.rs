//! The main job over HTTP, in Chinese and English, against the real program: fill a collection,
//! rewrite, search, change the collection, and keep tenants apart.

#[expect(dead_code, reason = "each file of tests uses a part of it")]
mod support;

use std::collections::{HashMap, HashSet};

use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use support::{Answer, Caller, DataDir, Server, create_key, send};

const NOW: &str = "2024-07-02T10:00:00+08:00";
/// For rewrites that are waited for, however busy the machine is.
const UNHURRIED_MS: u64 = 30_000;

/// Each test runs on SQLite, and on PostgreSQL where there is a server for tests.
macro_rules! on_each_database {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(super::DataDir::new()).await;
            })+
        }

        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(dir) = super::DataDir::on_postgres().await {
                    super::$test(dir).await;
                }
            })+
        }
    };
}

on_each_database! {
    what_was_put_in_is_found_with_its_place_and_its_reasons,
    filters_choose_by_metadata_and_mistakes_in_them_are_named,
    queries_are_left_alone_rewritten_or_asked_back,
    pointers_into_the_conversation_are_resolved_with_their_message,
    an_undecided_term_of_the_glossary_is_asked_back,
    the_only_sense_that_the_documents_name_is_taken,
    the_same_question_is_answered_from_the_cache,
    the_deadline_of_a_rewrite_holds,
    replacing_and_deleting_change_what_is_found,
    the_same_upload_again_changes_nothing_and_a_bad_document_hurts_no_other,
    nothing_crosses_from_one_tenant_to_another,
}

async fn rewrite(caller: &Caller, body: Value) -> Value {
    let answer = caller.post("/v1/rewrite", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("server-timing").contains("rewrite;dur="), "{answer:?}");
    answer.body
}

async fn search(caller: &Caller, body: Value) -> Value {
    let answer = caller.post("/v1/search", &body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// Searches `docs` with the words as they are.
async fn find(caller: &Caller, query: &str) -> Value {
    search(caller, json!({"query": query, "collection": "docs", "mode": "never"})).await
}

fn results(found: &Value) -> &[Value] {
    found["results"].as_array().unwrap()
}

fn document_ids(found: &Value) -> Vec<&str> {
    results(found).iter().map(|result| result["document_id"].as_str().unwrap()).collect()
}

/// Characters `start` to `end`, as the API counts.
fn slice(text: &str, span: &Value) -> String {
    let place = |name: &str| usize::try_from(span[name].as_u64().unwrap()).unwrap();
    let (start, end) = (place("start"), place("end"));
    assert!(start <= end && end <= text.chars().count(), "{span}");
    text.chars().skip(start).take(end - start).collect()
}

/// A page long enough for several passages, with characters of one to four bytes.
fn long_page() -> String {
    let section = |n: usize| {
        let sentence =
            format!("第{n}条规则🧭说明了第{n}种情况下的审批流程，由部门主管在三天之内决定。");
        format!("规则{n}\n\n{}Rule {n} needs a signature; é and 𠮷 count once.", sentence.repeat(6))
    };
    (1..=12).map(section).collect::<Vec<_>>().join("\n\n")
}

async fn fill(caller: &Caller) {
    caller.make("docs").await;
    let documents = json!([
        {"id": "export-zh", "title": "导出客户", "uri": "https://example.com/zh/export",
         "text": "打开客户列表，点击右上角的导出按钮，选择表格格式。导出的文件保留七天。",
         "metadata": {"lang": "zh", "year": 2023}},
        {"id": "price-zh", "title": "价格", "text": "云帆CRM团队版每人每月一百九十九元，按年付费八折。",
         "metadata": {"lang": "zh", "year": 2024}},
        {"id": "rules", "title": "审批规则", "text": long_page(), "metadata": {"lang": "zh"}}
    ]);
    caller.ingest("docs", documents).await;
    let lines = concat!(
        r#"{"id": "export-en", "title": "Exporting customers", "text": "Open the customer list and choose Export. The file is kept for seven days.", "metadata": {"lang": "en", "year": 2024}}"#,
        "\n\n",
        r##"{"id": "scoring-en", "media_type": "text/markdown", "text": "# Lead scoring\n\nLead scoring ranks leads from 0 to 100. Turn lead scoring off under *Settings*.", "metadata": {"lang": "en"}}"##,
        "\n"
    );
    let upload = caller.request(Method::POST, "/v1/collections/docs/documents");
    let accepted = send(upload.header(CONTENT_TYPE, "application/x-ndjson").body(lines)).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    assert_eq!(accepted.body["document_ids"], json!(["export-en", "scoring-en"]));
    let task = accepted.body["task"].as_str().unwrap();
    assert_eq!(accepted.header("location"), format!("/v1/tasks/{task}"));
    let task = caller.wait_for(task).await;
    assert_eq!(
        (&task["status"], &task["done"], &task["total"]),
        (&json!("succeeded"), &json!(2), &json!(2))
    );
}

async fn what_was_put_in_is_found_with_its_place_and_its_reasons(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    fill(caller).await;
    for (query, first) in [
        ("怎么导出客户列表？", "export-zh"),
        ("團隊版每人每月多少錢？", "price-zh"),
        ("How do I export the customer list?", "export-en"),
        ("turn lead scoring off", "scoring-en"),
    ] {
        let found = search(caller, json!({"query": query, "collection": "docs"})).await;
        assert_eq!(document_ids(&found).first(), Some(&first), "{query}: {found}");
        check_results(&found);
    }
    let rules = search(
        caller,
        json!({"query": "第7条规则的审批流程", "collection": "docs", "include_context": true}),
    )
    .await;
    check_results(&rules);
    check_context(&rules);
    let page = long_page();
    let of_rules = |result: &&Value| result["document_id"] == "rules";
    let passages: Vec<&Value> = results(&rules).iter().filter(of_rules).collect();
    assert!(passages.len() > 1 && passages.iter().any(|found| found["span"]["start"] != 0));
    for passage in passages {
        assert_eq!(slice(&page, &passage["span"]), passage["text"], "{passage}");
    }
}

/// Results are there once, say which list of which query they come from, and go down by score;
/// what a document has beyond its best three passages comes behind all others.
fn check_results(found: &Value) {
    let n_queries = found["rewrite"]["search"].as_array().unwrap().len();
    let mut n_of_document: HashMap<&str, usize> = HashMap::new();
    let places = results(found).iter().map(|result| {
        let n_before = n_of_document.entry(result["document_id"].as_str().unwrap()).or_default();
        *n_before += 1;
        (*n_before > 3, -result["score"].as_f64().unwrap())
    });
    assert!(places.is_sorted(), "{found}");
    let mut chunks = HashSet::new();
    for result in results(found) {
        assert!(chunks.insert(result["chunk_id"].as_str().unwrap()), "{result} is there twice");
        let lists = result["matched_by"].as_array().unwrap();
        assert!(!lists.is_empty(), "{result}");
        for list in lists {
            assert!(list["query"].as_u64().unwrap() as usize <= n_queries, "{result}");
            assert!(["dense", "sparse"].contains(&list["leg"].as_str().unwrap()), "{result}");
            assert!(list["rank"].as_u64().unwrap() >= 1, "{result}");
        }
    }
    let first = results(found)[0]["matched_by"].as_array().unwrap();
    assert!(first.iter().any(|list| list["rank"] == 1), "{found}");
}

/// Every marker opens a block of the context with the passage that its citation names.
fn check_context(found: &Value) {
    let text = found["context"]["text"].as_str().unwrap();
    let citations = found["context"]["citations"].as_array().unwrap();
    assert!(citations.len() > 1, "{found}");
    for (index, citation) in citations.iter().enumerate() {
        let marker = format!("[{}]", index + 1);
        assert_eq!(citation["marker"], marker);
        let result = &results(found)[index];
        assert_eq!(citation["chunk_id"], result["chunk_id"]);
        let (_, block) = text.split_once(&format!("{marker} ")).unwrap();
        let start: String = result["text"].as_str().unwrap().chars().take(20).collect();
        assert!(block.split_once('\n').unwrap().1.starts_with(&start), "{block}");
    }
}

async fn filters_choose_by_metadata_and_mistakes_in_them_are_named(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    fill(caller).await;
    let lang = |lang: &str| json!({"key": "lang", "match": {"value": lang}});
    for (filter, expected) in [
        (json!({"must": lang("en")}), vec!["export-en", "scoring-en"]),
        (json!({"must": [lang("zh"), {"key": "year", "range": {"gte": 2024}}]}), vec!["price-zh"]),
        (json!({"must_not": [lang("zh"), lang("en")]}), vec![]),
        (json!({"should": [{"key": "year", "match": {"any": [2023]}}]}), vec!["export-zh"]),
    ] {
        let body = json!({"query": "export 导出 价格", "collection": "docs", "filter": filter});
        let found = search(caller, body).await;
        let mut ids = document_ids(&found);
        ids.sort_unstable();
        assert_eq!(ids, expected, "{filter}");
    }
    for (filter, pointer) in [
        (json!({"must": [{"key": "lang", "macht": {"value": "en"}}]}), "/filter/must/0/macht"),
        (json!({"must": [lang("en"), {"key": 5, "match": {"value": 1}}]}), "/filter/must/1/key"),
        (json!({"most": []}), "/filter/most"),
    ] {
        let body = json!({"query": "export", "collection": "docs", "filter": filter});
        let answer = caller.post("/v1/search", &body).await;
        assert_eq!((answer.status, answer.pointers()), (422, vec![pointer]), "{answer:?}");
    }
    let lost = caller.post("/v1/search", &json!({"query": "export", "collection": "dosc"})).await;
    assert_eq!((lost.status, &lost.body["code"]), (404, &json!("collection_not_found")));
}

async fn queries_are_left_alone_rewritten_or_asked_back(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    for query in
        ["如何在 CRM 系统里导出客户列表？", "How do I export the customer list from the CRM?"]
    {
        let answer = rewrite(caller, json!({"query": query})).await;
        assert_eq!((&answer["action"], &answer["standalone"]), (&json!("pass"), &json!(query)));
        assert_eq!((&answer["issues"], &answer["clarification"]), (&json!([]), &Value::Null));
    }
    for (query, facts, standalone, month) in [
        (
            "帮我查下上个月的数据",
            json!({"product": "CRM系统", "region": "华东区"}),
            "帮我查下2024年6月华东区CRM系统的数据",
            "2024年6月",
        ),
        (
            "幫我查下上個月的數據",
            json!({"product": "CRM系統", "region": "華東區"}),
            "幫我查下2024年6月華東區CRM系統的數據",
            "2024年6月",
        ),
        (
            "Show me last month's data",
            json!({"product": "CRM", "region": "East China"}),
            "Show me June 2024's data for CRM in East China",
            "June 2024",
        ),
    ] {
        let context = json!({"now": NOW, "facts": facts});
        let asked = json!({"query": query, "context": context});
        let answer = rewrite(caller, asked.clone()).await;
        assert_eq!((&answer["action"], &answer["query"]), (&json!("rewrite"), &json!(query)));
        assert_eq!(answer["standalone"], standalone, "{answer}");
        let issues = answer["issues"].as_array().unwrap();
        for issue in issues {
            assert_eq!(slice(query, &issue["span"]), issue["span"]["text"], "{issue}");
        }
        let sources: HashSet<(&str, &str)> = issues
            .iter()
            .map(|issue| &issue["resolved_by"])
            .filter(|by| !by.is_null())
            .map(|by| (by["source"].as_str().unwrap(), by["text"].as_str().unwrap()))
            .collect();
        let (product, region) = (&facts["product"], &facts["region"]);
        let expected = [
            ("date", month),
            ("fact", product.as_str().unwrap()),
            ("fact", region.as_str().unwrap()),
        ];
        assert_eq!(sources, HashSet::from(expected), "{answer}");
        assert_eq!(answer["search"][0]["text"], standalone);

        let mut untouched = asked;
        untouched["mode"] = "never".into();
        let answer = rewrite(caller, untouched).await;
        assert_eq!((&answer["action"], &answer["standalone"]), (&json!("pass"), &json!(query)));
    }
}

async fn pointers_into_the_conversation_are_resolved_with_their_message(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let history = json!([
        {"role": "system", "content": "Be brief."},
        {"role": "assistant", "content": null, "tool_calls": []},
        {"role": "user", "content": [{"type": "text", "text": "开原有什么好玩的呢"}]},
        {"role": "assistant", "content": "有咸州古城、象牙山风景区"},
        {"role": "user", "content": "那有啥好吃的"}
    ]);
    let body = json!({"messages": history, "max_rewrite_ms": UNHURRIED_MS});
    let answer = rewrite(&server.caller, body).await;
    assert_eq!(answer["query"], "那有啥好吃的");
    assert_eq!(answer["standalone"], "开原有啥好吃的", "{answer}");
    let resolved_by = json!({"source": "message", "index": 2, "text": "开原"});
    assert_eq!(answer["issues"][0]["resolved_by"], resolved_by, "{answer}");
    assert!(answer["usage"]["completion_tokens"].as_u64().unwrap() > 0, "{answer}");
}

async fn an_undecided_term_of_the_glossary_is_asked_back(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    caller.make("docs").await;
    let glossary = json!({"terms": [{"id": "apple", "term": "苹果", "aliases": ["Apple"], "senses": [
        {"id": "company", "label": "苹果公司", "definition": "做手机和电脑的公司"},
        {"id": "fruit", "label": "苹果（水果）", "definition": "一种水果"}
    ]}]});
    let path = "/v1/collections/docs/glossary";
    assert_eq!(caller.put(path, &glossary).await.body, glossary);
    assert_eq!(caller.get(path).await.body, glossary);
    let question = json!({"query": "苹果最新消息", "collection": "docs", "context": {"now": NOW}});
    let answer = rewrite(caller, question.clone()).await;
    assert_eq!((&answer["action"], &answer["standalone"]), (&json!("clarify"), &question["query"]));
    let options = &answer["clarification"]["options"];
    assert_eq!(*options, json!(["苹果公司", "苹果（水果）"]), "{answer}");
    assert!(answer["clarification"]["question"].as_str().unwrap().contains("苹果"), "{answer}");

    let mut elsewhere = question.clone();
    elsewhere.as_object_mut().unwrap().remove("collection");
    assert_eq!(rewrite(caller, elsewhere).await["clarification"], Value::Null);
    assert_eq!(rewrite(caller, question.clone()).await["cache"], "hit");
    assert_eq!(caller.put(path, &json!({"terms": []})).await.status, 200);
    assert_eq!(rewrite(caller, question).await["clarification"], Value::Null);
}

async fn the_only_sense_that_the_documents_name_is_taken(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    caller.make("docs").await;
    let glossary = json!({"terms": [{"id": "apple", "term": "苹果", "aliases": [], "senses": [
        {"id": "company", "label": "苹果公司", "definition": "做手机和电脑的公司"},
        {"id": "fruit", "label": "苹果（水果）", "definition": "一种水果"}
    ]}]});
    assert_eq!(caller.put("/v1/collections/docs/glossary", &glossary).await.status, 200);
    let question = json!({"query": "苹果最新消息", "collection": "docs"});
    assert_eq!(rewrite(caller, question.clone()).await["action"], "clarify");
    caller.ingest("docs", json!([{"id": "c", "text": "苹果公司发布了财报。"}])).await;
    let answer = rewrite(caller, question.clone()).await;
    assert_eq!(
        (&answer["action"], &answer["standalone"]),
        (&json!("rewrite"), &json!("苹果公司最新消息"))
    );
    let resolved_by = json!({"source": "glossary", "term_id": "apple", "text": "苹果公司"});
    assert_eq!(answer["issues"][0]["resolved_by"], resolved_by, "{answer}");
    // Once the documents name both, the person is asked again.
    caller.ingest("docs", json!([{"id": "f", "text": "苹果是一种常见的水果。"}])).await;
    let answer = rewrite(caller, question).await;
    assert_eq!(answer["action"], "clarify", "{answer}");
}

async fn the_same_question_is_answered_from_the_cache(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let ask = async |query: &str, region: &str, now: &str| {
        let context = json!({"now": now, "facts": {"region": region}});
        rewrite(&server.caller, json!({"query": query, "context": context})).await
    };
    let first = ask("帮我查下上个月的数据", "华东区", NOW).await;
    let again = ask("帮我查下上个月的数据", "华东区", NOW).await;
    assert_eq!((&first["cache"], &again["cache"]), (&json!("miss"), &json!("hit")));
    for member in ["action", "standalone", "search", "issues"] {
        assert_eq!(first[member], again[member]);
    }
    assert_ne!(first["id"], again["id"]);
    for (region, now, standalone) in [
        ("华南区", NOW, "帮我查下2024年6月华南区的数据"),
        ("华东区", "2024-08-02T10:00:00+08:00", "帮我查下2024年7月华东区的数据"),
    ] {
        let other = ask("帮我查下上个月的数据", region, now).await;
        assert_eq!((&other["cache"], &other["standalone"]), (&json!("miss"), &json!(standalone)));
    }
}

async fn the_deadline_of_a_rewrite_holds(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let messages: Vec<Value> = (0..100)
        .map(|n| json!({"role": if n % 2 == 0 { "user" } else { "assistant" }, "content": "开原有咸州古城。".repeat(100)}))
        .collect();
    let mut totals = Vec::new();
    for n in 0..20 {
        let query = format!("那第{n}个有啥好吃的");
        let body = json!({"query": query, "messages": messages, "max_rewrite_ms": 1});
        let answer = rewrite(&server.caller, body).await;
        assert_eq!(answer["degraded"], json!(["rewrite_timeout"]), "{answer}");
        assert_eq!((&answer["action"], &answer["standalone"]), (&json!("pass"), &json!(query)));
        assert!(!answer["search"].as_array().unwrap().is_empty(), "{answer}");
        totals.push(answer["timings_ms"]["total"].as_f64().unwrap());
    }
    totals.sort_by(f64::total_cmp);
    // The worst is left out of the promise: other work on this machine can hold a thread.
    assert!(totals[10] < 21.0 && totals[19] < 200.0, "{totals:?}");
}

async fn replacing_and_deleting_change_what_is_found(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    fill(caller).await;
    let price = "云帆CRM团队版多少钱";
    let before = find(caller, price).await;
    assert!(results(&before)[0]["text"].as_str().unwrap().contains("一百九十九元"), "{before}");
    let new =
        json!([{"id": "price-zh", "title": "价格", "text": "云帆CRM团队版每人每月两百四十九元。"}]);
    caller.ingest("docs", new).await;
    let after = find(caller, price).await;
    assert_eq!(document_ids(&after).iter().filter(|id| **id == "price-zh").count(), 1, "{after}");
    assert!(results(&after)[0]["text"].as_str().unwrap().contains("两百四十九元"), "{after}");
    assert!(!after.to_string().contains("一百九十九元"), "{after}");

    let path = "/v1/collections/docs/documents/price-zh";
    assert_eq!(caller.delete(path).await.status, 204);
    assert!(!document_ids(&find(caller, price).await).contains(&"price-zh"));
    assert_eq!((caller.get(path).await.status, caller.delete(path).await.status), (404, 404));

    assert_eq!(caller.delete("/v1/collections/docs").await.status, 204);
    let lost = caller.post("/v1/search", &json!({"query": price, "collection": "docs"})).await;
    assert_eq!(lost.status, 404, "{lost:?}");
    caller.make("docs").await;
    assert_eq!(find(caller, "导出客户").await["results"], json!([]));
}

async fn the_same_upload_again_changes_nothing_and_a_bad_document_hurts_no_other(dir: DataDir) {
    let server = Server::start(dir.path()).await;
    let caller = &server.caller;
    fill(caller).await;
    let chunks = async || {
        let found = find(caller, "审批流程 规则 导出").await;
        let ids = results(&found).iter().map(|result| result["chunk_id"].clone());
        (
            ids.collect::<Vec<Value>>(),
            caller.get("/v1/collections/docs").await.body["counts"].clone(),
        )
    };
    let before = chunks().await;
    fill(caller).await;
    assert_eq!(chunks().await, before);

    let documents = json!({"documents": [
        {"id": "broken", "content_base64": "/////w==", "media_type": "text/plain"},
        {"id": "sound", "text": "The aardvark office opens at nine."}
    ]});
    let accepted = caller.post("/v1/collections/docs/documents", &documents).await;
    let task = caller.wait_for(accepted.body["task"].as_str().unwrap()).await;
    assert_eq!((&task["status"], &task["done"]), (&json!("failed"), &json!(2)), "{task}");
    assert_eq!(task["errors"][0]["document_id"], "broken", "{task}");
    assert_eq!(document_ids(&find(caller, "aardvark office").await)[0], "sound");
}

async fn nothing_crosses_from_one_tenant_to_another(dir: DataDir) {
    let server = Server::start_with(dir.path(), &[], &[]).await;
    let scopes = "query,corpus.read,corpus.write,keys.manage";
    let key = |tenant: &str| create_key(dir.path(), tenant, scopes, None);
    let (ours, theirs) = (server.with_key(&key("harbour")), server.with_key(&key("orchard")));
    for (caller, text) in [(&ours, "港口的暗号是海豚。"), (&theirs, "果园的暗号是黄莺。")]
    {
        caller.make("docs").await;
        caller.ingest("docs", json!([{"id": "password", "text": text}])).await;
    }
    ours.make("private").await;
    let upload = json!({"documents": [{"id": "ours-only", "text": "海豚在三号码头。"}]});
    let task = ours.post("/v1/collections/docs/documents", &upload).await.body["task"].clone();
    let task = task.as_str().unwrap();
    ours.wait_for(task).await;

    let found = find(&theirs, "暗号 海豚 码头").await;
    assert_eq!(document_ids(&found), ["password"], "{found}");
    assert!(!found["results"].to_string().contains("海豚"), "{found}");
    assert!(find(&ours, "暗号").await["results"].to_string().contains("海豚"));

    let missing = async |path: String| assert_missing(&theirs.get(&path).await);
    missing(format!("/v1/tasks/{task}")).await;
    missing("/v1/collections/private".into()).await;
    missing("/v1/collections/docs/documents/ours-only".into()).await;
    missing("/v1/collections/private/glossary".into()).await;
    let lists = theirs.get("/v1/collections").await.body;
    assert_eq!(lists["data"].as_array().unwrap().len(), 1, "{lists}");

    let question = json!({"query": "帮我查下上个月的数据", "context": {"now": NOW}});
    let cached = async |caller: &Caller| rewrite(caller, question.clone()).await["cache"].clone();
    assert_eq!((cached(&ours).await, cached(&ours).await), (json!("miss"), json!("hit")));
    assert_eq!(cached(&theirs).await, "miss");

    let keys = ours.get("/admin/keys").await.body;
    let our_key = format!("/admin/keys/{}", keys["data"][0]["id"].as_str().unwrap());
    assert_missing(&theirs.delete(&our_key).await);
    assert_missing(&theirs.delete("/v1/collections/docs/documents/ours-only").await);
    assert_eq!(theirs.delete("/v1/collections/docs").await.status, 204);
    assert_eq!(document_ids(&find(&ours, "三号码头").await)[0], "ours-only");
    assert_eq!(ours.delete(&our_key).await.status, 204);
    assert_eq!(ours.get("/v1/collections").await.status, 401);
}

/// A thing of another tenant is not forbidden: for the caller there is no such thing.
fn assert_missing(answer: &Answer) {
    assert_eq!(answer.status, 404, "{answer:?}");
}
