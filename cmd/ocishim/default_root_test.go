package main_test

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
)

// inPrivateRun runs the shell script as root with a /run and a /tmp of its own,
// in which $U, with the number $UID_OF_U, is the ordinary user, $P the program,
// and $B the bundle of a Slurm task with the id $T that sleeps.
func inPrivateRun(t *testing.T, script string) string {
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
mount --bind "$FIXTURE" /run/fixture
mount -t tmpfs -o mode=1777 tmpfs /tmp
cd /
as_user() { setpriv --reuid "$UID_OF_U" --regid "$GID_OF_U" --clear-groups "$@"; }
`
	cmd := exec.Command("timeout", "60", "unshare", "--mount", "--propagation", "private", "sh", "-c", prepare+script)
	cmd.Env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"FIXTURE=" + shared.dir, "U=" + userName, "UID_OF_U=" + uid, "GID_OF_U=" + strconv.Itoa(int(ordinaryUser().Gid)),
		"P=/run/fixture/bin/ocishim", "B=/run/fixture/" + filepath.Base(dir), "J=" + job, "T=n1." + userName + "." + job + ".0",
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	return string(out)
}

// Without --root the state is in the first directory of the list that can be
// used, and root's cleanup finds what the user's run wrote, by the id alone.
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

// The attack of TestForgedRecord on the state that the id alone leads to.
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
	timeout 20 env -i $P delete --force $id 2>/dev/null || :
	kill -0 $victim || echo "delete and kill of $id reached a process of root"
done
kill -KILL $victim $first
`)
	if out != "" {
		t.Errorf("output: %s", out)
	}
}

// Another user lies in wait at the place in /tmp where the state will be.
func TestDefaultRootIsTaken(t *testing.T) {
	needRoot(t)
	t.Parallel()
	out := inPrivateRun(t, `
mkdir -m 777 /tmp/ocishim-$UID_OF_U
chown 12345 /tmp/ocishim-$UID_OF_U
as_user env -i $P run -b $B $T.0 2>&1 | grep -q 'unsafe state directory /tmp/ocishim-.*belongs to uid 12345'
rmdir /tmp/ocishim-$UID_OF_U
mkdir -m 700 /tmp/theirs
chown 12345 /tmp/theirs
ln -s theirs /tmp/ocishim-$UID_OF_U
as_user env -i $P run -b $B $T.0 2>&1 | grep -q 'unsafe state directory .*symbolic link'
env -i $P state $T.0 2>&1 | grep -q 'unsafe state directory .*symbolic link'
ls -A /tmp/theirs
`)
	if out != "" {
		t.Errorf("output: %s", out)
	}
}
