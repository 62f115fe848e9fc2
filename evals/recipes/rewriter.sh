#!/usr/bin/env bash
# From data to a starter rewriter to tables, in one command. What is there already is gone on with:
# run it again after it was stopped.
#
#   evals/recipes/rewriter.sh DATA OUT [START]
#
# DATA has rewrite/*.jsonl and retrieval/*.jsonl as README.md names them, OUT takes everything that
# is made, START is the model to begin with (models/starter-rewriter). QUERENT names the program.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
repo=$(cd "$here/../.." && pwd)
if [ $# -lt 2 ]; then
  echo "usage: rewriter.sh DATA OUT [START]" >&2
  exit 2
fi
data=$1 out=$2 start=${3:-$repo/models/starter-rewriter}
querent=${QUERENT:-querent}
seed=42
mkdir -p "$out"

# The command of a stage with its folder: done, gone on with, or begun.
train() {
  local method=$1 folder=$2
  shift 2
  if [ -e "$folder/model/model.safetensors" ]; then return; fi
  local resume=()
  if [ -e "$folder/events.jsonl" ]; then resume=(--resume); fi
  "$querent" --data-dir "$out/corpus" train "$method" --out "$folder" "${resume[@]}" "$@"
}

if [ ! -e "$out/ambiguous/held_out.jsonl" ]; then
  python3 "$here/../reward/make_ambiguous.py" --retrieval "$data/retrieval" --out "$out/ambiguous" --seed $seed
fi
if [ ! -e "$out/mix/train.jsonl" ]; then
  python3 "$here/make_support.py" --out "$out/support.jsonl" --n-zh 12000 --n-en 12000 --seed $seed
  python3 "$here/prepare.py" --data "$data" --support "$out/support.jsonl" --out "$out/mix" --seed $seed \
    --aside "$out/ambiguous/held_out.jsonl"
fi
if [ ! -e "$out/start/querent.json" ]; then
  cp -r "$start" "$out/start"
  # English histories with answers are longer than the Chinese chats that came first.
  printf '{"version": 2, "prompt": "restore", "context_tokens": 160}\n' > "$out/start/querent.json"
fi

train sft "$out/sft" --model "$out/start" --data "$out/mix/train.jsonl" \
  --validation "$out/mix/held_en.jsonl" --set epochs=1 --set learning_rate=5e-4 \
  --set batch_rows=64 --set micro_batch_tokens=8192 --set weight_decay=0.01 --set n_generated=300

if [ ! -e "$out/corpus/ingested" ]; then
  "$querent" --data-dir "$out/corpus" ingest "$out/ambiguous/corpus.jsonl" --collection corpus
  touch "$out/corpus/ingested"
fi
train grpo "$out/grpo" --model "$out/sft/model" --collection corpus \
  --data "$out/ambiguous/train.jsonl" --validation "$out/ambiguous/held_out.jsonl" \
  --set batch_rows=6 --set grpo.n_generations=8 --set grpo.temperature=1.0 \
  --set learning_rate=5e-5 --set max_steps=500 --set epochs=10 --set eval_steps=100 \
  --set save_steps=100 --set rewards.depth=50 --set rewards.regret_factor=4 \
  --set 'rewards.weights={gold_rank=0.5,gain=1.5,restraint=1.0,faithfulness=0.5,protected=0.5,content=0.5,language=0.5,length=0.05,format=2.0}' \
  --set micro_batch_tokens=8192

for model in "$start" "$out/sft/model" "$out/grpo/model"; do
  name=$(basename "$(dirname "$model")")
  measure() { "$querent" --data-dir "$out/measured" eval "$@" --model "$model"; }
  measure seed-cases --out "$out/tables/$name-seed-cases"
  measure product-docs --split test --out "$out/tables/$name-product-docs"
  for held in zh en support complete; do
    measure rows --data "$out/mix/held_$held.jsonl" --systems raw,always,gated \
      --out "$out/tables/$name-$held"
  done
done
