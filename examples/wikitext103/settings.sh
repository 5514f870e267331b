# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh: what the three must agree on.
# The caller has sourced scripts/recipe/stages.sh.

SMALL=${SMALL:-0}
MODEL=${MODEL:-gpt}
CRITERION=${CRITERION:-rdrop}
SEED=${SEED:-1}
PROTOCOL=${PROTOCOL:-recipe}
require_choice SMALL 0 1
require_choice MODEL gpt adaptive
require_choice CRITERION rdrop baseline
require_number SEED 0
require_choice PROTOCOL recipe authors
if ((SMALL)); then
  OUT=${OUT:-$root/runs/austen_small}
else
  OUT=${OUT:-$root/runs/wikitext103}
fi
# their baseline and their gpt model are trained as the recipe's
authors=
[[ $PROTOCOL/$MODEL/$CRITERION != authors/adaptive/rdrop ]] || authors=.authors
SAVE_DIR=${SAVE_DIR:-$OUT/$MODEL.$CRITERION.$SEED$authors}

# checksum_of_text FOLDER
checksum_of_text() { checksum "$1"/wiki.{train,valid,test}.tokens; }

# same_text REMEDY: what is trained in SAVE_DIR has the dictionary of the text in OUT
same_text() {
  [[ ! -f $SAVE_DIR/dict.txt ]] || cmp -s "$SAVE_DIR/dict.txt" "$OUT/bin/dict.txt" ||
    die "$SAVE_DIR was trained on other text than $OUT/bin is now (its dict.txt differs): $1"
}
