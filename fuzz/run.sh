#!/usr/bin/env bash
# Builds the fuzz targets and runs each for some seconds, on the stable toolchain and without cargo-fuzz.
#
#   fuzz/run.sh [SECONDS [TARGET...]]        10 seconds and all targets, if nothing is said
#
# Exit status 1: a target found something; its input is in fuzz/artifacts/TARGET/, and
#   fuzz/run.sh 0 TARGET fuzz/artifacts/TARGET/crash-...
# runs it again. Corpora begin with the golden vectors, and keep what was found, in fuzz/corpus/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

all="messages guarded fetch_responses record_batches batch_round_trips consumer_protocol assignors decompression"
seconds=${1:-10}
[ $# -eq 0 ] || shift
triple=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$PWD/target}

# What cargo-fuzz passes: AddressSanitizer, and the coverage that libFuzzer steers by. `--target` keeps the flags away
# from build scripts. RUSTC_BOOTSTRAP lets stable accept -Z; it is set for these crates only.
build() {
  env -u CARGO_ENCODED_RUSTFLAGS CARGO_TARGET_DIR="$target_dir/fuzz" RUSTC_BOOTSTRAP=1 RUSTFLAGS="\
    -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table --cfg fuzzing" \
    cargo build --quiet --locked --release --target "$triple" "$@"
}
binary() { echo "$target_dir/fuzz/$triple/release/$1"; }

targets=() inputs=()
for argument in "$@"; do if [ -f "../$argument" ] || [ -f "$argument" ]; then inputs+=("$argument"); else targets+=("$argument"); fi; done
[ ${#targets[@]} -gt 0 ] || read -ra targets <<< "$all"
bins=()
for target in "${targets[@]}"; do bins+=(--bin "$target"); done
build "${bins[@]}"

if [ ${#inputs[@]} -gt 0 ]; then
  for input in "${inputs[@]}"; do [ -f "$input" ] || input=../$input; "$(binary "${targets[0]}")" -timeout=20 "$input"; done
  exit
fi

(cd .. && cargo run --quiet --locked -p protocol-tests --example seed_corpus -- "$PWD/fuzz/corpus")

# One target a processor at a time.
run() {
  local target=$1 log
  mkdir -p "artifacts/$target" "corpus/$target"
  log=$(mktemp)
  if "$(binary "$target")" "corpus/$target" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -max_len=65536 \
    -artifact_prefix="$PWD/artifacts/$target/" -print_final_stats=1 -verbosity=0 > "$log" 2>&1; then
    echo "$target: $(sed -n 's/^stat::number_of_executed_units: */runs: /p' "$log"), no finding"
    rm -f "$log"
  else
    echo "$target: FINDING" >&2
    tail -n 60 "$log" >&2
    rm -f "$log"
    return 1
  fi
}
failed=0 running=0
for target in "${targets[@]}"; do
  run "$target" &
  running=$((running + 1))
  if [ $running -ge "$(nproc)" ]; then wait -n || failed=1; running=$((running - 1)); fi
done
while [ $running -gt 0 ]; do wait -n || failed=1; running=$((running - 1)); done
exit $failed
