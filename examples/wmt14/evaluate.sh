#!/usr/bin/env bash
# Translates newstest2014 with the average of the last checkpoints of train.sh, and scores it:
# sacreBLEU, chrF2 and TER with signatures against the original reference, and BLEU on the model's
# tokens, plain and compound-split, against the reference prepared as the training text was. Where
# the run "baseline" has been evaluated before, adds a paired bootstrap against it.
#
#   bash examples/wmt14/evaluate.sh en-de|en-fr [--small] [--dry-run] [FLAG...] [-- FLAG...]
#
#   --small    the average of 2, short translations, for a trial
#   --dry-run  print the command
#   FLAG       of rdrop evaluate, such as --beam 5, and after -- of fairseq-generate
#
# Writes hyp.txt, ref.txt, scores.json and average.pt to OUT/RUN.
#
# Settings (environment variables):
#   OUT      where prepare.sh and train.sh have written   default: runs/wmt14.PAIR
#   RUN      folder in OUT: rdrop, baseline, ...          default: rdrop
#   AVERAGE  last checkpoints to average; 0: checkpoint_best.pt alone   default: 10; --small: 2
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
tokens=(--tokenised "$target")
! uses_moses || tokens=(--detokenise "$target")
baseline=()
[[ $run == "$OUT/baseline" || ! -f $OUT/baseline/hyp.txt ]] || baseline=(--baseline "$OUT/baseline/hyp.txt")

start rdrop evaluate "$OUT/data-bin" "${checkpoint[@]}" --out "$run" \
  --reference "$OUT/corpora/newstest2014.$target" --pieces "$OUT/pieces/test.pieces.$target" "${tokens[@]}" \
  --beam 4 --lenpen 0.6 ${baseline[@]+"${baseline[@]}"} ${flags[@]+"${flags[@]}"}
((!${#dry[@]})) || exit 0

((${#baseline[@]})) || [[ $run == "$OUT/baseline" ]] ||
  echo "No paired bootstrap: there is no $OUT/baseline/hyp.txt (CRITERION=baseline train.sh, then RUN=baseline evaluate.sh)"
sacrebleu=28.6 cell="the R-Drop paper's 30.91 (baseline 29.12), and 29.29 of fairseq's model"
if [[ $pair == en-fr ]]; then
  sacrebleu=41.4
  cell="the R-Drop paper's 43.95 (baseline 42.69), and 43.2 of fairseq's model, whose data is tokenised
  with hyphens apart"
fi
echo "Compare"
echo "  BLEU (sacreBLEU, original reference) with other sacreBLEU on newstest2014, all 3003 lines (wmt14/full):
  for instance $sacrebleu of fairseq's scaling_nmt model"
if uses_moses; then
  echo "  tokenised BLEU (reference normalised as the training text) with tables that do not split compounds
  tokenised compound-split BLEU (the same reference) with $cell"
else
  echo "  nothing with $cell: prepare with BPE=moses for that"
fi
echo "  never the one with the other: what is printed on different lines is on different scales"
