# shellcheck shell=bash disable=SC2034,SC2153,SC2154  # the caller sets the variables
# Sourced by the train.sh of every recipe: starts fairseq-train on one or more GPUs of one or
# more machines, with fairseq's own distributed engine under torchrun.
#
#   source scripts/recipe/stages.sh && source scripts/recipe/launch.sh
#   check_launch                           refuses what would train wrongly; sets the defaults
#   choose_update_freq TOKENS              sets UPDATE_FREQ so that an update has TOKENS tokens,
#                                          and launch_settings, for keep_settings
#   launch_training fairseq-train's arguments
#
# Settings (environment variables):
#   NGPU         GPUs of this machine to train on           default: all that torch sees
#   NNODES       machines                                   default: 1
#   NODE_RANK    number of this machine, from 0             default: 0; on SLURM: $SLURM_NODEID
#   MASTER_ADDR  name of machine 0, needed if NNODES > 1
#   MASTER_PORT  free port on machine 0                     default: 29500
#   BF16         1: bfloat16 instead of float16             default: 0
#   CPU          1: train on the CPU in float32, NGPU processes (tests)  default: 0
#   MAX_TOKENS   tokens in a batch of one GPU               default: the recipe's
#   UPDATE_FREQ  batches of a GPU in an update              default: computed
#   TRAIN_ARGS   more arguments for fairseq-train           default: none
#
# The caller sources scripts/recipe/stages.sh first.

check_launch() {
  CPU=${CPU:-0} BF16=${BF16:-0} TRAIN_ARGS=${TRAIN_ARGS:-}
  NNODES=${NNODES:-1} NODE_RANK=${NODE_RANK:-${SLURM_NODEID:-0}} MASTER_PORT=${MASTER_PORT:-29500}
  local name
  require_program fairseq-train torchrun
  require_choice CPU 0 1
  require_choice BF16 0 1

  # Who starts this script several times on a machine would start as many trainings, each on
  # its own and over the other's checkpoints
  local ranks=(RANK LOCAL_RANK WORLD_SIZE OMPI_COMM_WORLD_RANK)
  [[ -n ${SLURM_STEP_ID:-} ]] || ranks+=(PMI_RANK PMIX_RANK) # srun sets these, too
  for name in "${ranks[@]}"; do
    [[ -z ${!name:-} ]] ||
      die "$name is set to '${!name}': run this script once on a machine, without torchrun or mpirun (it starts torchrun itself), and set NGPU and NNODES"
  done
  if [[ -n ${SLURM_STEP_ID:-} && ${SLURM_STEP_NUM_TASKS:-1} != "$NNODES" ]]; then
    die "srun started $SLURM_STEP_NUM_TASKS tasks but NNODES is $NNODES: start one task on a machine (--ntasks-per-node 1) and set NNODES to their number"
  fi
  [[ $TRAIN_ARGS != *--distributed-* && $TRAIN_ARGS != *--nprocs-per-node* ]] ||
    die "TRAIN_ARGS holds a --distributed option: set NGPU, NNODES, NODE_RANK, MASTER_ADDR and MASTER_PORT instead"
  [[ $TRAIN_ARGS != *--update-freq* && $TRAIN_ARGS != *--max-tokens* ]] ||
    die "TRAIN_ARGS holds --update-freq or --max-tokens: set UPDATE_FREQ and MAX_TOKENS instead"

  require_positive NNODES MASTER_PORT
  require_number NODE_RANK 0
  ((NODE_RANK < NNODES)) || die "NODE_RANK must be below NNODES ($NNODES), got $NODE_RANK"
  if ((NNODES > 1)) && [[ -z ${MASTER_ADDR:-} ]]; then
    die "NNODES is $NNODES: set MASTER_ADDR to the name of machine 0"
  fi
  if ((CPU)); then
    ((!BF16)) || die "BF16=1 needs a GPU: fairseq takes --bf16 on a CPU for a TPU"
    NGPU=${NGPU:-1}
    require_positive NGPU
  else
    local seen
    seen=$(python -c 'import torch; print(torch.cuda.device_count())')
    ((seen)) || die "torch sees no GPU here; to train on the CPU, which takes very long, set CPU=1"
    NGPU=${NGPU:-$seen}
    require_positive NGPU
    ((NGPU <= seen)) || die "NGPU is $NGPU but torch sees $seen GPU(s) on this machine"
  fi
}

# choose_update_freq TOKENS: sets UPDATE_FREQ, unless it is set, to the smallest number with
# which an update over all GPUs has at least TOKENS tokens; prints what an update then has.
# Sets launch_settings to what of the settings above changes the model: not the number of GPUs,
# unless an update is then a tenth larger or smaller
choose_update_freq() {
  local wanted=$1 batch tokens chosen="computed"
  require_positive MAX_TOKENS
  batch=$((MAX_TOKENS * NGPU * NNODES))
  if [[ -n ${UPDATE_FREQ:-} ]]; then
    require_positive UPDATE_FREQ
    chosen="as set"
  else
    UPDATE_FREQ=$(((wanted + batch - 1) / batch))
  fi
  tokens=$((batch * UPDATE_FREQ))
  launch_settings=$TRAIN_ARGS
  ((10 * tokens <= 11 * wanted && 10 * tokens >= 9 * wanted)) ||
    launch_settings+=" --tokens-in-update $tokens"
  ((batch <= wanted)) ||
    echo "note: one batch on every GPU is already more than the recipe's update: lower MAX_TOKENS or NGPU"
  echo "effective batch: $MAX_TOKENS tokens x $NGPU GPU(s) x $NNODES machine(s) x" \
    "update-freq $UPDATE_FREQ ($chosen) = $tokens tokens; the recipe's: $wanted"
}

# begin_epoch_if_other FOLDER BATCHES CHECKPOINT: the run in FOLDER goes on from CHECKPOINT, if it is there,
# at the beginning of its epoch if it was made with other batches: fairseq knows its place in an epoch as
# a number of them. FOLDER/batches has a line for each start, its time and its batches, and a checkpoint
# is of the last start before it. Of several machines, machine 0 does it, which alone reads checkpoints
begin_epoch_if_other() {
  local last=$3 written=0 before
  [[ ${NODE_RANK:-0} == 0 ]] || return 0
  [[ ! -f $last ]] || written=$(stat -c %Y "$last")
  before=$(awk -v written="$written" '$1 <= written { sub(/^[^ ]* /, ""); found = $0 } END { print found }' \
    "$1/batches" 2>/dev/null) || true
  mkdir -p "$1"
  echo "$EPOCHSECONDS $2" >>"$1/batches"
  [[ -n $before && $before != "$2" ]] || return 0
  echo "note: its epoch begins anew: the checkpoint's batches had $before, now they have $2" >&2
  python "$root/scripts/recipe/change_checkpoint.py" --begin-epoch "$last"
}

# launch_training ARG...: fairseq-train on NGPU x NNODES processes that train one model.
# The flags of the process group are given one by one: with others fairseq, if it sees one
# GPU or none on a machine, trains a model of its own in every process, and exits with 0.
launch_training() {
  local world=$((NGPU * NNODES)) precision=(--fp16) group=() rendezvous folder='' from='' i
  ((!BF16)) || precision=(--bf16)
  if ((CPU)); then
    keep_memory
    precision=(--cpu)
    ((world == 1)) || group=(--distributed-backend gloo --ddp-backend legacy_ddp)
  fi
  # shellcheck disable=SC2206  # TRAIN_ARGS is several arguments
  local arguments=("$@" --max-tokens "$MAX_TOKENS" --update-freq "$UPDATE_FREQ"
    "${precision[@]}" --distributed-world-size "$world" $TRAIN_ARGS)
  for ((i = 0; i + 1 < ${#arguments[@]}; i++)); do
    [[ ${arguments[i]} != --save-dir ]] || folder=${arguments[i + 1]}
    [[ ${arguments[i]} != --restore-file ]] || from=${arguments[i + 1]}
  done
  [[ $from == "$folder"/* ]] || from=$folder/checkpoint_last.pt # not one of another run
  begin_epoch_if_other "$folder" "$MAX_TOKENS tokens on $world GPU(s)" "$from"
  if ((world == 1)); then
    fairseq-train "${arguments[@]}"
    return
  fi
  if ((NNODES == 1)); then # any free port
    rendezvous=(--rdzv-backend c10d --rdzv-endpoint localhost:0)
  else
    rendezvous=(--node-rank "$NODE_RANK" --master-addr "$MASTER_ADDR" --master-port "$MASTER_PORT")
  fi
  torchrun --nnodes "$NNODES" --nproc-per-node "$NGPU" "${rendezvous[@]}" \
    --no-python "$(command -v fairseq-train)" "${arguments[@]}" "${group[@]}" \
    --distributed-init-method env:// --distributed-rank -1 --distributed-no-spawn
}
