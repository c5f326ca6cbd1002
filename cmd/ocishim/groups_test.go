package main_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// projectGroup is a group that only processes of the test have.
const projectGroup = 47_114_711

// The caller's supplementary groups stay in effect without root, with both launchers and in further
// processes: a user can also use the files of a project's directory inside.
func TestSupplementaryGroups(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root can give a process another group")
	}
	for _, profile := range []string{"hpc", "oci"} {
		for _, member := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, member %v", profile, member), func(t *testing.T) {
				t.Parallel()
				checkGroups(t, profile, member)
			})
		}
	}
}

func checkGroups(t *testing.T, profile string, member bool) {
	t.Helper()
	who := ordinaryUser()
	if member {
		who.Groups = append(who.Groups, projectGroup)
	}
	dir := placeOf(t, who)
	state := filepath.Join(dir, "state")
	mark := "TEST_OF_STATE=" + state
	spec, err := exampleSpec()
	if err != nil {
		t.Fatal(err)
	}
	spec.Root.Path = filepath.Join(shared.bundle(), "rootfs")
	spec.Process.Args = []string{"sh", "-c", "cat /mnt/file; touch /mnt/in-" + profile + " && echo made; echo over; exec sleep 600"}
	spec.Process.Env = append(spec.Process.Env, mark)
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/mnt", Type: "bind", Source: filepath.Join(dir, "project"), Options: []string{"bind"}})
	if err := writeSpec(filepath.Join(dir, "bundle"), spec); err != nil {
		t.Fatal(err)
	}
	id := uniqueID()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	run := inGroups(who, dir, "--root", state, "run", "--profile", profile, "-b", "bundle", id)
	run.Stdout, run.Stderr = out, out
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = inGroups(who, dir, "--root", state, "delete", "--force", id).Run()
		_ = run.Wait()
		checkNothingLeft(t, state, mark)
	})
	var said string
	wait(15*time.Second, func() bool {
		text, _ := os.ReadFile(out.Name())
		said = string(text)
		return strings.Contains(said, "over\n")
	})
	if got := strings.Contains(said, "secret\nmade\n"); got != member {
		t.Errorf("member %v: %q", member, said)
	}
	more, err := inGroups(who, dir, "--root", state, "exec", id, "cat", "/mnt/file").CombinedOutput()
	if got := err == nil && string(more) == "secret\n"; got != member {
		t.Errorf("exec, member %v: %v: %q", member, err, more)
	}
	if member {
		info, err := os.Stat(filepath.Join(dir, "project", "in-"+profile))
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Gid != projectGroup {
			t.Errorf("a file made in the project's directory: %+v", info.Sys())
		}
	}
}

// placeOf makes a directory that the user may use, and in it one, project, that only the group may
// use.
func placeOf(t *testing.T, who *syscall.Credential) string {
	t.Helper()
	dir, err := os.MkdirTemp(shared.dir, "groups")
	if err != nil {
		t.Fatal(err)
	}
	prepare := exec.Command("sh", "-ec", "chown $1:$2 .; mkdir project; echo secret >project/file; chmod 640 project/file\n"+
		"chown -R 0:$3 project; chmod 2770 project", "sh", fmt.Sprint(who.Uid), fmt.Sprint(who.Gid), fmt.Sprint(projectGroup))
	prepare.Dir = dir
	if out, err := prepare.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

// inGroups returns a call of the program by the user, in the directory.
func inGroups(who *syscall.Credential, dir string, args ...string) *exec.Cmd {
	cmd := ocishim(args...)
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	return cmd
}
