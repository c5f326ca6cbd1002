# shellcheck shell=bash
# The roots in build/: a Debian for each version of Slurm, with its packages. For
# hack/cluster, which sets REPO, SLURM and MPI, and defines die and note.

PACKAGES=slurmctld,slurmd,slurm-client,slurm-wlm-basic-plugins,munge,runc,crun,uidmap,iproute2,procps,jq,bsdutils,squashfs-tools
# What calls scrun, which 24.11 and 26.05 have, and what a site's staging may use.
ENGINES=podman,catatonit,iptables,rsync
# Other packages for tests of engines, and for checkpoints.
MORE=criu,docker.io,docker-cli,rootlesskit
MPI_PACKAGES=mpich,libmpich-dev,gcc,libc6-dev

# root_of prints the directory of the packages of $SLURM.
root_of() {
	case $SLURM${MPI:+-mpi} in
	22.05-mpi) echo "$REPO/build/bookworm-mpi" ;;
	24.11-mpi) echo "$REPO/build/trixie-mpi" ;;
	26.05-mpi) echo "$REPO/build/forky-mpi" ;;
	host) echo / ;;
	"$(host_version)") echo / ;;
	22.05) echo "$REPO/build/bookworm" ;;
	24.11) echo "$REPO/build/trixie" ;;
	26.05) echo "$REPO/build/forky" ;;
	esac
}

# packages_of prints the packages of a root. Debian's Slurm 26.05 has no PMIx plugin, and Debian's
# Open MPI supports only PMIx, so forky's root has only MPICH. Its engines are for `make test-all`:
# without them it takes half the time to make.
packages_of() { # SUITE
	case $1 in
	trixie) echo "$PACKAGES,$ENGINES,$MORE" ;;
	forky) echo "$PACKAGES${OCISHIM_TEST_ALL:+,$ENGINES}" ;;
	forky-mpi) echo "$PACKAGES,$MPI_PACKAGES" ;;
	*-mpi) echo "$PACKAGES,openmpi-bin,libopenmpi-dev,$MPI_PACKAGES" ;;
	*) echo "$PACKAGES" ;;
	esac
}

has_packages() { # ROOT PACKAGE,...
	local package
	for package in ${2//,/ }; do # some are named with their architecture
		compgen -G "$1/var/lib/dpkg/info/$package.list" >/dev/null ||
			compgen -G "$1/var/lib/dpkg/info/$package:*.list" >/dev/null || return
	done
}

host_version() { /usr/sbin/slurmd -V 2>/dev/null | sed -n 's/.* \([0-9]*\.[0-9]*\)\..*/\1/p'; }

# make_root makes the root if it is a directory of build/, and makes it again if it lacks packages.
# It builds under another name and renames: a directory called build/SUITE is complete.
make_root() { # ROOT
	[ "$1" != / ] || return 0
	local packages
	packages=$(packages_of "${1##*/}")
	mkdir -p "$REPO/build"
	exec 9>"$1.lock"
	flock 9
	if ! has_packages "$1" "$packages"; then
		rm -rf --one-file-system "$1.part"
		case $1 in
		*-mpi)
			(make_root "${1%-mpi}") # has a lock of its own
			add_packages "${1%-mpi}" "$1" "$packages"
			;;
		*) debian "${1##*/}" "$1" "$packages" ;;
		esac
		rm -rf "$1.part"/var/cache/apt/archives/*.deb "$1.part"/var/lib/apt/lists/*
		rm -rf --one-file-system "$1"
		mv "$1.part" "$1"
	fi
	exec 9>&-
}

debian() { # SUITE ROOT PACKAGE,...
	local mirror version
	command -v debootstrap >/dev/null || die "debootstrap is not installed: run hack/deps test"
	mirror=$(debian_mirror)
	mirror=${mirror:-http://deb.debian.org/debian/}
	[[ $mirror != http* ]] || wget -q -O /dev/null "${mirror%/}/dists/$1/Release" ||
		die "Debian $1, which has Slurm $SLURM, is not to be had from $mirror now: there is no dists/$1/Release, or the mirror does not answer"
	note "making build/$1 with debootstrap (about a minute)"
	# own mount and pid namespaces: nothing that it mounts or starts outlives it. sid's script, to
	# which the scripts of all later suites are links: a debootstrap that is older than the suite
	# lacks the link
	unshare --mount --pid --fork --kill-child debootstrap --variant=minbase \
		"--include=$3" "$1" "$2.part" "$mirror" /usr/share/debootstrap/scripts/sid >"$2.log" 2>&1 ||
		die "debootstrap failed; its output is in $2.log: $(tail -1 "$2.log")"
	version=$(sed -n '/^Package: slurmd$/,/^$/s/^Version: //p' "$2.part/var/lib/dpkg/status")
	if [[ $SLURM != host && $version != "$SLURM".* ]]; then
		# A testing suite moves on to the next Slurm, which is then the one tested.
		[ "$1" = forky ] || die "Debian $1 on $mirror has Slurm $version, not $SLURM"
		note "Debian $1 has Slurm $version by now: that is what runs as $SLURM"
	fi
	printf '#!/bin/sh\nexit 101\n' >"$2.part/usr/sbin/policy-rc.d"
	chmod 755 "$2.part/usr/sbin/policy-rc.d"
}

# add_packages copies the plain root and lets its apt install the rest, which is more than debootstrap
# can resolve. The index of a testing suite is valid for only a week, but a snapshot mirror keeps
# it: apt ignores its date, and checks its signature.
add_packages() { # PLAIN ROOT PACKAGE,...
	note "making build/${2##*/} of build/${1##*/} with apt (a minute or two)"
	cp -a --reflink=auto "$1" "$2.part"
	cp -L /etc/resolv.conf "$2.part/etc/resolv.conf"
	# shellcheck disable=SC2016 # the shell within expands them
	unshare --mount --pid --fork --kill-child --mount-proc="$2.part/proc" chroot "$2.part" /bin/sh -c '
		export DEBIAN_FRONTEND=noninteractive
		apt-get update -qq -o Acquire::Check-Valid-Until=false -o Acquire::Check-Date=false &&
			apt-get install -y -qq --no-install-recommends $0' "${3//,/ }" >"$2.log" 2>&1 ||
		die "apt-get in the root failed; its output is in $2.log: $(tail -1 "$2.log")"
}

# debian_mirror prints the mirror of this machine's apt, or nothing if that is unclear.
debian_mirror() {
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
		grep -v -e security -e debug | head -1 || :
}
