"""The study on a real Slurm of one machine, where Debian's slurm-wlm and munge are installed, and as root."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fcdd_study import records

pytestmark = pytest.mark.slow
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scancel", "sinfo")
PLACE = Path("/etc/slurm/slurm.conf")  # a job's steps look for it here, whatever SLURM_CONF said where it was submitted
STARTED = []
DATASET = "fashion-mnist-small"
SMALL = ("PROFILE=smoke", f"DATASETS={DATASET}", "CLASSES=Ankle boot", "CLUSTER=slurm", "DEVICE=cpu")

CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={port}
SlurmdPort={other_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=64000 Gres=gpu:1 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def free_ports():
    """Two of them."""
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """Slurm with one node of two cores and a pretended GPU; what a shell has to know to speak with it."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing or os.getuid():
        pytest.skip(f"needs Debian's slurm-wlm and munge, and root: missing {', '.join(missing) or 'root'}")
    if PLACE.exists():
        pytest.skip(f"{PLACE} is there: this machine has a Slurm of its own")
    folder, host = Path(tmp_path_factory.mktemp("slurm", numbered=True)), socket.gethostname()
    folder = Path(shutil.move(folder, f"/tmp/slurm-{os.getpid()}"))  # munge wants a socket of a short name
    folder.chmod(0o755)
    port, other_port = free_ports()
    (folder / "slurm.conf").write_text(CONF.format(host=host, folder=folder, port=port, other_port=other_port))
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File=/dev/zero\n")
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    (folder / "state").mkdir()
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    files = [f"--{what}-file={folder}/munge.{what}" for what in ("pid", "log", "seed")]
    munge = ["munged", "--foreground", "--force", f"--key-file={folder}/key", f"--socket={folder}/munge.socket", *files]
    silent = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    daemons = [subprocess.Popen(munge, **silent)]
    PLACE.symlink_to(folder / "slurm.conf")
    try:
        wait_for(lambda: (folder / "munge.socket").exists(), "munge")
        daemons += [subprocess.Popen([name, "-D", *more], **silent)
                    for name, more in (("slurmctld", ()), ("slurmd", ("-N", host)))]  # fmt: skip
        wait_for(lambda: "idle" in asked(environment, "sinfo", "--noheader", "--format=%T"), "a node")
        yield environment
    finally:
        PLACE.unlink()
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def asked(environment, *command):
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what} did not come in {seconds} s"
        time.sleep(0.5)


@pytest.fixture(autouse=True)
def stopped():
    """No build outlives a test that fails."""
    yield
    for process in STARTED:
        process.kill()


@pytest.fixture(scope="module")
def checkout(copy_project, tmp_path_factory):
    root = copy_project(tmp_path_factory.mktemp("study") / "a b")
    (root / ".venv").symlink_to(sys.prefix)
    return root


def study(root, environment, *arguments):
    """`make study` of the copy, whose words are kept in a file."""
    environment = {key: value for key, value in environment.items() if key not in ("TQDM_DISABLE", "MAKEFLAGS")}
    environment |= {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    options = "ARGS=--slurm-status-command squeue --latency-wait 20 --seconds-between-status-checks 2"
    command = ["make", "-o", ".venv/.stamp", "study", *SMALL, options, *arguments]
    with (root / "said.txt").open("w") as file:
        STARTED.append(subprocess.Popen(command, cwd=root, env=environment, stdout=file, stderr=subprocess.STDOUT))
    return STARTED[-1]


def found(root):
    """Run → when its record was written."""
    paths = (root / "_build" / "records").rglob("*.json")
    return {records.read(path)["run"]["id"]: path.stat().st_mtime_ns for path in paths}


def test_jobs_run_and_what_slurm_ends_is_told_with_its_reason_and_alone_runs_again(slurm, checkout):
    """A job that is cancelled while it runs has said nothing of it; Slurm has, and the report does."""
    methods = "METHODS=kde,hsc"
    running = study(checkout, slurm, methods)
    line = ("squeue", "--noheader", "--states=RUNNING", "--format=%i %C %k")  # number, cores, comment
    hsc = []

    def begun():
        hsc[:] = [told.split() for told in asked(slurm, *line).splitlines() if told.endswith("hsc")]
        return hsc or running.poll() is not None

    wait_for(begun, "hsc", 900)
    assert hsc, (checkout / "said.txt").read_text()
    (number, cores, *_), *_ = hsc
    assert cores == "2"  # four where the node has them
    assert asked(slurm, "scancel", number) == ""
    assert running.wait(300) != 0
    said = (checkout / "said.txt").read_text()
    report = said[said.index("of 2 jobs 1 failed; what the others made is kept:") :]
    assert f"_build/logs/runs/smoke/{DATASET}/hsc.csv.txt ends with" in report and "kde.csv" not in report
    assert re.search(rf"SLURM-job '{number}' failed, SLURM status is: 'CANCELLED", report)
    kept = found(checkout)
    assert set(kept) == {f"smoke/{DATASET}/kde/ankle-boot-seed0"}
    assert study(checkout, slurm, methods).wait(600) == 0, (checkout / "said.txt").read_text()
    after, (record, *_) = found(checkout), (checkout / "_build" / "records").rglob("hsc/ankle-boot-seed0.json")
    told = json.loads(record.read_text())  # what was trained in one stack with it is recorded, too
    assert told["device"] == "cpu" and set(after) == {*kept, *told["stack"]}
    assert {run: after[run] for run in kept} == kept
