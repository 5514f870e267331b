#!/usr/bin/env bash
# Translates newstest2014 with the average of the last checkpoints of train.sh, and scores it:
# sacreBLEU, chrF2 and TER with signatures against the original reference, and BLEU on the model's
# tokens, plain and compound-split, against the reference prepared as the training text was. Where
# the run "baseline" has been evaluated before, adds a paired bootstrap against it.
#
#   bash examples/wmt14/evaluate.sh en-de|en-fr
#
# Writes hyp.txt, ref.txt, scores.json and average.pt to OUT/RUN.
#
# Settings (environment variables):
#   OUT      where prepare.sh and train.sh have written   default: runs/wmt14.PAIR
#   RUN      folder in OUT: rdrop, baseline, ...          default: rdrop
#   AVERAGE  last checkpoints to average; 0: checkpoint_best.pt alone   default: 10
#   BEAM     beam size                                    default: 4
#   LENPEN   length penalty                               default: 0.6
#   SMALL    1: AVERAGE=2 and short translations, for a trial   default: 0
#   MAX_TOKENS, GENERATE_ARGS   see scripts/evaluate.sh
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/evaluate_translation.sh"
source "$here/settings.sh"

BEAM=${BEAM:-4} LENPEN=${LENPEN:-0.6}
SCORE_ARGS=""
evaluate_translation

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
