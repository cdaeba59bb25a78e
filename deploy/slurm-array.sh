#!/bin/bash
# A planned job as an array: each task does its share on its cores, a process a core.
#
#   tumorlens batch plan index.parquet --out /shared/job
#   sbatch deploy/slurm-array.sh /shared/job
#
# What is killed or runs out of time goes on when the same line is submitted again, with as many
# tasks as before or another number: only shards without a part are done.
#SBATCH --job-name=tumorlens
#SBATCH --array=1-16
#SBATCH --cpus-per-task=8
#SBATCH --mem-per-cpu=1G
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --output=%x-%A_%a.log
set -eu
exec tumorlens batch run "${1:?name the job}" --on slurm-array
