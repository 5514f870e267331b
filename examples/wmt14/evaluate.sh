#!/usr/bin/env bash
# Translates newstest2014 with the average of the last checkpoints of train.sh, and scores it:
# sacreBLEU, chrF2 and TER with signatures, and tokenised BLEU, which the paper reports.
# Where the run "baseline" has been evaluated before, adds a paired bootstrap against it.
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
SCORE_ARGS="--tokenised $target"
[[ $pair != en-de ]] || SCORE_ARGS="--compound-split $target"
evaluate_translation

echo "Compare"
if [[ $pair == en-de ]]; then
  echo "  BLEU (sacreBLEU) with other sacreBLEU on newstest2014, all 3003 lines (wmt14/full): for
  instance 28.6 of fairseq's scaling_nmt model, whose tokenised compound-split BLEU is 29.29
  tokenised compound-split BLEU with the R-Drop paper's 30.91"
else
  echo "  BLEU (sacreBLEU) with other sacreBLEU on newstest2014, all 3003 lines (wmt14/full)
  tokenised BLEU with the R-Drop paper's 43.95"
fi
echo "  never the one with the other: tokenised BLEU is higher"
