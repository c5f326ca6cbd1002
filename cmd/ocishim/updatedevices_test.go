package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Limits of single devices take effect in a running container's cgroup independently, and those
// that an update does not name stay.
func TestUpdateBlockDevices(t *testing.T) {
	t.Parallel()
	pid, update := updated(t)
	device := blockDevice(t)
	major, minor, _ := strings.Cut(device, ":")
	limit := func(kind string, rate int) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "resources.json")
		text := fmt.Sprintf(`{"blockIO":{"throttle%sDevice":[{"major":%s,"minor":%s,"rate":%d}]}}`, kind, major, minor, rate)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if said := update("--resources", file); said != "" {
			t.Errorf("%s: %s", text, said)
		}
	}
	limit("ReadBps", 1048576)
	limit("WriteBps", 2097152)
	limit("ReadIOPS", 30)
	limit("WriteIOPS", 40)
	limit("ReadBps", 4194304)
	if io := cgroupFile(t, pid, "io.max"); io != "" {
		want := strings.Fields(device + " rbps=4194304 wbps=2097152 riops=30 wiops=40")
		if got := strings.Fields(readLine(t, io)); !slices.Equal(got, want) {
			t.Errorf("io.max: %v, want %v", got, want)
		}
		return
	}
	for name, want := range map[string]string{"read_bps": "4194304", "write_bps": "2097152", "read_iops": "30", "write_iops": "40"} {
		file := cgroupFile(t, pid, "blkio.throttle."+name+"_device")
		if file == "" {
			t.Errorf("no blkio.throttle.%s_device", name)
		} else if got := readLine(t, file); got != device+" "+want {
			t.Errorf("%s: %q, want %q", name, got, device+" "+want)
		}
	}
}

// blockDevice returns the number of a disk that can have limits of its own.
func blockDevice(t *testing.T) string {
	t.Helper()
	disks, _ := filepath.Glob("/sys/block/*")
	for _, disk := range disks {
		if size, err := os.ReadFile(filepath.Join(disk, "size")); err == nil && strings.TrimSpace(string(size)) != "0" {
			return readLine(t, filepath.Join(disk, "dev"))
		}
	}
	skip(t, "this machine has no disk")
	return ""
}
