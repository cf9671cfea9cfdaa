"""A Slurm cluster of one node on the loopback address, its files in a temporary folder: for tests."""

import getpass
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])

# The node claims more cores than may be there, so that two tasks always run side by side.
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
MailProg=/bin/true
ReturnToService=2
KillWait=1
MinJobAge=2
JobRequeue=1
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def absent() -> list[str]:
    """Return what these tests need and this machine lacks."""
    programs = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    return programs + [name for name in ("submitit",) if importlib.util.find_spec(name) is None]


@contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Yield the environment in which `sbatch` and its like reach a new cluster, which ends with the block, all its jobs too.

    It is a process of its own that ends when its input does: so it cleans up after a test session that was killed as well.
    Raises RuntimeError, with what the daemons said, where the node does not come up within 30 s.
    """
    command = [sys.executable, "-m", "tests.slurm"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        if not (said := process.stdout.readline()):
            raise RuntimeError("Slurm does not come up; see what tests.slurm has printed.")
        yield os.environ | json.loads(said)
        process.stdin.close()


def main() -> None:
    """Start a cluster, print its environment, and end it when the input ends."""
    # A short path, for a socket's may have 107 characters; munge wants it to be open to all.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    own = {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": PATH}
    environment = os.environ | own
    daemons: list[subprocess.Popen] = []

    def start(*command):
        with (folder / f"{command[0]}.out").open("wb") as output:
            daemons.append(subprocess.Popen(command, stdout=output, stderr=output, cwd=folder, env=environment))

    try:
        for name in ("state", "spool"):
            (folder / name).mkdir()
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o600)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        start("munged", "-F", *(f"--{option}={folder}/munge.{suffix}" for option, suffix in files.items()))
        controller_port, node_port = _free_ports(2)
        (folder / "slurm.conf").write_text(
            CONFIGURATION.format(
                host=socket.gethostname().partition(".")[0],
                user=getpass.getuser(),
                folder=folder,
                controller_port=controller_port,
                node_port=node_port,
            )
        )
        _wait(lambda: (folder / "munge.socket").exists(), daemons, folder)
        start("slurmctld", "-D")
        start("slurmd", "-D")
        _wait(lambda: "idle" in _ask(environment, "sinfo", "-h", "-o", "%T"), daemons, folder)
        print(json.dumps(own), flush=True)
        sys.stdin.read()
    finally:
        _end(environment, daemons)
        shutil.rmtree(folder, ignore_errors=True)


def _end(environment, daemons):
    """End the jobs and the daemons, and then every process that was started in this environment and is still there."""
    if len(daemons) == 3:
        # Killed at once: a worker would take its time to keep what it has.
        _ask(environment, "scancel", "--signal=KILL", "--full", f"--user={getpass.getuser()}")
        _ask(environment, "scancel", f"--user={getpass.getuser()}")
        until = time.monotonic() + 15
        while time.monotonic() < until and _ask(environment, "squeue", "-h").strip():
            time.sleep(0.2)
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    mark = f"SLURM_CONF={environment['SLURM_CONF']}".encode()
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (path / "environ").read_bytes().split(b"\0"):
                os.kill(int(path.name), signal.SIGKILL)


def _ask(environment, *command):
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60).stdout


def _wait(ready, daemons, folder):
    until = time.monotonic() + 30
    while not ready():
        if time.monotonic() > until or any(daemon.poll() is not None for daemon in daemons):
            said = "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in folder.glob("*.out"))
            raise RuntimeError(f"Slurm does not come up.\n{said}")
        time.sleep(0.1)


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


if __name__ == "__main__":
    main()
