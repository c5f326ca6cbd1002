package stateroot

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/pace"
)

// A file system that a user mounts over a directory under another user's name locks nobody out:
// neither one that lets no other user look at it, nor one that never responds, whether at the known
// name or at the name of an alternative.
func TestMountedOver(t *testing.T) {
	for _, options := range []string{"", ",allow_other"} {
		t.Run("fuse"+options, func(t *testing.T) {
			shared := sharedDirectory(t)
			root, other := filepath.Join(shared, "1000"), filepath.Join(t.TempDir(), "other")
			for _, name := range []string{root, root + "." + strings.Repeat("0", 2*randomBytes)} {
				squat(t, name)
				mountSilence(t, name, options)
			}
			done := make(chan string)
			go func() {
				dir, err := Make(root, other)
				if err != nil {
					t.Error(err)
				}
				usable, _ := Existing(root, other)
				done <- dir + " " + strings.Join(usable, " ")
			}()
			select {
			case got := <-done:
				if dir, usable, _ := strings.Cut(got, " "); dir != usable || !strings.HasPrefix(dir, root+".") {
					t.Errorf("made, found: %s", got)
				}
			case <-pace.After(10 * time.Second):
				t.Error("it waits for an answer")
			}
		})
	}
}

// mountSilence mounts, as an ordinary user, a file system that never responds.
func mountSilence(t *testing.T, dir, options string) {
	t.Helper()
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		lacks(t, "FUSE: "+err.Error())
	}
	device := os.NewFile(uintptr(fd), "/dev/fuse")
	options = "fd=" + strconv.Itoa(fd) + ",rootmode=40000,user_id=12345,group_id=12345" + options
	if err := unix.Mount("silence", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		device.Close()
		lacks(t, "FUSE: "+err.Error())
	}
	t.Cleanup(func() {
		device.Close() // ends every process that still waits
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// lacks skips a test if the machine lacks something. CI's machine lacks nothing.
func lacks(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("cannot run without %s", what)
	}
	t.Skipf("cannot run without %s", what)
}
