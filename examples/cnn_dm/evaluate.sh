#!/usr/bin/env bash
# Summarises the test set with a trained model and scores it: ROUGE-1, ROUGE-2 and ROUGE-Lsum
# by rouge-score, beside those of the documents' first sentences. The test set is summarised
# in shards; running it again skips those that are done.
#
#   bash examples/cnn_dm/evaluate.sh [CHECKPOINT]
#
#   CHECKPOINT  default: checkpoint_best.pt of the training with this OUT and CRITERION
#
# Writes hyp.txt, ref.txt, lead.txt, rouge.json and lead.json to DIR.
#
# Settings (environment variables):
#   DATASET     cnn_dm or xsum                              default: cnn_dm
#   CRITERION   rdrop or baseline: whose checkpoint         default: rdrop
#   OUT         where prepare.sh wrote                      default: runs/$DATASET
#   DIR         where to write                              default: test/ beside the checkpoint;
#               with FORCE_BOS=1 test-bos/
#   BASELINE    another model's hyp.txt, to compare with    default: none
#   FORCE_BOS   1: <s> before every document, and forced as the first token of every summary,
#               as fairseq's BARTModel.sample (summarize.py) has it    default: 0
#   ROUGE       files2rouge: score with it, too, on PTB-tokenised text; needs files2rouge and
#               java, with Stanford's CoreNLP on CLASSPATH  default: rouge-score
#   SHARDS      parts of the test set                       default: 8; SMALL: 2; at most one a batch
#   BATCH_SIZE  documents in a batch                        default: 32
#   CPU         1: without a GPU, in float32                default: 0
#   SMALL       1: the small model; OUT is runs/summaries_small    default: 0
#   BEAM, LENPEN, MAX_LEN, MIN_LEN   beam search; default: BART's,
#               cnn_dm 4, 2.0, 140, 55; xsum 6, 1.0, 60, 10; SMALL 4, 1.0, 30, 1
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
at_most_one_checkpoint "$@"
source "$here/settings.sh"

checkpoint=${1:-$OUT/$CRITERION/checkpoint_best.pt}
FORCE_BOS=${FORCE_BOS:-0}
ROUGE=${ROUGE:-rouge-score}
BASELINE=${BASELINE:-}
CPU=${CPU:-0}
BATCH_SIZE=${BATCH_SIZE:-32}
if ((SMALL)); then
  SHARDS=${SHARDS:-2} BEAM=${BEAM:-4} LENPEN=${LENPEN:-1.0} MAX_LEN=${MAX_LEN:-30} MIN_LEN=${MIN_LEN:-1}
  lead=1
elif [[ $DATASET == cnn_dm ]]; then
  SHARDS=${SHARDS:-8} BEAM=${BEAM:-4} LENPEN=${LENPEN:-2.0} MAX_LEN=${MAX_LEN:-140} MIN_LEN=${MIN_LEN:-55}
  lead=3
else
  SHARDS=${SHARDS:-8} BEAM=${BEAM:-6} LENPEN=${LENPEN:-1.0} MAX_LEN=${MAX_LEN:-60} MIN_LEN=${MIN_LEN:-10}
  lead=1
fi
require_positive SHARDS BATCH_SIZE BEAM MAX_LEN MIN_LEN
require_choice CPU 0 1
require_choice FORCE_BOS 0 1
require_choice ROUGE rouge-score files2rouge
bos=
((!FORCE_BOS)) || bos=-bos
DIR=${DIR:-$(dirname "$checkpoint")/test$bos}
# ptb_tokenise: a text a line, as files2rouge's users tokenise it (fairseq's examples/bart/README.md)
ptb_tokenise() { java edu.stanford.nlp.process.PTBTokenizer -preserveLines; }
if [[ $ROUGE == files2rouge ]]; then # before hours of beam search
  command -v files2rouge >/dev/null ||
    die "ROUGE=files2rouge needs the program files2rouge on PATH: install it from" \
      "github.com/pltrdy/files2rouge (and run its setup_rouge.py), or leave ROUGE unset"
  ptb_tokenise <<<"One." >/dev/null 2>&1 ||
    die "ROUGE=files2rouge needs java, and Stanford's CoreNLP jar on CLASSPATH, to tokenise:" \
      "'java edu.stanford.nlp.process.PTBTokenizer' does not run here; or leave ROUGE unset"
fi
require_program fairseq-generate
[[ -f $checkpoint ]] || die "no such checkpoint: $checkpoint"
for file in "$OUT/raw/test.source" "$OUT/raw/test.target" ${BASELINE:+"$BASELINE"}; do
  [[ -f $file ]] || die "no such file: $file"
done
compgen -G "$OUT/bin/test.*.bin" >/dev/null || die "$OUT/bin holds no test set: run prepare.sh"

documents=$(grep -c '' "$OUT/raw/test.source") # wc would not count a last line without its end
# no part without a batch: fairseq-generate divides by its time
batches=$(((documents + BATCH_SIZE - 1) / BATCH_SIZE))
((SHARDS <= batches)) || SHARDS=$batches

# shards of another checkpoint, or searched otherwise, must not be mixed
keep_settings "$DIR/settings" "checkpoint=$checkpoint $(stat -c 'bytes=%s time=%Y' "$checkpoint") \
shards=$SHARDS batch=$BATCH_SIZE beam=$BEAM lenpen=$LENPEN length=$MIN_LEN-$MAX_LEN${bos:+ bos=1} \
data=$(checksum "$OUT"/raw/test.* "$OUT"/bin/test.* "$OUT"/bin/dict.*)" "set DIR to another folder, or remove $DIR"
precision=(--fp16)
((!CPU)) || precision=(--cpu)
data=$OUT/bin prefix=()
if ((FORCE_BOS)); then
  data=$DIR/bin prefix=(--prefix-size 1) # the first token of what the set has as a summary
  if [[ ! -d $data ]]; then
    [[ -f $OUT/bpe/test.source ]] || die "no such file: $OUT/bpe/test.source: run prepare.sh"
    sed 's/^/<s> /' "$OUT/bpe/test.source" >"$DIR/bos.source"
    sed 's/.*/<s>/' "$OUT/bpe/test.source" >"$DIR/bos.target"
    preprocess "$data" "$DIR/preprocess.log" --source-lang source --target-lang target \
      --srcdict "$OUT/bin/dict.source.txt" --tgtdict "$OUT/bin/dict.target.txt" --testpref "$DIR/bos"
    rm "$DIR"/bos.{source,target}
  fi
fi
progress=(cat)
[[ ! -t 2 ]] || progress=(python -m tqdm --total "$((documents / SHARDS))" --unit " summaries")
for ((shard = 0; shard < SHARDS; shard++)); do
  part=$DIR/shard.$shard
  [[ ! -f $part ]] || continue
  echo "summarising part $((shard + 1)) of $SHARDS" >&2
  # fairseq-generate takes its part from the rank; it does not look at --num-shards and --shard-id.
  # What is wanted of its output are lines of the form H-12<tab>score<tab>pieces
  PYTHONUNBUFFERED=1 fairseq-generate "$data" --user-dir "$root/rdrop_fairseq" \
    --path "$checkpoint" --task translation --source-lang source --target-lang target \
    --truncate-source --max-source-positions "$positions" --gen-subset test --batch-size "$BATCH_SIZE" \
    --distributed-world-size "$SHARDS" --distributed-rank "$shard" \
    --required-batch-size-multiple 1 \
    --beam "$BEAM" --lenpen "$LENPEN" --max-len-b "$MAX_LEN" --min-len "$MIN_LEN" \
    --no-repeat-ngram-size 3 "${prefix[@]}" "${precision[@]}" --log-format none 2>"$part.err" |
    { grep --line-buffered '^H-' || true; } | "${progress[@]}" >"$part.tmp" || {
    tail -n 1 "$part.err" >&2
    die "fairseq-generate failed: its last line is above, all in $part.err"
  }
  mv "$part.tmp" "$part" && rm "$part.err"
done

# batches come by length: back to the order of the test set
sed 's/^H-//' "$DIR"/shard.*[0-9] | sort -n -k1,1 >"$DIR/all"
[[ $(cut -f1 "$DIR/all") == "$(seq 0 $((documents - 1)))" ]] ||
  die "there are $(wc -l <"$DIR/all") summaries for the $documents documents of $OUT/raw/test.source: has it changed since prepare.sh?"
cut -f3- "$DIR/all" >"$DIR/hyp.bpe" && rm "$DIR/all"
python "$root/scripts/corpus/gpt2_bpe.py" --bpe-dir "$OUT/gpt2_bpe" --decode "$DIR/hyp.bpe" "$DIR/hyp.txt"
rm "$DIR/hyp.bpe"
cp "$OUT/raw/test.target" "$DIR/ref.txt"

sentences=()
[[ ! -f $OUT/raw/test.sentences ]] || sentences=(--sentences "$OUT/raw/test.sentences")
echo "first $lead sentence(s) of each document:"
python "$here/sentences.py" --lead "$lead" "$OUT/raw/test.source" "$DIR/lead.txt"
python "$here/score_rouge.py" --hypothesis "$DIR/lead.txt" --reference "$DIR/ref.txt" \
  "${sentences[@]}" --json "$DIR/lead.json"
echo "$checkpoint:"
python "$here/score_rouge.py" --hypothesis "$DIR/hyp.txt" --reference "$DIR/ref.txt" \
  "${sentences[@]}" --json "$DIR/rouge.json" ${BASELINE:+--baseline "$BASELINE"}
if [[ $ROUGE == files2rouge ]]; then
  for text in hyp ref; do
    ptb_tokenise <"$DIR/$text.txt" >"$DIR/$text.ptb" 2>"$DIR/ptb.err" || {
      tail -n 1 "$DIR/ptb.err" >&2
      die "the PTB tokenizer failed on $DIR/$text.txt: its last line is above, all in $DIR/ptb.err"
    }
  done
  echo "files2rouge, on PTB-tokenised text:"
  files2rouge "$DIR/hyp.ptb" "$DIR/ref.ptb" | tee "$DIR/files2rouge.txt"
else
  echo "not comparable to the last point with published scores, which are by files2rouge on" \
    "PTB-tokenised text (README, What compares): ROUGE=files2rouge for that"
fi
