"""How many cores a job may ask Slurm for: a job that wants more than any node has is refused, or waits for ever."""

import subprocess
from pathlib import Path

import yaml

WANTED = 4


def cores(options: Path) -> int:
    """Cores a job, by a file of Snakemake's options: four on Slurm, or all that the partition's largest node has where
    that is fewer; one elsewhere."""
    said = yaml.safe_load(options.read_text(encoding="utf-8"))
    if said.get("executor") != "slurm":
        return 1
    partition = str(said.get("default-resources", {}).get("slurm_partition", "")).strip("'\"")
    command = ["sinfo", "--noheader", "--Node", "--format=%c", *([f"--partition={partition}"] if partition else [])]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return WANTED  # sbatch will say what is wrong
    return min([WANTED, max(map(int, told.split()), default=WANTED)])
