package main_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/pace"
)

// A user mounts a FUSE file system that never responds over the place of their state, so that no
// signal ends a process that looks there. Slurm's cleanup, which runs as root, ends nevertheless:
// after the minute of cmd/ocishim/watch.go, with a message, and without holding the streams that
// Slurm reads. The minute begins before all parallel tests, which run meanwhile.
func TestStateThatNeverAnswers(t *testing.T) {
	needRoot(t)
	dir := sharedTempDir(t)
	state := filepath.Join(dir, "state")
	step := "n1." + userName + "." + strings.TrimPrefix(uniqueID(), "test-") + ".0.0"
	userState(t, state, step, "sleep 600")
	mountSilence(t, state)
	var wg sync.WaitGroup
	for _, args := range [][]string{
		{"state", step},
		{"state", strings.TrimSuffix(step, "0") + "-1"},
		{"kill", "--all", step, "KILL"},
		{"delete", "--force", step},
		{"delete", "--force", "any"},
		{"list"},
	} {
		began := time.Now()
		cmd := exec.Command(shared.program(), append([]string{"--root", state}, args...)...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Error(err)
			continue
		}
		wg.Go(func() {
			err := cmd.Wait()
			if took := time.Since(began); took > time.Minute+pace.Of(20*time.Second) {
				t.Errorf("%v took %v", args, took)
			}
			if err == nil || !strings.Contains(out.String(), "gave no answer") || !strings.Contains(out.String(), "hint: ") {
				t.Errorf("%v: %v: %s", args, err, &out)
			}
		})
	}
	t.Parallel()
	wg.Wait()
}

// mountSilence mounts a file system for the ordinary user that answers only the first request,
// until the test ends.
func mountSilence(t *testing.T, dir string) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		skip(t, "no FUSE here: "+err.Error())
	}
	device := os.NewFile(uintptr(fd), "/dev/fuse")
	u := ordinaryUser()
	options := "fd=" + strconv.Itoa(fd) + ",rootmode=40000,user_id=" + strconv.Itoa(int(u.Uid)) + ",group_id=" + strconv.Itoa(int(u.Gid))
	if err := unix.Mount("silence", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		device.Close()
		skip(t, "no FUSE here: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
		device.Close() // ends every process that still waits
	})
	go func() {
		request := make([]byte, 1<<20)
		for {
			n, err := unix.Read(fd, request)
			if err == unix.EINTR || err == unix.EAGAIN {
				continue
			}
			if err != nil || n < 16 {
				return
			}
			if opcode := binary.NativeEndian.Uint32(request[4:]); opcode == 26 { // FUSE_INIT
				answer := make([]byte, 16+64)
				binary.NativeEndian.PutUint32(answer, uint32(len(answer)))
				copy(answer[8:16], request[8:16])
				binary.NativeEndian.PutUint32(answer[16:], 7)
				binary.NativeEndian.PutUint32(answer[20:], 31)
				_, _ = unix.Write(fd, answer)
			}
		}
	}()
}
