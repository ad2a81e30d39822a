# Becomes the first process of a PID namespace: systemd, for the units of /run/systemd/units alone. Whatever it may write to is
# its own and gone with it. Arguments: the folder to be seen as /run/kpt/program, that of node as /run/kpt/node, that of manifests
# as /run/kpt/manifests, and that of the units. Its own PID, as seen from outside, is the first line of the output.
set -e
read -r pid _ </proc/self/stat
echo "$pid"
mount -t tmpfs tmpfs /run
mkdir -p /run/kpt/program /run/kpt/node /run/kpt/manifests /run/systemd/units
mount --bind "$1" /run/kpt/program
mount --bind "$2" /run/kpt/node
mount --bind "$3" /run/kpt/manifests
cp -r "$4/." /run/systemd/units
for folder in /tmp /var/tmp /var/lib; do mount -t tmpfs tmpfs "$folder"; done
mount -t proc proc /proc
# `ip netns exec` has made a /sys for the network namespace.
mount -t cgroup2 none /sys/fs/cgroup
cd /
exec env -i container=kpt SYSTEMD_UNIT_PATH=/run/systemd/units PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --log-target=console --show-status=0 --unit=default.target
