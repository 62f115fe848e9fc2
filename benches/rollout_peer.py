"""The peer of `benches/rollout.rs`: the same answers with `transformers.generate`. Reads one JSON
object from the file named on the command line, then one line a round from standard input; answers
each with the seconds that the round took."""

import json
import sys
import time

import torch
import transformers


def main():
    with open(sys.argv[1]) as file:
        task = json.load(file)
    torch.set_num_threads(task["threads"])
    model = transformers.AutoModelForCausalLM.from_pretrained(task["model"], dtype=torch.float32)
    model.eval()
    longest = max(len(prompt) for prompt in task["prompts"])
    # Padded on the left, as generation needs it.
    ids = torch.zeros(len(task["prompts"]), longest, dtype=torch.long)
    mask = torch.zeros(len(task["prompts"]), longest, dtype=torch.long)
    for row, prompt in enumerate(task["prompts"]):
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    options = transformers.GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        num_return_sequences=task["group"],
        max_new_tokens=task["answer"],
        min_new_tokens=task["answer"],
        eos_token_id=None,
        pad_token_id=0,
    )
    model.generation_config = options
    for _ in sys.stdin:
        start = time.perf_counter()
        with torch.inference_mode():
            model.generate(input_ids=ids, attention_mask=mask, generation_config=options)
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)


if __name__ == "__main__":
    main()
