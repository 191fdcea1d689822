#!/bin/sh
# The first process of the machine that main.mjs starts: makes it one to work on, runs the command, tells its exit code.
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 pts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm

setting() { sed -n "s/.* nearcast\.$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
directory=$(setting directory)

modprobe -a -d "$(setting modules)" overlay wireguard sch_netem tun veth tls \
  nft_tproxy nft_socket nft_fib_inet nft_ct nft_reject_inet nft_redir nft_chain_nat dummy null_blk bfq

# Above what is there, in memory.
mount -t tmpfs layers /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work root /mnt/root
cd /mnt/root || exit
for place in proc sys dev; do mount --rbind "/$place" "$place"; done
mount -t tmpfs -o mode=755 run run
mount -t cgroup2 cgroup sys/fs/cgroup
mkdir run/old
pivot_root . run/old
ip link set lo up

exec </dev/null
ulimit -n 1048576
stty -F /dev/hvc0 raw -echo
# Through a pipe, as no terminal: and when that has ended, all has been said.
{
  "$directory/command" 2>&1
  echo "exit $?" >/run/status
} | cat >/dev/hvc0
cat /run/status >/dev/hvc1
echo o >/proc/sysrq-trigger
sleep 60
