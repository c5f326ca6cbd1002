# Run as root in a cluster with MPI. Makes the images of TestMPIMatrix, which are Debian's own
# roots with programs of ours, and the same programs for the compute node. $1 is build/.
set -eu
flags="-std=gnu11 -O2 -Wall -Wextra -Werror"
programs() { # ROOT TO MPI...
	for program in measure which; do
		for mpi in openmpi mpich; do
			chroot "$1" "mpicc.$mpi" $flags -o "$2/$program-$mpi" "/opt/$program.c"
		done
	done
}
for suite in bookworm trixie; do
	mkdir -p /opt/layer-$suite /opt/$suite
	mount -t tmpfs tmpfs /opt/layer-$suite
	mkdir /opt/layer-$suite/upper /opt/layer-$suite/work
	mount -t overlay -o "lowerdir=$1/$suite-mpi,upperdir=/opt/layer-$suite/upper,workdir=/opt/layer-$suite/work" overlay /opt/$suite
	mkdir -p /opt/$suite/opt/mpi /opt/$suite/opt/app
	cp /opt/measure.c /opt/which.c /opt/$suite/opt/
	programs /opt/$suite /opt/mpi
done

# Other ways to link a program: with search paths to a copy of the library, and with the
# library in the program.
in_image() { chroot /opt/trixie sh -euc "cd /opt/mpi; $1"; }
in_image 'cp -L "$(ldconfig -p | sed -n "s/.*libmpich.so.12 .*=> //p" | head -1)" /opt/app/libmpich.so.12
	mpicc.mpich -o which-rpath ../which.c -Wl,--disable-new-dtags,-rpath,/opt/app
	mpicc.mpich -o which-runpath ../which.c -Wl,--enable-new-dtags,-rpath,/opt/app
	archive=$(find /usr/lib -name libmpich.a) include=$(mpicc.mpich -show -c | grep -o -- "-I[^ ]*" | head -1)
	gcc $include -o which-static ../which.c "$archive" -lhwloc -lucp -lucs -lm -lpthread -Wl,--export-dynamic'

# The site's MPIs: the host's own, and one in a prefix that does not contain glibc.
ln -s /opt/bookworm/usr /opt/site
mkdir /opt/site-libraries
for file in /opt/site/lib/x86_64-linux-gnu/lib*.so.*; do
	case ${file##*/} in
	libc.so.* | libm.so.* | libmvec.* | libpthread.* | libdl.* | librt.* | libresolv.* | libutil.* | libanl.* | libnsl.* | libnss_* | libBroken* | libthread_db.* | libc_malloc*) ;;
	*) ln -s "$file" /opt/site-libraries/ ;;
	esac
done
ln -s /opt/site/lib/x86_64-linux-gnu/ucx /opt/site-libraries/ # UCX looks for its modules beside itself
mkdir /home/alice/bare-trixie
programs / /home/alice/bare-trixie
ln -s /opt/bookworm/opt/mpi /home/alice/bare-bookworm
chown -hR alice:alice /home/alice
