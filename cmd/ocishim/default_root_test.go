package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/ocishim/ocishim/internal/pace"
)

// inPrivateRun runs the shell script as root with its own /run and /tmp. In the script $U, with the
// uid $UID_OF_U, is the ordinary user, $P the program, and $B the bundle of a Slurm task with the
// id $T that sleeps.
func inPrivateRun(t *testing.T, script string) string {
	t.Helper()
	return inPrivateRunBy(t, script, nil)
}

// inPrivateRunBy starts it with the given attributes.
func inPrivateRunBy(t *testing.T, script string, attr *syscall.SysProcAttr) string {
	t.Helper()
	job := uniqueID()[len("test-"):]
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	uid := strconv.Itoa(int(ordinaryUser().Uid))
	spec.Root.Path = filepath.Join("/run/fixture/bundles", uid, "rootfs")
	spec.Process.Args = []string{"sleep", "600"}
	spec.Process.Env = append(spec.Process.Env, "SLURM_JOB_ID="+job)
	dir := sharedTempDir(t)
	if err := writeSpec(dir, spec); err != nil {
		t.Fatal(err)
	}
	prepare := `set -eu
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/fixture /run/user
mount --rbind "$FIXTURE" /run/fixture
mount -t tmpfs -o mode=1777 tmpfs /tmp
cd /
as_user() { setpriv --reuid "$UID_OF_U" --regid "$GID_OF_U" --clear-groups "$@"; }
`
	cmd := exec.Command("timeout", pace.Seconds(time.Minute), "unshare", "--mount", "--propagation", "private", "sh", "-c", prepare+script)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"FIXTURE=" + shared.dir, "U=" + userName, "UID_OF_U=" + uid, "GID_OF_U=" + strconv.Itoa(int(ordinaryUser().Gid)),
		"LIMIT=" + pace.Seconds(20*time.Second), "P=/run/fixture/bin/ocishim", "B=/run/fixture/" + filepath.Base(dir), "J=" + job, "T=n1." + userName + "." + job + ".0",
	}
	cmd.SysProcAttr = attr
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	return string(out)
}

// Root may clean up even if the job has a user namespace of its own in which all ids are the host's
// (namespace/linux with CLONE_NEWUSER). In a namespace with fewer ids, uid 0 is not root.
func TestCleanupInUserNamespace(t *testing.T) {
	needRoot(t)
	t.Parallel()
	const script = `
as_user env -i $P create -b $B $T.0
as_user env -i $P start $T.0
env -i $P state $T.-1 | grep -q '"running"'
env -i $P kill $T.-1 KILL
env -i $P delete --force $T.-1
env -i $P state --missing-ok $T.-1 | grep -qx {}
test -z "$(ls -A /tmp/ocishim-$UID_OF_U)"
`
	all := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1<<32 - 1}}
	if out := inPrivateRunBy(t, script, userNamespace(all)); out != "" {
		t.Errorf("output: %s", out)
	}
	some := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 65536}}
	if out := inPrivateRunBy(t, `env -i $P state $T.-1 2>&1 | grep -o '/tmp/ocishim-[0-9]*'`, userNamespace(some)); out != "/tmp/ocishim-0\n" {
		t.Errorf("in a namespace with some ids: %s", out)
	}
}

func userNamespace(ids []syscall.SysProcIDMap) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: ids, GidMappings: ids, GidMappingsEnableSetgroups: true,
		Credential: &syscall.Credential{Uid: 0, Gid: 0},
	}
}

// Without --root the state is in the first usable directory of the list, and root's cleanup finds
// what the user's run wrote, by the id alone.
func TestDefaultRootOfSlurmTask(t *testing.T) {
	needRoot(t)
	t.Parallel()
	for name, test := range map[string]struct{ prepare, want string }{
		"/run/user":    {`mkdir -m 700 /run/user/$UID_OF_U; chown $UID_OF_U:$GID_OF_U /run/user/$UID_OF_U`, "/run/user/$UID_OF_U/ocishim"},
		"/run/ocishim": {`mkdir -m 700 /run/user/$UID_OF_U; chown $UID_OF_U:$GID_OF_U /run/user/$UID_OF_U; mkdir -m 1777 /run/ocishim`, "/run/ocishim/$UID_OF_U"},
		"not theirs":   {`mkdir -m 700 /run/user/$UID_OF_U`, "/tmp/ocishim-$UID_OF_U"},
		"a file":       {`touch /run/user/$UID_OF_U`, "/tmp/ocishim-$UID_OF_U"},
		"/tmp":         {``, "/tmp/ocishim-$UID_OF_U"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := inPrivateRun(t, test.prepare+`
as_user env -i $P create -b $B $T.0
as_user env -i $P start $T.0
test "$(stat -c '%a %u' `+test.want+`)" = "700 $UID_OF_U" || { echo "not in `+test.want+`"; find / -xdev -name $T.0; }
env -i $P state $T.-1 | grep -q '"running"'
env -i $P state $T.-1 | grep -q '"owner": "'$U'"'
env -i $P kill $T.-1 KILL
env -i $P delete --force $T.-1
env -i $P state $T.-1 2>/dev/null && echo "still known"
test -z "$(ls -A `+test.want+`)"
test ! -e /run/user/0 && test ! -e /run/ocishim/0 && test ! -e /tmp/ocishim-0
`)
			if out != "" {
				t.Errorf("output: %s", out)
			}
		})
	}
}

// The attack of TestForgedRecord, on the state that is found by the id alone.
func TestForgedRecordInDefaultRoot(t *testing.T) {
	needRoot(t)
	t.Parallel()
	out := inPrivateRun(t, `
as_user env -i $P create -b $B $T.0
first=$(env -i $P state $T.0 | sed -n 's/.*"pid": \([0-9]*\).*/\1/p')
sleep 600 & victim=$!
start=$(cut -d' ' -f22 /proc/$victim/stat)
record=/tmp/ocishim-$UID_OF_U/$T.0/record.json
sed -i 's/"init":{"pid":[0-9]*,"start":[0-9]*}/"init":{"pid":'$victim',"start":'$start'}/' $record
grep -q '"init":{"pid":'$victim, $record
for id in $T.0 $T.-1 $T.4294967295; do
	env -i $P kill $id KILL 2>/dev/null || :
	env -i $P kill -a $id KILL 2>/dev/null || :
	timeout $LIMIT env -i $P delete --force $id 2>/dev/null || :
	kill -0 $victim || echo "delete and kill of $id reached a process of root"
done
kill -KILL $victim $first
`)
	if out != "" {
		t.Errorf("output: %s", out)
	}
}

// Another user has taken every place where the state could be. The tasks of the step agree on one
// with an unpredictable name, and root's cleanup finds it.
func TestDefaultRootIsTaken(t *testing.T) {
	needRoot(t)
	t.Parallel()
	for name, squat := range map[string]string{
		"directory": `mkdir -m 777 $place; chown 12345 $place`,
		"link":      `theirs=$(mktemp -d /mnt/XXXXXX); chown 12345 $theirs; ln -s $theirs $place; chown -h 12345 $place`,
		"file":      `echo >$place; chown 12345 $place`,
	} {
		for parent, prepare := range map[string]string{
			"/run/ocishim": `mkdir -m 1777 /run/ocishim; for place in /run/ocishim/$UID_OF_U /tmp/ocishim-$UID_OF_U; do ` + squat + `; done`,
			"/tmp":         `place=/tmp/ocishim-$UID_OF_U; ` + squat,
		} {
			t.Run(name+" in "+parent, func(t *testing.T) {
				t.Parallel()
				out := inPrivateRun(t, "mount -t tmpfs tmpfs /mnt\n"+prepare+`
for n in 0 1 2 3; do as_user env -i $P create -b $B $T.$n & done
wait
for n in 0 1 2 3; do as_user env -i $P start $T.$n; done
test "$(stat -c '%a %u' `+parent+`/*$UID_OF_U.*)" = "700 $UID_OF_U" || { echo "not in one directory of the user's:"; ls -l `+parent+`; }
env -i $P state $T.-1 | grep -q '"running"'
as_user env -i $P state $T.2 | grep -q '"running"'
env -i $P kill $T.-1 KILL
env -i $P delete --force $T.-1
env -i $P state $T.-1 2>/dev/null && echo "still known"
find /mnt -mindepth 2
find `+parent+` -name "$T*"
`)
				if out != "" {
					t.Errorf("output: %s", out)
				}
			})
		}
	}
}

// The prolog that a site can use makes each user's own directory if there is nothing yet, touches
// nothing that exists, and never fails, since Slurm would drain the compute node.
func TestPrologMakesRoot(t *testing.T) {
	needRoot(t)
	t.Parallel()
	prolog, err := filepath.Abs("../../oci.conf.d/prolog.d/ocishim")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ before, want string }{
		"nothing":     {"", "directory 700 1234\n"},
		"nothing yet": {"rmdir $OCISHIM_SHARED", "directory 700 1234\n"},
		"theirs":      {"mkdir -m 700 $D; chown 1234 $D; touch $D/kept", "directory 700 1234\nkept\n"},
		"another's":   {"mkdir -m 777 $D; chown 12345 $D; touch $D/kept", "directory 777 12345\nkept\n"},
		"a link":      {"ln -s / $D; chown -h 12345 $D", "symbolic link 777 12345\n"},
		"no user":     {"mkdir $D; SLURM_JOB_UID=", "directory 755 0\n"},
		"not a user":  {"mkdir $D; SLURM_JOB_UID=../x", "directory 755 0\n"},
	} {
		cmd := exec.Command("sh", "-euc", test.before+"\n"+`sh $0; stat -c '%F %a %u' $D; [ -L $D ] || ls -A $D; [ ! -e $OCISHIM_SHARED/../x ]`, prolog)
		shared := filepath.Join(t.TempDir(), "shared")
		if err := os.Mkdir(shared, 0o777); err != nil {
			t.Fatal(err)
		}
		cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "SLURM_JOB_UID=1234", "OCISHIM_SHARED=" + shared, "D=" + shared + "/1234"}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != test.want {
			t.Errorf("%s: %v: %q, want %q", name, err, out, test.want)
		}
	}
}
