package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ocishim/ocishim/internal/pace"
	"github.com/rogpeppe/go-internal/testscript"
)

// oldKernels are kernels of distributions in use, by the first system call that each lacks. RHEL 8
// has neither the new mount API nor openat2 and clone3, Ubuntu 20.04 has no openat2, and Debian 11
// has no mount_setattr.
var oldKernels = map[string]int{"4.18": 424, "5.4": 436, "5.10": 441}

// scriptsForOldKernels are the scripts for which the kernel's age could matter. The first few use
// what each of these kernels lacks; the short selection runs only those.
var scriptsForOldKernels = []string{
	"inplace_mounts", "lifecycle", "step_tasks", "inplace", "inplace_rights", "node_gpus", "node_mpi", "node_slurm",
	"readonly_image", "foreign_image", "hooks", "kill", "descriptors", "exec", "image_any_kernel", "image_writable_any_kernel",
}

// TestOldKernels runs scripts with an ocishim for which the kernel lacks its newer system calls.
func TestOldKernels(t *testing.T) {
	t.Parallel()
	var files []string
	scripts := scriptsForOldKernels
	if !pace.All() && !asked("TestOldKernels") {
		scripts = scripts[:3]
	}
	for _, name := range scripts {
		files = append(files, filepath.Join(shared.scripts(), name+".txtar"))
	}
	for version, first := range oldKernels {
		t.Run(version, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil { // some scripts make a user execute it
				t.Fatal(err)
			}
			for _, program := range []string{shared.program(), shared.inplace()} {
				wrapper := fmt.Sprintf("#!/bin/sh\nexec %s %d %s \"$@\"\n", shared.kernel(), first, program)
				if err := os.WriteFile(filepath.Join(dir, filepath.Base(program)), []byte(wrapper), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			runScripts(t, files, func(env *testscript.Env) error {
				err := setUpScript(env)
				env.Setenv("PATH", dir+":"+env.Getenv("PATH"))
				return err
			})
		})
	}
}
