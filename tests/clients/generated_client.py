"""Uses the client that openapi-python-client makes: fills a collection, searches it, and reads a
refusal. `run` puts the package `querent_client` on the path."""

import os
import time
from http import HTTPStatus

from querent_client import AuthenticatedClient
from querent_client.api.asking import rewrite_query, search_passages
from querent_client.api.corpus import create_documents, get_task, list_documents, put_collection
from querent_client.models import (
    CollectionRequest,
    DocumentsRequest,
    Problem,
    RewriteRequest,
    SearchRequest,
)

client = AuthenticatedClient(base_url=os.environ["CLIENT_URL"], token=os.environ["CLIENT_KEY"])

made = put_collection.sync_detailed(
    "made-in-python", client=client, body=CollectionRequest(description="客户手册")
)
assert made.status_code in (HTTPStatus.OK, HTTPStatus.CREATED), made
documents = {
    "documents": [
        {"id": "export", "title": "导出", "text": "客户画像可以在客户页面导出为表格。"},
        {"id": "leads", "text": "Leads are assigned by region.", "metadata": {"lang": "en"}},
    ]
}
accepted = create_documents.sync(
    "made-in-python", client=client, body=DocumentsRequest.from_dict(documents)
)
task = get_task.sync(accepted.task, client=client)
while task.status in ("queued", "running"):
    time.sleep(0.1)
    task = get_task.sync(accepted.task, client=client)
assert task.status == "succeeded", task

listed = list_documents.sync("made-in-python", client=client, limit=1)
assert len(listed.data) == 1 and listed.has_more, listed

found = search_passages.sync(
    client=client, body=SearchRequest(query="怎么导出客户画像", collection="made-in-python", top_k=1)
)
assert found.results[0].document_id == "export", found

question = {
    "query": "那怎么导出",
    "messages": [{"role": "user", "content": "客户画像在哪里看"}],
    "max_rewrite_ms": 30000,
}
rewritten = rewrite_query.sync(client=client, body=RewriteRequest.from_dict(question))
assert rewritten.standalone and rewritten.action in ("pass", "rewrite", "clarify"), rewritten

missing = list_documents.sync("nothing-here", client=client)
assert isinstance(missing, Problem) and missing.status == 404, missing
assert missing.code == "collection_not_found", missing
print("the Python client works")
