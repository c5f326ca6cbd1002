# shellcheck shell=bash
# What hack/cluster and hack/cluster-init both need to know of this machine's cgroups.

# cgroup_hierarchies prints "TYPE MOUNTPOINT OPTIONS" of each hierarchy that is mounted.
cgroup_hierarchies() {
	awk '{ for (i = 7; i <= NF; i++) if ($i == "-") break
	       if ($(i+1) ~ /^cgroup2?$/ && !seen[$(i+1) $(i+3)]++) print $(i+1), $5, $(i+3) }' /proc/self/mountinfo
}

has_v1() { cgroup_hierarchies | grep -q '^cgroup '; }
