#!/usr/bin/env bash
# Translates the test set with a run's best checkpoint (lowest valid loss), with its last one, and
# with the average of the last five by update, as papers do, and scores them with sacrebleu.
#
#   RUN=rdrop.1 bash examples/low_resource/evaluate.sh [best] [last] [average] [--dry-run] [FLAG...]
#
#   best, last, average  only these                         default: all three
#   --dry-run            print the commands
#   FLAG                 of rdrop evaluate, such as --beam 4, and after -- of fairseq-generate;
#                        default there: translations of at most 1.5 times the source and 20 pieces
#
# Writes hyp.txt, ref.txt and scores.json to a folder of that name in the run's.
#
# Settings (environment variables):
#   OUT     where prepare.sh has written        default: runs/low_resource
#   RUN     folder of the run in OUT            default: rdrop
#   TGT     target language                     default: de
#   SUBSET  valid: the validation set, to folders valid.best and so on    default: test
#   UNTIL   an update: the average of the five checkpoints up to it, to the folder untilUPDATE
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
OUT=${OUT:-$root/runs/low_resource} SUBSET=${SUBSET:-test}
require_choice SUBSET test valid
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
run=$OUT/${RUN:-rdrop} prefix=""
[[ $SUBSET == test ]] || prefix=$SUBSET.
[[ " ${flags[*]-} " == *" -- "* ]] || flags+=(-- --max-len-a 1.5 --max-len-b 20)

# score NAME CHECKPOINT [FLAG...]
score() {
  start rdrop evaluate "$OUT/data-bin" "${@:2}" --out "$run/$prefix$1" --subset "$SUBSET" \
    --reference "$OUT/pieces/$SUBSET.${TGT:-de}" "${flags[@]}"
  ((${#dry[@]})) || rm -f "$run/$prefix$1/average.pt"
}

if [[ -n ${UNTIL:-} ]]; then
  score "until$UNTIL" "$run" --average 5 --until "$UNTIL"
  exit
fi
((${#names[@]})) || names=(best last average)
for which in "${names[@]}"; do
  require_choice which best last average
  case $which in
    average) score average "$run" --average 5 ;;
    *) score "$which" "$run/checkpoint_$which.pt" ;;
  esac
done
