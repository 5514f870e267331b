#!/usr/bin/env bash
# Prepares the images of a data set for train.sh: checks them, counts them and notes their classes.
# With --small it first makes images of the IDX files of Fashion-MNIST. Running it again skips
# what is done.
#
#   bash examples/vit/prepare.sh NAME
#   DATA_DIR=/usr/share/dataset-fashion-mnist bash examples/vit/prepare.sh --small
#
#   NAME     cifar100, imagenet, or a name for your own images
#   --small  Fashion-MNIST, for a small ViT on a CPU
#
# Settings (environment variables):
#   DATA        folder with train/ and test/ (or val/ or validation/), in each a folder for each
#               class; or the name of a data set on huggingface.co
#                               default: cifar100 uoft-cs/cifar100, imagenet ILSVRC/imagenet-1k
#   TEST_SPLIT  the split to test on                  default: the first of test, val, validation;
#                                                     ILSVRC/imagenet-1k: validation
#   LABEL       the column of the classes, of a data set on huggingface.co
#                                                     default: label, labels or fine_label
#   DATA_DIR    --small: folder of the four IDX files: of the Debian package
#               dataset-fashion-mnist, or FashionMNIST/raw of what torchvision has fetched
#   TRAIN       --small: images to train on           default: 5000
#   VALID       --small: images to follow the training on, others than these; default: 2000
#   OUT         where to write                        default: runs/vit
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe/stages.sh"
source "$here/settings.sh"
TRAIN=${TRAIN:-5000} VALID=${VALID:-2000} DATA_DIR=${DATA_DIR:-} DATA=${DATA:-}
TEST_SPLIT=${TEST_SPLIT:-} LABEL=${LABEL:-}

# unpacked FOLDER: the four files, as fashion_mnist.py reads them, which says what is missing
unpacked() {
  local name
  for name in "$1"/{train,t10k}-{images-idx3,labels-idx1}-ubyte; do
    cat "$name" 2>/dev/null || gzip -dc "$name.gz" 2>/dev/null || true
  done
}

read_arguments "$@"
require_positive TRAIN VALID
if $small; then
  [[ -z $DATA ]] || die "DATA is set, which --small does not take: it takes DATA_DIR"
  images=$OUT/$NAME/images
  keep_settings_of "$OUT/$NAME/images.settings" "TRAIN=$TRAIN VALID=$VALID" \
    "set OUT to another folder, or remove $OUT/$NAME" "$images"
  # study.sh calls this again without DATA_DIR
  [[ -n $DATA_DIR || -e $images ]] ||
    die "set DATA_DIR to the folder of Fashion-MNIST's four IDX files; see --help"
  if [[ -n $DATA_DIR ]]; then
    [[ -d $DATA_DIR ]] || die "no such folder: DATA_DIR=$DATA_DIR"
    keep_settings_of "$OUT/$NAME/files.settings" "checksum=$(checksum <(unpacked "$DATA_DIR"))" \
      "set OUT to another folder, or give $NAME another name" "$images"
  fi
  stage "images of $NAME" "$images" python "$here/fashion_mnist.py" --data-dir "$DATA_DIR" \
    --train "$TRAIN" --valid "$VALID" --out "$images"
  DATA=$images
fi
if [[ -z $DATA ]]; then
  case $NAME in
    cifar100) DATA=uoft-cs/cifar100 ;;
    imagenet) DATA=ILSVRC/imagenet-1k ;;
    *) die "set DATA to the folder of $NAME, or to its name on huggingface.co; see --help" ;;
  esac
fi
# its test split has no labels
[[ $DATA != ILSVRC/imagenet-1k ]] || TEST_SPLIT=${TEST_SPLIT:-validation}
settings="DATA=$DATA TEST_SPLIT=$TEST_SPLIT LABEL=$LABEL"
keep_settings_of "$OUT/$NAME/data.settings" "$settings" "set OUT to another folder, or remove $data" "$data"
stage "check of $DATA" "$data" python "$here/images.py" --data "$DATA" --out "$data" \
  ${TEST_SPLIT:+--test-split "$TEST_SPLIT"} ${LABEL:+--label "$LABEL"}
echo "prepared: $data"
