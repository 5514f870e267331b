#!/usr/bin/env bash
# Summarises the test set with a trained model and scores it: ROUGE-1, ROUGE-2 and ROUGE-Lsum by
# rouge-score, beside those of the documents' first sentences. Running it again only scores.
#
#   bash examples/cnn_dm/evaluate.sh [CHECKPOINT] [--small] [--dry-run] [FLAG...]
#
#   CHECKPOINT  default: OUT/RUN/checkpoint_best.pt
#   --small     the small model: shorter summaries, float32
#   --dry-run   print the command
#   FLAG        of fairseq-generate, in place of what stands below, such as --beam 1
#
# Writes hyp.txt, ref.txt, scores.json, examples.tsv, lead.txt and lead.json to DIR. Two runs are
# compared by rdrop compare.
#
# Settings (environment variables):
#   DATASET    cnn_dm or xsum                           default: cnn_dm
#   OUT        where prepare.sh has written             default: runs/DATASET; --small: runs/summaries_small
#   CRITERION  rdrop or baseline                        default: rdrop
#   RUN        folder of the training in OUT            default: CRITERION
#   DIR        where to write                           default: test/ beside the checkpoint; test-bos/
#   FORCE_BOS  1: <s> before every document, and forced as the first token of every summary, as
#              fairseq's BARTModel.sample (summarize.py) has it    default: 0
#   ROUGE      files2rouge: score with it, too, on PTB-tokenised text; needs files2rouge and java,
#              with Stanford's CoreNLP on CLASSPATH     default: rouge-score
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/dataset.sh"
CRITERION=${CRITERION:-rdrop} FORCE_BOS=${FORCE_BOS:-0} ROUGE=${ROUGE:-rouge-score}
require_choice CRITERION rdrop baseline
require_choice FORCE_BOS 0 1
require_choice ROUGE rouge-score files2rouge
((${#names[@]} < 2)) || die "expected at most one CHECKPOINT, got ${#names[@]}"
checkpoint=${names[0]:-$OUT/${RUN:-$CRITERION}/checkpoint_best.pt}
data=$OUT/bin DIR=${DIR:-$(dirname "$checkpoint")/test} first=()
if ((FORCE_BOS)); then
  data=$OUT/bin-bos DIR=$DIR-bos first=(--prefix-size 1) # the first token of what the set has as a summary
fi
if ((${#small[@]})); then
  search=(--beam 4 --lenpen 1.0 --max-len-b 30 --min-len 1 --max-source-positions 256) lead=1
elif [[ $DATASET == cnn_dm ]]; then
  search=(--beam 4 --lenpen 2.0 --max-len-b 140 --min-len 55 --max-source-positions 1024 --fp16) lead=3
else
  search=(--beam 6 --lenpen 1.0 --max-len-b 60 --min-len 10 --max-source-positions 1024 --fp16) lead=1
fi

# ptb_tokenise: a text a line, as files2rouge's users tokenise it (fairseq's examples/bart/README.md)
ptb_tokenise() { java edu.stanford.nlp.process.PTBTokenizer -preserveLines; }
if ((!${#dry[@]})); then # before hours of beam search
  [[ -f $checkpoint ]] || die "no such checkpoint: $checkpoint"
  dictionary=$(dirname "$checkpoint")/dict.source.txt
  [[ ! -f $dictionary ]] || cmp -s "$dictionary" "$OUT/bin/dict.source.txt" ||
    die "$OUT/bin has another dictionary than $dictionary, of the training: prepare the same text again"
  if [[ $ROUGE == files2rouge ]]; then
    command -v files2rouge >/dev/null ||
      die "ROUGE=files2rouge needs the program files2rouge on PATH: install it from" \
        "github.com/pltrdy/files2rouge (and run its setup_rouge.py), or leave ROUGE unset"
    ptb_tokenise <<<"One." >/dev/null 2>&1 ||
      die "ROUGE=files2rouge needs java, and Stanford's CoreNLP jar on CLASSPATH, to tokenise:" \
        "'java edu.stanford.nlp.process.PTBTokenizer' does not run here; or leave ROUGE unset"
  fi
fi

if ((FORCE_BOS)); then
  rdrop run --once --folder "$data" --inputs "$OUT/pieces" "$OUT"/bin/dict.{source,target}.txt \
    ${dry[@]+"${dry[@]}"} -- \
    fairseq-preprocess --source-lang source --target-lang target --testpref "$OUT/pieces/bos" \
    --srcdict "$OUT/bin/dict.source.txt" --tgtdict "$OUT/bin/dict.target.txt" --destdir "$data"
fi
generated=$DIR/generated
rdrop run --once --folder "$generated" --inputs "$checkpoint" "$data"/{dict,test}.* ${dry[@]+"${dry[@]}"} -- \
  fairseq-generate "$data" --user-dir "$root/rdrop_fairseq" --path "$checkpoint" \
  --task translation --source-lang source --target-lang target --truncate-source --gen-subset test \
  "${search[@]}" --no-repeat-ngram-size 3 ${first[@]+"${first[@]}"} \
  --batch-size 32 --required-batch-size-multiple 1 --results-path "$generated" \
  ${flags[@]+"${flags[@]}"}
((!${#dry[@]})) || exit 0

python "$here/summaries.py" --generated "$generated/generate-test.txt" --pieces "$OUT/pieces" \
  --lead "$lead" --out "$DIR"
sentences=()
[[ ! -f $OUT/pieces/test.sentences.txt ]] || sentences=(--sentences "$OUT/pieces/test.sentences.txt")
echo "first $lead sentence(s) of each document:"
python "$here/score_rouge.py" --hypothesis "$DIR/lead.txt" --reference "$DIR/ref.txt" \
  ${sentences[@]+"${sentences[@]}"} --json "$DIR/lead.json"
echo "$checkpoint:"
python "$here/score_rouge.py" --hypothesis "$DIR/hyp.txt" --reference "$DIR/ref.txt" \
  ${sentences[@]+"${sentences[@]}"} --json "$DIR/scores.json" --examples "$DIR/examples.tsv"
if [[ $ROUGE == files2rouge ]]; then
  ptb_tokenise <"$DIR/hyp.txt" >"$DIR/hyp.ptb"
  ptb_tokenise <"$DIR/ref.txt" >"$DIR/ref.ptb"
  echo "files2rouge, on PTB-tokenised text:"
  files2rouge "$DIR/hyp.ptb" "$DIR/ref.ptb" | tee "$DIR/files2rouge.txt"
else
  echo "not comparable to the last point with published scores, which are by files2rouge on" \
    "PTB-tokenised text (README, What compares): ROUGE=files2rouge for that"
fi
