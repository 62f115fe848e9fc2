#!/bin/sh
# Starts querent with as many compute threads as the container may use. Told of none, the tensor
# library counts the host's processors, and does so at every single multiplication.
set -eu

threads=$(nproc)
# A quota of processor time, such as `--cpus 2`, is not seen by nproc.
if read -r quota period < /sys/fs/cgroup/cpu.max 2>/dev/null && [ "$quota" != max ]; then
  allowed=$(((quota + period - 1) / period))
  if [ "$allowed" -lt "$threads" ]; then threads=$allowed; fi
fi
export RAYON_NUM_THREADS="${RAYON_NUM_THREADS:-$threads}"
export CANDLE_NUM_THREADS="${CANDLE_NUM_THREADS:-$threads}"

exec querent "$@"
