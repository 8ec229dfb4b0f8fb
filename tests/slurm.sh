#!/usr/bin/env bash
# Runs a command with a throw-away Slurm cluster at hand, and passes on its exit code:
#
#     bash tests/slurm.sh python -m pytest -n 0 -m slow tests/end_to_end/test_slurm.py
#
# The nodes `one` and `two` are two slurmd on this machine, with two CPUs each. Jobs of the partition `high` preempt those
# of `low`, the default, which are queued again. An array has at most six jobs. There are no accounts (sacct), as on many
# a small cluster. All of it listens at free ports, lives in a temporary folder, needs neither systemd nor cgroups, and is
# gone afterwards. SLURM_CONF leads Slurm's commands to it; SENTIMENT_TEST_SLURM is its folder, with the logs.
set -euo pipefail

if [ "$#" -eq 0 ]; then
    echo "usage: bash tests/slurm.sh COMMAND [ARGUMENT...]" >&2
    exit 2
fi

export PATH="$PATH:/usr/sbin:/sbin"

is_there() {
    for program in munged slurmctld slurmd sbatch; do
        command -v "$program" >/dev/null || return 1
    done
}

if ! is_there && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    # Debian starts the services of a package on installation, unless this file says no.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends munge slurmctld slurmd slurm-client >/dev/null
    if [ -n "$(trap -p EXIT)" ]; then
        rm -f "$policy"
        trap - EXIT
    fi
fi
if ! is_there; then
    echo "Slurm is not installed: apt-get install munge slurmctld slurmd slurm-client" >&2
    exit 1
fi

folder="$(mktemp -d)"
chmod 755 "$folder" # munged wants its socket within reach of everybody
mkdir "$folder/state" "$folder/spool"
daemons=()

# The processes of Slurm's jobs outlive its daemons; they are known by the cluster that is in their environment.
list_left() {
    grep -lsz "^SLURM_CONF=$folder/slurm.conf\$" /proc/[0-9]*/environ 2>/dev/null | grep -o '[0-9]\+' || true
}

finish() {
    code=$?
    trap - EXIT INT TERM HUP
    [ "${#daemons[@]}" -eq 0 ] || kill -KILL "${daemons[@]}" 2>/dev/null || true
    for process in $(list_left); do
        kill -KILL "$process" 2>/dev/null || true
    done
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# A daemon has a session of its own, where Ctrl-C does not reach it, and ends when this script does, however that ends.
start() {
    setsid setpriv --pdeathsig KILL "$@" >>"$folder/output.log" 2>&1 </dev/null &
    daemons+=("$!")
    disown # bash would say of each that it was killed
}

wait_until() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then
            return
        fi
        sleep 0.1
    done
    echo "The cluster did not start; it was waited in vain for: $*" >&2
    tail -n 20 "$folder"/*.log >&2 || true
    exit 1
}

ports=()
while [ "${#ports[@]}" -lt 3 ]; do
    port=$((15000 + RANDOM % 17000)) # below those that the kernel gives to connections
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || [[ " ${ports[*]} " == *" $port "* ]] || ports+=("$port")
done
owner="$(id -un)"
host="$(hostname -s)"

# Jobs that are queued again start when the credential of their first start has expired.
cat >"$folder/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=$owner
SlurmdUser=$owner
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=0
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=1
MaxArraySize=6
NodeName=one NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[1]} CPUs=2
NodeName=two NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[2]} CPUs=2
PartitionName=low Nodes=one,two Default=YES PriorityTier=1 LLN=YES
PartitionName=high Nodes=one,two PriorityTier=10 PreemptMode=OFF
END
export SLURM_CONF="$folder/slurm.conf" SENTIMENT_TEST_SLURM="$folder"

(umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
start munged --foreground --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munge.pid" --seed-file="$folder/munge.seed" --log-file="$folder/munged.log"
wait_until munge --no-input --socket="$folder/munge.socket"
start slurmctld -D
start slurmd -D -N one
start slurmd -D -N two
are_idle() { [ "$(sinfo --noheader --partition=low --states=idle --format=%D)" = 2 ]; }
wait_until are_idle

code=0
"$@" || code=$?
exit "$code"
