# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh, after scripts/recipe/stages.sh, with their
# arguments: the pair, and what the three must agree on.

(($# == 1)) || die "expected a language pair, en-de or en-fr, got $# arguments; see --help"
pair=$1
[[ $pair == en-de || $pair == en-fr ]] || die "unknown pair $pair: WMT14 is en-de or en-fr here"
source=${pair%-*} target=${pair#*-}
OUT=${OUT:-$root/runs/wmt14.$pair} SMALL=${SMALL:-0}
require_choice SMALL 0 1
