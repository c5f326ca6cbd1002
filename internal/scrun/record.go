package scrun

import (
	"os"
	"path/filepath"
	"time"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// A Record is what we keep about a container, from before anything exists until delete. It
// is replaced by rename: a reader sees either the old or the new one.
type Record struct {
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"` // the engine's
	Rootfs      string            `json:"rootfs"` // on this host
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`

	Boot string `json:"boot"` // boot id of the host, to which the processes belong
	// Numbering identifies the pid namespace of the pids, see process.Numbering.
	Numbering uint64     `json:"numbering,omitempty"`
	Creator   process.ID `json:"creator"`         // create
	Anchor    process.ID `json:"anchor,omitzero"` // zero until there is one
	// Phase is the progress that the anchor or create has recorded: Creating during the
	// request for the allocation and the staging of the bundle, Created when the anchor
	// waits for start, Running once srun was started, Stopped. Status judges what that means
	// at this moment.
	Phase  entry.Status `json:"phase"`
	Paused bool         `json:"paused,omitempty"` // its job or its processes are suspended
	// Started is set once srun has reported that the task runs.
	Started    bool `json:"started,omitempty"`
	ExitStatus int  `json:"exitStatus,omitempty"` // of the anchor, with Stopped
	// Failure says what ended the job, if it was not the container itself.
	Failure string `json:"failure,omitempty"`

	// Token is in the job's comment, to find a job whose number is unknown. Foreign says
	// that create was called in a job and uses that one.
	Token    string `json:"token"`
	Foreign  bool   `json:"foreign,omitempty"`
	Job      string `json:"job,omitempty"`
	Step     string `json:"step,omitempty"` // JOB.STEP
	Nodes    string `json:"nodes,omitempty"`
	Released bool   `json:"released,omitempty"` // the job has ended, or the step in a Foreign job

	Host     Host     `json:"host"`
	Allocate []string `json:"allocate,omitempty"` // options of salloc
	Launch   []string `json:"launch"`             // options of srun
	Args     []string `json:"args"`               // the container's command
	// Enter is the command that joins the container on its compute node, for a process that
	// exec adds in this way.
	Enter    []string `json:"enter,omitempty"`
	Terminal bool     `json:"terminal,omitempty"`
	// OwnTerminal says that the terminal is the one of the caller of run or exec.
	OwnTerminal bool     `json:"ownTerminal,omitempty"`
	Network     bool     `json:"network,omitempty"` // the engine expects a network namespace
	Log         Log      `json:"log,omitzero"`      // create's
	Remote      string   `json:"remote,omitempty"`  // the bundle's path on the compute nodes
	LocalDir    string   `json:"localDir,omitempty"`
	NodeDir     string   `json:"nodeDir,omitempty"` // a directory of ours on each node of the job
	StageOut    []string `json:"stageOut,omitempty"`
	StagedOut   bool     `json:"stagedOut,omitempty"`
}

// Log is where the engine looks for messages.
type Log struct {
	File   string `json:"file,omitempty"`
	Format string `json:"format,omitempty"` // json or text
}

// writeFile writes a file by rename.
func writeFile(path string, data []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".ocishim-new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// alive reports whether the anchor runs.
func (r *Record) alive() bool { return r.runs(r.Anchor) }

// runs reports whether a process of the record runs. One in another pid namespace that is not
// visible from here is assumed to run.
func (r *Record) runs(p process.ID) bool {
	if r.Boot != process.BootID() {
		return false
	}
	here, sure := process.Locate(r.Numbering, p)
	return p.Pid != 0 && (!sure || here[0].Alive())
}

// abandoned reports whether nothing will happen to the container any more: create was killed
// before it was done, or the host was rebooted.
func (r *Record) abandoned() bool {
	return !r.alive() && (r.Boot != process.BootID() || r.Phase == entry.Creating && !r.runs(r.Creator))
}

// Status returns the phase at this moment: a container without its anchor has ended.
func (r *Record) Status() entry.Status {
	switch {
	case r.Phase == entry.Creating && r.runs(r.Creator):
		return entry.Creating
	case !r.alive():
		return entry.Stopped
	case r.Phase == entry.Running && r.Paused:
		return entry.Paused
	}
	return r.Phase
}
