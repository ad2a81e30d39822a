#!/bin/busybox sh
# The guest's first process: the host's root, seen through an overlay that takes all writing, becomes the guest's own.
# parameters (guest.ts writes it) sets MODULES (paths in the order of loading), MODULE_FOLDER, BUSYBOX, NODE, AGENT.

bb=/bin/busybox
. /parameters
$bb mount -t proc proc /proc
$bb mount -t sysfs sysfs /sys
$bb mount -t devtmpfs devtmpfs /dev
echo "kproxy-ts guest: started"
for module in $MODULES; do
  $bb insmod "/modules/$module" || exit 1
done

$bb mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=512000,cache=loose host /host || exit 1
$bb mount -t tmpfs tmpfs /written
$bb mkdir /written/upper /written/work
$bb mount -t overlay -o lowerdir=/host,upperdir=/written/upper,workdir=/written/work overlay /root || exit 1
# What runs on the host is none of the guest's business.
$bb mount -t tmpfs tmpfs /root/run
for folder in proc sys dev; do
  $bb mount --move /$folder /root/$folder
done
$bb mkdir -p /root/dev/shm /root/dev/pts
$bb mount -t tmpfs tmpfs /root/dev/shm
$bb mount -t devpts devpts /root/dev/pts

$bb mkdir -p /root/lib/modules
$bb ln -sfn "$MODULE_FOLDER" "/root/lib/modules/$($bb uname -r)"
$bb mkdir /root/run/bin
for program in modprobe ping poweroff; do
  $bb ln -s "$BUSYBOX" /root/run/bin/$program
done
echo /run/bin/modprobe >/root/proc/sys/kernel/modprobe
echo guest >/root/proc/sys/kernel/hostname
$bb ip link set lo up

for port in /root/dev/vport*; do
  port=/dev/${port##*/}
done
# Process 1 reaps what others leave behind, and may not end.
exec $bb switch_root /root /bin/sh -c '
  "$1" "$2" "$3"
  exec /run/bin/poweroff -f
' init "$NODE" "$AGENT" "$port"
