// Command bench compares the cost of reading an image through this server, through squashfuse_ll,
// and as an unpacked tree. It measures them in turns, by the processor time of readers and server.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/image/serve"
)

func main() {
	var err error
	switch os.Args[1] {
	case "launch":
		err = launch(os.Args[2], os.Args[3], os.Args[4], os.Args[5:])
	case "server":
		err = serve.Run(os.NewFile(3, "fuse"), os.NewFile(4, "image"), os.NewFile(5, "launcher"), serve.Options{})
	case "task":
		err = task(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
	default:
		err = compare(os.Args[1], os.Args[2], os.Args[3])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args, err)
		os.Exit(1)
	}
}

func launch(kind, image, dir string, rest []string) error {
	device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "server"), os.NewFile(uintptr(pair[1]), "launcher")
	file, err := os.Open(image)
	if err != nil {
		return err
	}
	var cmd *exec.Cmd
	switch kind {
	case "ours":
		cmd = exec.Command("/proc/self/exe", "server")
		cmd.ExtraFiles = []*os.File{device, file, theirs}
	case "squashfuse":
		cmd = exec.Command("sh", "-c", "read x <&4; exec squashfuse_ll -f "+image+" /dev/fd/3 4<&-")
		cmd.ExtraFiles = []*os.File{device, theirs}
		cmd.Stderr = os.Stderr
	}
	pid := 0
	if cmd != nil {
		runtime.LockOSThread()
		if slack := os.Getenv("SLACK"); slack != "" { // in ns
			n, _ := strconv.Atoi(slack)
			_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(n), 0, 0, 0)
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 50000, 0, 0, 0)
		pid = cmd.Process.Pid
		theirs.Close()
		if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
			return err
		}
		data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", device.Fd())
		if err := unix.Mount("image", dir, "fuse.squashfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, data); err != nil {
			return err
		}
		device.Close()
		if _, err := ours.Write([]byte("\n")); err != nil {
			return err
		}
		if kind == "ours" {
			if answer, err := io.ReadAll(ours); string(answer) != "ok\n" {
				return fmt.Errorf("%q %v", answer, err)
			}
		}
	}
	return unix.Exec("/proc/self/exe", append([]string{os.Args[0], "task", strconv.Itoa(pid)}, rest...), os.Environ())
}

func serverTime(pid string) time.Duration {
	if pid == "0" {
		return 0
	}
	data, _ := os.ReadFile("/proc/" + pid + "/stat")
	_, rest, _ := strings.Cut(string(data), ") ")
	f := strings.Fields(rest)
	u, _ := strconv.Atoi(f[11])
	s, _ := strconv.Atoi(f[12])
	return time.Duration(u+s) * 10 * time.Millisecond
}

func ownTime() time.Duration {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// task reads, and prints the processor time of reader and server and the wall-clock time, in ms.
func task(pid, what, path, count string) error {
	n, _ := strconv.Atoi(count)
	for range 2 {
		server, own, wall := serverTime(pid), ownTime(), time.Now()
		var err error
		if what == "small" {
			for range n {
				err = errors.Join(err, small(path))
			}
		} else {
			err = big(path, n)
		}
		if err != nil {
			return err
		}
		fmt.Println(ownTime().Milliseconds()-own.Milliseconds(), serverTime(pid).Milliseconds()-server.Milliseconds(), time.Since(wall).Milliseconds())
	}
	status, _ := os.ReadFile("/proc/" + pid + "/status")
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmHWM") {
			fmt.Fprint(os.Stderr, line)
		}
	}
	return nil
}

// small does with each file what an import in Python does: stat, open, read, close.
func small(dir string) error {
	buf := make([]byte, 1<<20)
	return filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if _, err := os.Stat(path); err != nil {
			return err
		}
		_, _ = os.Stat(path + ".so") // Python first looks for other kinds of modules
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		for {
			n, err := unix.Read(fd, buf)
			if n == 0 || err != nil {
				return err
			}
		}
	})
}

func big(path string, n int) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				errs[i] = err
				return
			}
			defer unix.Close(fd)
			buf := make([]byte, 128<<10)
			for {
				n, err := unix.Read(fd, buf)
				if n == 0 || err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func compare(tree, image, rounds string) error {
	dir, err := os.MkdirTemp("", "mount")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	n, _ := strconv.Atoi(rounds)
	results := map[string][]int{}
	for range n {
		for _, what := range []string{"small/1", "big/64"} {
			name, count, _ := strings.Cut(what, "/")
			for _, kind := range []string{"tree", "ours", "squashfuse"} {
				from := dir
				if kind == "tree" {
					from = tree
				}
				cmd := exec.Command("/proc/self/exe", "launch", kind, image, dir, name, filepath.Join(from, name), count)
				cmd.SysProcAttr = &syscall.SysProcAttr{
					Cloneflags:  unix.CLONE_NEWUSER,
					UidMappings: []syscall.SysProcIDMap{{Size: 1}}, GidMappings: []syscall.SysProcIDMap{{Size: 1}},
				}
				cmd.Stderr = os.Stderr
				out, err := cmd.Output()
				if err != nil {
					return fmt.Errorf("%s: %w", kind, err)
				}
				for pass, line := range strings.Split(strings.TrimSpace(string(out)), "\n") {
					for i, v := range strings.Fields(line) {
						number, _ := strconv.Atoi(v)
						key := fmt.Sprintf("%s pass %d %-10s %s", what, pass+1, kind, []string{"1 reader", "2 server", "4 wall"}[i])
						results[key] = append(results[key], number)
					}
					f := strings.Fields(line)
					a, _ := strconv.Atoi(f[0])
					b, _ := strconv.Atoi(f[1])
					key := fmt.Sprintf("%s pass %d %-10s 3 cpu", what, pass+1, kind)
					results[key] = append(results[key], a+b)
				}
			}
		}
	}
	var lines []string
	for key, values := range results {
		slices.Sort(values)
		lines = append(lines, fmt.Sprintf("%s %d ms (%d to %d)", key, values[len(values)/2], values[0], values[len(values)-1]))
	}
	slices.Sort(lines)
	fmt.Println(strings.Join(lines, "\n"))
	return nil
}
