#!/usr/bin/env bash
# Translates the test set with the average of the last checkpoints of train.sh, and scores it:
# sacreBLEU, chrF2 and TER with signatures and, into other languages than Chinese, BLEU on the
# model's tokens, plain and compound-split. Says which number the paper's compares with. Where the
# run "baseline" has been evaluated before, adds a paired bootstrap against it.
#
#   bash examples/iwslt14/evaluate.sh SOURCE-TARGET [--small] [--dry-run] [FLAG...] [-- FLAG...]
#
#   --small    the average of 2, short translations, for a trial
#   --dry-run  print the command
#   FLAG       of rdrop evaluate, such as --beam 4, and after -- of fairseq-generate
#
# Writes hyp.txt, ref.txt, scores.json and average.pt to OUT/RUN.
#
# Settings (environment variables):
#   OUT      where prepare.sh and train.sh have written   default: runs/iwslt14.PAIR
#   RUN      folder in OUT: rdrop, baseline, ...          default: rdrop
#   AVERAGE  last checkpoints to average; 0: checkpoint_best.pt alone, as the authors
#                                                         default: 10; --small: 2
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/pair.sh"
run=$OUT/${RUN:-rdrop}
if ((${#small[@]})); then
  AVERAGE=${AVERAGE:-2}
  [[ " ${flags[*]-} " == *" -- "* ]] || flags+=(--)
  flags+=(--max-len-b 10) # it has not learnt when to stop
fi
AVERAGE=${AVERAGE:-10}
checkpoint=("$run" --average "$AVERAGE")
[[ $AVERAGE != 0 ]] || checkpoint=("$run/checkpoint_best.pt")
tokens=(--tokenised "$target") lowercase=""
if [[ $target == zh ]]; then
  tokens=(--language zh)
elif uses_moses; then
  tokens=(--detokenise "$target")
  [[ $pair != *de* ]] || tokens+=(--lowercase) lowercase=", lower-cased"
fi
[[ $target == zh ]] || tokens+=(--pieces "$OUT/pieces/test.pieces.$target")
baseline=()
[[ $run == "$OUT/baseline" || ! -f $OUT/baseline/hyp.txt ]] || baseline=(--baseline "$OUT/baseline/hyp.txt")

start rdrop evaluate "$OUT/data-bin" "${checkpoint[@]}" --out "$run" \
  --reference "$OUT/corpora/test.$target" "${tokens[@]}" \
  --beam 5 --lenpen 1.0 ${baseline[@]+"${baseline[@]}"} ${flags[@]+"${flags[@]}"}
((!${#dry[@]})) || exit 0

((${#baseline[@]})) || [[ $run == "$OUT/baseline" ]] ||
  echo "No paired bootstrap: there is no $OUT/baseline/hyp.txt (CRITERION=baseline train.sh, then RUN=baseline evaluate.sh)"
# the paper's table 1, from memory: see the README
declare -A plain=([de-en]=34.64 [en-de]=28.57 [fr-en]=36.1 [en-fr]=35.9 [zh-en]=18.4 [en-zh]=26.3
  [es-en]=40.6 [en-es]=39.0)
declare -A paper=([de-en]=37.25 [en-de]=30.72 [fr-en]=38.9 [en-fr]=38.0 [zh-en]=19.5 [en-zh]=28.1
  [es-en]=43.2 [en-es]=41.8)
cell="the paper's ${paper[$pair]} (baseline ${plain[$pair]})"
echo "Compare"
if [[ $pair != *de* ]]; then
  echo "  BLEU (sacreBLEU) with $cell, if that is scored as its group's code scores this pair
  tokenised BLEU with nothing in the paper"
elif [[ -n $lowercase ]]; then
  echo "  tokenised BLEU with $cell, if that is what fairseq-generate prints
  tokenised compound-split BLEU with the same, if that is what the authors' run_inference.sh ends in;
  they do not say which
  BLEU (sacreBLEU$lowercase) with other sacreBLEU$lowercase on the same test set"
else
  echo "  nothing with $cell, whose data is lower-cased: prepare with BPE=moses for that
  BLEU (sacreBLEU) with other sacreBLEU on the same test set"
fi
echo "  never the one with the other: what is printed on different lines is on different scales"
