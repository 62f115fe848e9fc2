"""Makes the collection `docs` with a document `export`, for what schemathesis asks."""

import os
import time

import httpx

client = httpx.Client(
    base_url=os.environ["CLIENT_URL"],
    headers={"Authorization": f"Bearer {os.environ['CLIENT_KEY']}"},
    timeout=60,
)
client.put("/v1/collections/docs").raise_for_status()
document = {"id": "export", "title": "导出", "text": "客户画像可以在客户页面导出为表格。"}
accepted = client.post("/v1/collections/docs/documents", json={"documents": [document]})
task = accepted.raise_for_status().json()["task"]
while client.get(f"/v1/tasks/{task}").raise_for_status().json()["status"] in ("queued", "running"):
    time.sleep(0.1)
