# shellcheck shell=bash disable=SC2034,SC2154  # shared with the scripts that source this
# Sourced by prepare.sh, train.sh and evaluate.sh after scripts/recipe.sh: the data's name, and where
# it is.

((${#names[@]} < 2)) || die "expected one name of data, got ${#names[@]} arguments; see --help"
name=${names[0]:-}
((!${#small[@]})) || name=${name:-fashion-mnist}
[[ $name =~ ^[A-Za-z0-9][A-Za-z0-9._-]*$ ]] ||
  die "name the data: cifar100, imagenet, or a name for your own, got '$name'; see --help"
OUT=${OUT:-$root/runs/vit}/$name
data=$OUT/data/data.json
