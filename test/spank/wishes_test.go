package spank_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// build compiles the program of testdata with sanitizers, which end it at the first mistake.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "ask")
	out, err := exec.Command("gcc", "-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
		"-I../../spank", "-o", program, "testdata/ask.c", "../../spank/wishes.c").CombinedOutput()
	if err != nil {
		t.Fatalf("gcc: %v: %s", err, out)
	}
	return program
}

// The numbers of wishes.h.
const (
	image, name, mounts, workdir, save, home = "0:", "1:", "2:", "3:", "4:", "5:"
	entrypoint, writable, env, unshare       = "7:", "9:", "10:", "11:"
)

func TestWishes(t *testing.T) {
	program := build(t)
	const x, hub = image + "--container-image=x", "container 1: --container-image\nimage x\n= docker://x\n"
	for _, test := range []struct {
		variables, args []string
		want            string
	}{
		{nil, nil, "container 0: \n"},
		{nil, []string{x}, hub},
		{nil, []string{x, x}, hub}, // Slurm may say it twice
		{nil, []string{x, image + "--container-image=y"}, "error: --container-image is given twice, with different values: give one\n"},
		{nil, []string{image + "I=/a.sqsh"}, "container 1: I\nimage /a.sqsh\n= /a.sqsh\n"},
		{nil, []string{image + "I=./a.sqsh"}, "container 1: I\nimage ./a.sqsh\n= ./a.sqsh\n"},
		{nil, []string{image + "I=../a"}, "container 1: I\nimage ../a\n= ../a\n"},
		{nil, []string{image + "I=.a"}, "container 1: I\nimage .a\n= ./.a\n"},
		{nil, []string{image + "I=u@nvcr.io#n/p:1"}, "container 1: I\nimage u@nvcr.io#n/p:1\n= docker://u@nvcr.io#n/p:1\n"},
		{nil, []string{image + "I=dockerd://a"}, "container 1: I\nimage dockerd://a\n= dockerd://a\n"},
		{nil, []string{image + "I="}, "error: I: it needs a value\n"},
		{nil, []string{image + "I=a\x1b[2J"}, "error: I: a control character in the value\n"},
		{nil, []string{name + "--container-name=n\x01"}, "error: --container-name: a control character in the value\n"},
		{nil, []string{name + "--container-name=n:exec"}, "error: --container-name n:exec: this version of ocishim has no named containers: leave it out, and name the image in each step\n"},
		{nil, []string{mounts + "M=/a:/b:ro+nodev,tmpfs:/t,umount:/u,./c:/d"}, "container 0: M\nmounts /a:/b:ro+nodev,tmpfs:/t,umount:/u,./c:/d\n"},
		{nil, []string{mounts + "M=/a,"}, "error: M: a mount is SOURCE[:DESTINATION[:FLAG+FLAG]], and neither may be empty\n"},
		{nil, []string{mounts + "M=/a::ro"}, "error: M: a mount is SOURCE[:DESTINATION[:FLAG+FLAG]], and neither may be empty\n"},
		{nil, []string{mounts + "M=a:/b"}, "error: M a: a source begins with / or ./, or is tmpfs or umount\n"},
		{nil, []string{mounts + "M=umount"}, "error: M umount: it needs a destination, as in umount:/scratch\n"},
		{nil, []string{save + "S=a/"}, "error: S a/: a directory: name the file to write\n"},
		{nil, []string{env + "E=A,,B"}, "error: E: an empty name: write NAME,NAME\n"},
		{nil, []string{env + "E=A=1"}, "error: E A=1: write only the name, and set the variable in the job\n"},
		{nil, []string{unshare + "U=net,ipc,uts"}, "container 0: U\nunshare net,ipc,uts\n"},
		{nil, []string{unshare + "U=pid"}, "error: U pid: unknown namespace: choose of net, ipc and uts\n"},
		{nil, []string{writable + "--container-writable=true", writable + "--container-readonly=false"}, "error: --container-writable and --container-readonly are both given: choose one\n"},
		{nil, []string{mounts + "M=/a", mounts + "M=/b"}, "error: M is given twice, with different values: give one, a list with commas\n"},
		{[]string{"IMAGE=x"}, nil, "container 1: PYXIS_CONTAINER_IMAGE\nimage x\n= docker://x\n"},
		{[]string{"IMAGE=y"}, []string{x}, hub},
		{[]string{"IMAGE="}, nil, "container 0: \n"},
		{[]string{"MOUNT_HOME=yes", "ENTRYPOINT=0"}, nil, "container 0: PYXIS_CONTAINER_MOUNT_HOME, PYXIS_CONTAINER_ENTRYPOINT\nhome true\nentrypoint false\n"},
		{[]string{"MOUNT_HOME=YES", "ENTRYPOINT=2"}, nil, "container 0: \n"},
		{[]string{"READONLY=1"}, nil, "container 0: PYXIS_CONTAINER_READONLY\nwritable false\n"},
		{[]string{"READONLY=n"}, nil, "container 0: PYXIS_CONTAINER_READONLY\nwritable true\n"},
		{[]string{"READONLY=1", "WRITABLE=1"}, nil, "container 0: PYXIS_CONTAINER_WRITABLE\nwritable true\n"},
		{[]string{"MOUNT_HOME=1"}, []string{home + "H=false", entrypoint + "E=true", workdir + "W=/"}, "container 0: W, H, E\nworkdir /\nhome false\nentrypoint true\n"},
		{[]string{"NAME=n"}, []string{x}, "error: PYXIS_CONTAINER_NAME n: this version of ocishim has no named containers: leave it out, and name the image in each step\n"},
		{[]string{"ENV=" + strings.Repeat("x", 70000)}, []string{x}, "error: PYXIS_CONTAINER_ENV: longer than 65536 bytes\n"},
	} {
		cmd := exec.Command(program, test.args...)
		for _, v := range test.variables {
			cmd.Env = append(cmd.Env, "PYXIS_CONTAINER_"+v)
		}
		if cmd.Env == nil {
			cmd.Env = []string{"A=b"}
		}
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != test.want {
			t.Errorf("%q %q: %v: %q, want %q", test.variables, test.args, err, out, test.want)
		}
	}
}

// TestNonsense gives it nonsense: what comes of it is one line, and no mistake with memory.
func TestNonsense(t *testing.T) {
	if out, err := exec.Command(build(t), "fuzz", "50000").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
