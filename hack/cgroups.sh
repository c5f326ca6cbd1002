# shellcheck shell=bash
# Shows a part of this machine's cgroups as if it were everything: one directory for each
# hierarchy, named after what runs in it. For hack/cluster, hack/cluster-init and hack/cell,
# which set NAME and define die.

# cgroup_hierarchies prints "TYPE MOUNTPOINT OPTIONS" of each hierarchy that is mounted.
cgroup_hierarchies() {
	awk '{ for (i = 7; i <= NF; i++) if ($i == "-") break
	       if ($(i+1) ~ /^cgroup2?$/ && !seen[$(i+1) $(i+3)]++) print $(i+1), $5, $(i+3) }' /proc/self/mountinfo
}

has_v1() { cgroup_hierarchies | grep -q '^cgroup '; }

cgroup_dirs() {
	local type at
	# shellcheck disable=SC2153 # the script that sources this sets it
	cgroup_hierarchies | while read -r type at _; do echo "$type $at/ocishim-$NAME"; done
}

cgroup_make() {
	local type dir f
	cgroup_dirs | while read -r type dir; do
		mkdir -p "$dir" || die "cannot make the cgroup $dir: is /sys/fs/cgroup read-only? (--cgroup none does without)"
		for f in cpuset.cpus cpuset.mems; do # v1: empty until set, and then no process may join
			[ "$type" = cgroup2 ] || [ ! -e "$dir/$f" ] || cat "${dir%/*}/$f" >"$dir/$f"
		done
		[ ! -e "$dir/cgroup.clone_children" ] || echo 1 >"$dir/cgroup.clone_children"
	done
}

# cgroup_join moves this shell; LEAF is the v2 leaf, as v2 does not allow processes in inner
# cgroups.
cgroup_join() { # LEAF
	local type dir all
	all=$(cgroup_dirs) # waited for, as whoever this shell becomes must have no other child
	while read -r type dir; do
		[ "$type" = cgroup ] || dir=$dir$1
		[ ! -e "$dir/cgroup.procs" ] || echo $BASHPID >"$dir/cgroup.procs"
	done <<<"$all"
}

# cgroup_remove kills what is left in them: the only trace of a cluster that died while starting.
cgroup_remove() {
	local type dir sub pid
	for _ in $(seq $((100 * ${OCISHIM_TEST_PACE:-1}))); do
		while read -r type dir; do
			[ -d "$dir" ] || continue
			thaw "$dir"
			find "$dir" -name cgroup.procs -exec cat {} + 2>/dev/null | while read -r pid; do
				kill -KILL "$pid" 2>/dev/null || :
			done
			find "$dir" -depth -type d | while read -r sub; do rmdir "$sub" 2>/dev/null || :; done
		done < <(cgroup_dirs)
		cgroup_dirs | while read -r type dir; do [ ! -d "$dir" ] || exit 1; done && return
		sleep 0.05
	done
	die "cannot remove the cgroups: $(cgroup_dirs | cut -d' ' -f2 | tr '\n' ' ')still hold processes"
}

thaw() { # DIR; a frozen process (a suspended job) does not die of SIGKILL
	find "$1" -name freezer.state 2>/dev/null | while read -r f; do echo THAWED >"$f" 2>/dev/null || :; done
	find "$1" -name cgroup.freeze 2>/dev/null | while read -r f; do echo 0 >"$f" 2>/dev/null || :; done
}

mount_v1() { # AT
	local type at opts o name c
	mkdir -p "$1"
	mount -t tmpfs -o mode=755 tmpfs "$1"
	cgroup_hierarchies | while read -r type at opts; do
		[ "$type" = cgroup ] || continue
		# of the superblock's options only the controllers, or the name
		o=$(tr , '\n' <<<"$opts" | grep -v -x -e 'r[wo]' -e xattr -e 'release_agent=.*' -e clone_children | paste -sd,)
		name=$1/${at##*/}
		mkdir "$name"
		mount -t cgroup -o "${o/name=/none,name=}" cgroup "$name"
		for c in ${o//,/ }; do # cpu,cpuacct is also cpu and cpuacct
			[[ $c == name=* || -e $1/$c ]] || ln -s "${at##*/}" "$1/$c"
		done
	done
}
