#!/usr/bin/env bash
# Translates the test set with the average of the last checkpoints of train.sh, and scores it:
# sacreBLEU, chrF2 and TER with signatures and, into other languages than Chinese, BLEU on the
# model's tokens, plain and compound-split. Says which number the paper's compares with. Where the
# run "baseline" has been evaluated before, adds a paired bootstrap against it.
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
SCORE_ARGS=""
[[ $target != zh ]] || SCORE_ARGS="--language zh"
lowercase=""
if uses_moses && [[ $pair == *de* ]]; then
  lowercase=", lower-cased"
  SCORE_ARGS="--lowercase"
fi
evaluate_translation

# the paper's table 1, from memory: see the README
declare -A baseline=([de-en]=34.64 [en-de]=28.57 [fr-en]=36.1 [en-fr]=35.9 [zh-en]=18.4 [en-zh]=26.3
  [es-en]=40.6 [en-es]=39.0)
declare -A paper=([de-en]=37.25 [en-de]=30.72 [fr-en]=38.9 [en-fr]=38.0 [zh-en]=19.5 [en-zh]=28.1
  [es-en]=43.2 [en-es]=41.8)
cell="the paper's ${paper[$pair]} (baseline ${baseline[$pair]})"
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
