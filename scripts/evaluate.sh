#!/usr/bin/env bash
# Translates a binarised test set with a checkpoint, or with the average of the last N, and
# scores the detokenised text with sacrebleu: BLEU, chrF2 and TER with their signatures.
#
#   bash scripts/evaluate.sh DATA CHECKPOINT [--out DIR] [--average N] [--reference F] [--pieces F] [--baseline HYP]
#
#   DATA            folder made by fairseq-preprocess; of several pairs, the checkpoint's is taken
#   CHECKPOINT      a checkpoint.pt, or with --average the folder that holds them
#   --out DIR       where to write                       default: beside the checkpoint
#   --average N     average the last N checkpoints of the folder first
#   --reference F   the test set's target side as plain text, one sentence a line
#                   default: what DATA holds, detokenised (unknown words then count as wrong)
#   --pieces F      the test set's target side as fairseq-preprocess got it, which is what a perfect
#                   model would write: adds tokenised BLEU against it (SCORE_ARGS="--tokenised de"
#                   if it is not tokenised text), and what a perfect translation would score
#   --baseline HYP  another system's hyp.txt: adds sacrebleu's paired bootstrap against it
#
# Writes hyp.txt, ref.txt, scores.json, generate.log and, with --average, average.pt to DIR; with
# --pieces hyp.tok.txt and ref.tok.txt, too, the text before it is detokenised. Prints the scores.
#
# Settings (environment variables):
#   BEAM        beam size                                default: 5
#   LENPEN      length penalty                           default: 1.0
#   MAX_TOKENS  tokens in a batch                        default: 4000
#   SUBSET      which part of DATA                       default: test
#   POST_PROCESS  how pieces become text: sentencepiece, subword_nmt, ... (fairseq-generate's
#               --post-process); none or empty: they are words already
#                                          default: what the symbols of DATA's dictionary show
#   DETOKENISE  language: undo Moses' tokenisation after the subwords   default: do not
#   GENERATE_ARGS  more arguments for fairseq-generate   default: none
#   SCORE_ARGS  more arguments for scripts/score.py      default: none
set -euo pipefail

source "$(dirname "$0")/recipe/stages.sh"
BEAM=${BEAM:-5}
LENPEN=${LENPEN:-1.0}
MAX_TOKENS=${MAX_TOKENS:-4000}
SUBSET=${SUBSET:-test}
DETOKENISE=${DETOKENISE:-}
GENERATE_ARGS=${GENERATE_ARGS:-}
SCORE_ARGS=${SCORE_ARGS:-}

positional=()
out="" average="" reference="" pieces="" baseline=""
while (($#)); do
  case $1 in
    --out | --average | --reference | --pieces | --baseline)
      (($# > 1)) || die "$1 needs a value"
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    -*) die "unknown option $1; see --help" ;;
    *) positional+=("$1") && shift ;;
  esac
done
((${#positional[@]} == 2)) || die "expected DATA and CHECKPOINT, got ${#positional[@]} arguments; see --help"
data=${positional[0]} checkpoint=${positional[1]}

[[ -d $data ]] || die "no such data folder: $data"
[[ -e $checkpoint ]] || die "no such checkpoint: $checkpoint"
for file in ${reference:+"$reference"} ${pieces:+"$pieces"} ${baseline:+"$baseline"}; do
  [[ -f $file ]] || die "no such file: $file"
done
if [[ -n $average ]]; then
  [[ $average =~ ^[1-9][0-9]*$ ]] || die "--average must be a whole number above 0, got $average"
  [[ -d $checkpoint ]] || die "--average takes a folder of checkpoints, got the file $checkpoint"
  out=${out:-$checkpoint}
else
  [[ -f $checkpoint ]] || die "$checkpoint is a folder: name a checkpoint in it, or give --average N"
  out=${out:-$(dirname "$checkpoint")}
fi
compgen -G "$data/$SUBSET.*.bin" >/dev/null ||
  die "$data holds no $SUBSET set ($SUBSET.*.bin); set SUBSET to one that it holds"
if [[ -z $(find "$data/" -name "$SUBSET.*.bin" -size +0) ]]; then
  die "the $SUBSET set in $data is empty"
fi
[[ " $GENERATE_ARGS" != *\ --@(post-process|remove-bpe)* ]] ||
  die "GENERATE_ARGS holds --post-process or --remove-bpe: set POST_PROCESS instead"
require_program fairseq-generate

pair=$(python "$root/scripts/recipe/check_dictionary.py" "$data" "$checkpoint" --generate-args="$GENERATE_ARGS") || exit 1
read -r source target <<<"$pair"
languages=()
if [[ " $GENERATE_ARGS" != *" --task"[\ =]* ]]; then # that is translation
  languages=(--source-lang "$source" --target-lang "$target")
  side() { # is there this language's side? fairseq takes the files of either direction
    [[ -f $data/$SUBSET.$source-$target.$1.bin || -f $data/$SUBSET.$target-$source.$1.bin ]]
  }
  side "$source" || die "$data holds no $SUBSET set of $source and $target"
  side "$target" || [[ -n $reference ]] || die "$data holds no target side for $SUBSET: give --reference"
  # before hours of translating, unless sentences are left out; the number is in the index
  index=$data/$SUBSET.$source-$target.$source.idx
  [[ -f $index ]] || index=$data/$SUBSET.$target-$source.$source.idx
  if [[ -f $index && $(head -c 7 "$index") == MMIDIDX && " $GENERATE_ARGS" != *\ --@(skip-invalid|num-shards)* ]]; then
    sentences=$(od -An -t u8 -j 18 -N 8 "$index" | tr -d ' ')
    for file in ${reference:+"$reference"} ${pieces:+"$pieces"} ${baseline:+"$baseline"}; do
      lines=$(awk 'END { print NR }' "$file")
      ((lines == sentences)) || die "$file has $lines lines, but the $SUBSET set in $data has $sentences sentences: give the file of that set"
    done
  fi
fi
if [[ " $GENERATE_ARGS" == *" --bpe"[\ =]* ]]; then # that makes text of the symbols
  [[ ${POST_PROCESS:-none} == none ]] ||
    die "POST_PROCESS is '$POST_PROCESS', but GENERATE_ARGS holds --bpe, which decodes by itself: leave one of them out"
  POST_PROCESS=none
elif [[ -f $data/dict.$target.txt ]]; then
  POST_PROCESS=$(python "$root/scripts/recipe/subwords.py" "$data/dict.$target.txt" ${POST_PROCESS+--set="$POST_PROCESS"}) || exit 1
else
  [[ -v POST_PROCESS ]] || die "$data lacks dict.$target.txt, which would show how pieces become text: set POST_PROCESS"
  POST_PROCESS=${POST_PROCESS:-none}
fi

mkdir -p "$out"
if [[ -n $average ]]; then
  python "$root/scripts/average_checkpoints.py" --last "$average" --output "$out/average.pt" "$checkpoint"
  checkpoint=$out/average.pt
fi

log=$out/generate.log
# shellcheck disable=SC2086  # GENERATE_ARGS is several arguments
if ! fairseq-generate "$data" --user-dir "$root/rdrop_fairseq" --path "$checkpoint" \
  --gen-subset "$SUBSET" --beam "$BEAM" --lenpen "$LENPEN" --max-tokens "$MAX_TOKENS" \
  ${languages[@]+"${languages[@]}"} --post-process "$POST_PROCESS" --log-format none $GENERATE_ARGS >"$log.tmp" 2>"$log.err"; then
  tail -n 1 "$log.err" >&2
  die "fairseq-generate failed; see $log.err"
fi
mv "$log.tmp" "$log" && rm "$log.err"

# lines of the form D-12<tab>score<tab>text come batch by batch: back to the order of the set
grep -q '^D-' "$log" || die "fairseq-generate printed no translations (D- lines); see $log"
sed -n 's/^D-//p' "$log" | sort -n -k1,1 | cut -f3- >"$out/hyp.txt.tmp"
if [[ -n $reference ]]; then
  cp "$reference" "$out/ref.txt.tmp"
else
  grep -q '^T-' "$log" || die "$data holds no target side for $SUBSET: give --reference"
  sed -n 's/^T-//p' "$log" | sort -n -k1,1 | cut -f2- >"$out/ref.txt.tmp"
fi
texts=(hyp)
[[ -n $reference ]] || texts+=(ref) # the given reference is plain text
score_args=()
if [[ -n $pieces ]]; then
  cp "$out/hyp.txt.tmp" "$out/hyp.tok.txt"
  python "$root/scripts/recipe/subwords.py" --join "$POST_PROCESS" "$pieces" >"$out/ref.tok.txt"
  cp "$out/ref.tok.txt" "$out/perfect.txt.tmp"
  texts+=(perfect)
  score_args=(--tokens "$out/hyp.tok.txt" "$out/ref.tok.txt" --perfect "$out/perfect.txt")
fi
if [[ -n $DETOKENISE ]]; then
  for file in "${texts[@]}"; do
    sacremoses -q -l "$DETOKENISE" detokenize <"$out/$file.txt.tmp" >"$out/$file.plain.tmp"
    mv "$out/$file.plain.tmp" "$out/$file.txt.tmp"
  done
fi
[[ -z $pieces ]] || mv "$out/perfect.txt.tmp" "$out/perfect.txt"
rm -f "$out/scores.json" # of an earlier hypothesis
mv "$out/hyp.txt.tmp" "$out/hyp.txt"
mv "$out/ref.txt.tmp" "$out/ref.txt"

# shellcheck disable=SC2086  # SCORE_ARGS is several arguments
python "$root/scripts/score.py" --hypothesis "$out/hyp.txt" --reference "$out/ref.txt" \
  --setting "checkpoints=${average:-1}" --setting "beam=$BEAM" --setting "lenpen=$LENPEN" \
  --setting "generate_args=$GENERATE_ARGS" --json "$out/scores.json" \
  ${score_args[@]+"${score_args[@]}"} ${baseline:+--baseline "$baseline"} $SCORE_ARGS
