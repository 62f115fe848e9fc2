"""The peer of `benches/training.rs`: the same steps with transformers and torch. Reads one JSON
object from the file named on the command line, then one line a round from standard input; answers
each with the seconds that the round's steps took, and at the end with its peak memory."""

import json
import resource
import sys
import time

import torch
import transformers


def padded(rows):
    longest = max(len(row["tokens"]) for row in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), longest), -100)
    for index, row in enumerate(rows):
        n = len(row["tokens"])
        ids[index, :n] = torch.tensor(row["tokens"])
        mask[index, :n] = 1
        labels[index, row["n_prompt"] : n] = ids[index, row["n_prompt"] : n]
    return ids, mask, labels


def loss_of(model, batch, answers_only):
    ids, mask, labels = batch
    if not answers_only:
        return model(input_ids=ids, attention_mask=mask, labels=labels).loss
    hidden = model.model(input_ids=ids, attention_mask=mask).last_hidden_state[:, :-1]
    targets = labels[:, 1:]
    wanted = targets != -100
    logits = model.lm_head(hidden[wanted])
    return torch.nn.functional.cross_entropy(logits, targets[wanted])


def main():
    with open(sys.argv[1]) as file:
        task = json.load(file)
    torch.set_num_threads(task["threads"])
    model = transformers.AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=task["learning_rate"])
    batches = [padded(rows) for rows in task["batches"]]
    for line in sys.stdin:
        answers_only = line.strip() == "answers"
        start = time.perf_counter()
        for batch in batches:
            optimizer.zero_grad()
            loss = loss_of(model, batch, answers_only)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "loss": loss.item(), "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main()
