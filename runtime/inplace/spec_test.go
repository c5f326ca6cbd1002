package inplace

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/spectest"
)

// supported has every field that a launch in place supports.
const supported = `{
	"ociVersion": "1.3.0",
	"process": {
		"user": {"uid": %d, "gid": %d, "umask": 18},
		"args": ["true"], "env": ["A=b"], "cwd": "/tmp",
		"capabilities": {
			"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"], "inheritable": ["CAP_KILL"],
			"permitted": ["CAP_KILL"], "ambient": ["CAP_KILL"]
		},
		"rlimits": [{"type": "RLIMIT_NOFILE", "hard": 10, "soft": 9}],
		"noNewPrivileges": true, "oomScoreAdj": 3
	},
	"root": {"path": "rootfs", "readonly": true},
	"mounts": [{"destination": "/mnt", "type": "tmpfs", "source": "/srv", "options": ["ro", "nosuid", "size=1m", "private"]}],
	"hooks": {
		"createContainer": [{"path": "/bin/a", "args": ["a", "b"], "env": ["A=b"], "timeout": 1}],
		"startContainer": [{"path": "/bin/a", "args": ["a", "b"], "env": ["A=b"], "timeout": 1}]
	},
	"annotations": {"key": "value"},
	"linux": {
		"namespaces": [{"type": "mount"}, {"type": "user"}],
		"maskedPaths": ["/proc/kcore"], "readonlyPaths": ["/proc/sys"],
		"personality": {"domain": "LINUX32"},
		"seccomp": {
			"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5, "architectures": ["SCMP_ARCH_X86_64"],
			"flags": ["SECCOMP_FILTER_FLAG_LOG"],
			"syscalls": [{
				"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7,
				"args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]
			}]
		}
	}
}`

// elsewhere says which code handles supported fields that are not in a Task.
var elsewhere = map[string]string{
	"ociVersion":                      "bundle.Validate refuses what it does not know",
	"process.terminal":                "stdin is a terminal, or libcontainer launches",
	"process.consoleSize.height":      "refused with a terminal, and nothing without",
	"process.consoleSize.width":       "refused with a terminal, and nothing without",
	"annotations":                     "they are in the state, and hooks get them",
	"linux.rootfsPropagation":         "private and slave are the same here; others are refused",
	"process.execCPUAffinity.initial": "it is for exec",
	"process.execCPUAffinity.final":   "it is for exec",
}

// Nothing in the specification is ignored: each field is supported, or makes libcontainer launch
// the container.
func TestEveryFieldCounts(t *testing.T) {
	full, err := spectest.Full()
	if err != nil {
		t.Fatal(err)
	}
	whole := taskOf(t, supportedSpec(t))
	for _, leaf := range spectest.Leaves() {
		if elsewhere[leaf] != "" {
			continue
		}
		spec := supportedSpec(t)
		if spectest.Clear(spec, leaf) {
			if Supports(spec) == "" && reflect.DeepEqual(taskOf(t, spec), whole) {
				t.Errorf("%s: dropped", leaf)
			}
			continue
		}
		spectest.Copy(spec, full, leaf)
		if Supports(spec) == "" {
			t.Errorf("%s: it is neither honoured nor refused", leaf)
		}
	}
}

func supportedSpec(t *testing.T) *specs.Spec {
	t.Helper()
	spec := new(specs.Spec)
	if err := json.Unmarshal(fmt.Appendf(nil, supported, os.Geteuid(), os.Getegid()), spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

func taskOf(t *testing.T, spec *specs.Spec) *Task {
	t.Helper()
	if why := Supports(supportedSpec(t)); why != "" {
		t.Fatalf("refused: %s", why)
	}
	b := &bundle.Bundle{Dir: "/bundle", Rootfs: "/bundle/" + spec.Root.Path, Spec: spec}
	task, err := NewTask(b, "/bundle/rootfs")
	if err != nil {
		return nil
	}
	return task
}
