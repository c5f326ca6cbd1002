package entry

import "time"

// Status is the state of a container as the runtime specification names it (runtime.md,
// State).
type Status string

// The states of runtime.md.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Stopped  Status = "stopped"
	Paused   Status = "paused" // not in runtime.md: runc has it, and engines expect it
)

// State is the state as in runtime.md, with the fields that runc adds.
type State struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"` // 0 when there is no process
	Status      Status            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"` // user name, set when it is printed
}
