#!/usr/bin/env bash
# Translates the IWSLT14 test set with the average of the last checkpoints of train.sh, and scores
# it: sacreBLEU, chrF2 and TER with signatures and, into other languages than Chinese, tokenised
# BLEU, which the paper reports. Where the run "baseline" has been evaluated before, adds a paired
# bootstrap against it.
#
#   bash examples/iwslt14/evaluate.sh SOURCE-TARGET      such as de-en
#
# Writes hyp.txt, ref.txt, scores.json and average.pt to OUT/RUN.
#
# Settings (environment variables):
#   OUT      where prepare.sh and train.sh have written   default: runs/iwslt14.PAIR
#   RUN      folder in OUT: rdrop, baseline, ...          default: rdrop
#   AVERAGE  last checkpoints to average; 0: checkpoint_best.pt alone, as the authors
#                                                         default: 10
#   BEAM     beam size                                    default: 5
#   LENPEN   length penalty                               default: 1.0
#   SMALL    1: AVERAGE=2 and short translations, for a trial   default: 0
#   MAX_TOKENS, GENERATE_ARGS   see scripts/evaluate.sh
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$root/scripts/recipe/evaluate_translation.sh"
source "$here/settings.sh"

BEAM=${BEAM:-5} LENPEN=${LENPEN:-1.0}
SCORE_ARGS="--tokenised $target"
[[ $target != zh ]] || SCORE_ARGS="--language zh"
lowercase=""
if uses_moses; then
  lowercase=", lower-cased"
  SCORE_ARGS+=" --lowercase"
fi
evaluate_translation

echo "Compare"
echo "  BLEU (sacreBLEU$lowercase) with other sacreBLEU$lowercase on the same test sets"
if [[ $target == zh ]]; then
  echo "  nothing with the paper's figures into Chinese, whose tokenisation is not known"
elif [[ -n $lowercase ]]; then
  echo "  tokenised BLEU, lower-cased as the paper's data is, with the paper's (de-en: 37.25; baseline 34.64)"
else
  echo "  tokenised BLEU with nothing in the paper, whose data is lower-cased: prepare with BPE=moses for that"
fi
echo "  never the one with the other: tokenised BLEU is higher"
