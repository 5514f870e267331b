#!/usr/bin/env bash
# Prepares the images of a data set for train.sh: checks them, counts them and notes their classes.
# With --small it first makes images of the IDX files of Fashion-MNIST. Running it again skips
# what is done.
#
#   bash examples/vit/prepare.sh NAME [--dry-run]
#   DATA_DIR=/usr/share/dataset-fashion-mnist bash examples/vit/prepare.sh --small [NAME] [--dry-run]
#
#   NAME       cifar100, imagenet, or a name for your own images; --small: fashion-mnist
#   --small    Fashion-MNIST, for a small ViT on a CPU
#   --dry-run  print the commands
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
#   OUT         where to write, to OUT/NAME           default: runs/vit
set -euo pipefail

source "$(dirname "$0")/../../scripts/recipe.sh"
source "$here/name.sh"
no_flags
images=$OUT/images inputs=()
if ((${#small[@]})); then
  [[ -z ${DATA:-} ]] || die "DATA is set, which --small does not take: it takes DATA_DIR"
  if [[ -n ${DATA_DIR:-} ]]; then
    shopt -s nullglob
    files=("$DATA_DIR"/{train,t10k}-{images-idx3,labels-idx1}-ubyte*)
    rdrop run --once --folder "$images" ${files[@]+--inputs "${files[@]}"} ${dry[@]+"${dry[@]}"} -- \
      python "$here/fashion_mnist.py" --data-dir "$DATA_DIR" \
      --train "${TRAIN:-5000}" --valid "${VALID:-2000}" --out "$images"
  elif [[ ! -d $images ]]; then
    die "set DATA_DIR to the folder of Fashion-MNIST's four IDX files; see --help"
  fi
  DATA=$images inputs=("$images")
fi
case ${DATA:-$name} in
  cifar100) DATA=uoft-cs/cifar100 ;;
  imagenet) DATA=ILSVRC/imagenet-1k ;;
  "$name") die "set DATA to the folder of $name, or to its name on huggingface.co; see --help" ;;
esac
# its test split has no labels
[[ $DATA != ILSVRC/imagenet-1k ]] || TEST_SPLIT=${TEST_SPLIT:-validation}

rdrop run --once --folder "$OUT/data" ${inputs[@]+--inputs "${inputs[@]}"} ${dry[@]+"${dry[@]}"} -- \
  python "$here/images.py" --data="$DATA" --out "$data" \
  ${TEST_SPLIT:+--test-split "$TEST_SPLIT"} ${LABEL:+--label "$LABEL"}
