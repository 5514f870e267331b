# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh, after scripts/recipe/stages.sh, with their
# arguments: the pair, and what the three must agree on.

(($# == 1)) || die "expected a language pair such as de-en, got $# arguments; see --help"
pair=$1
[[ $pair =~ ^((de|fr|zh|es)-en|en-(de|fr|zh|es))$ ]] ||
  die "unknown pair $pair: IWSLT is de, fr, zh or es to or from en here, such as de-en"
source=${pair%-*} target=${pair#*-}
OUT=${OUT:-$root/runs/iwslt14.$pair} SMALL=${SMALL:-0}
require_choice SMALL 0 1
