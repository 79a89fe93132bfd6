#!/bin/bash
# Pretraining under SLURM, one process for each GPU, over as many time limits as it takes:
#
#   mkdir -p output
#   CONFIG=configs/pretrain/clsa_single_200ep_two_servers.yaml TRAIN=imagenet/train OUT=output/two_servers \
#       sbatch --export=ALL configs/slurm/pretrain.sh
#
# Nodes, GPUs, partition and time limit: as your cluster wants them, here or on sbatch's command line. SOLVER.BATCH_SIZE
# must be a multiple of nodes x GPUs.
#
# 120 seconds before the limit SLURM sends SIGUSR1 to every process of the step. Each finishes its step of training, the
# first writes a checkpoint, and all leave with exit code 75, "go on with --resume". Then the job is put back into the
# queue, under the same number, and goes on from that checkpoint. Any other exit code ends it.
#SBATCH --job-name=clsa-pretrain
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=10
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=output/%x_%j.log

: "${CONFIG:?a config of configs/pretrain}" "${TRAIN:?the folder of images}" "${OUT:?the folder of this run}"

export WORLD_SIZE=$SLURM_NTASKS LOCAL_WORLD_SIZE=$SLURM_NTASKS_PER_NODE
export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
export CONFIG TRAIN OUT
# Since SLURM 22.05 srun does not take over --cpus-per-task of the job: the loader's workers would share one core.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

# Nobody is ended because another has left first: the first process may still be writing when one has gone.
srun --kill-on-bad-exit=0 --wait=120 bash -c '
    export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID
    exec clsa-pretrain --config-file "$CONFIG" --resume --convert detectron2 DATA.TRAIN "$TRAIN" OUTPUT_DIR "$OUT"'
code=$?

if [ $code -eq 75 ]; then
    exec scontrol requeue "$SLURM_JOB_ID"
fi
exit $code
