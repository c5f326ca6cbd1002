package scrun

import (
	"os"
	"path/filepath"
	"time"

	"github.com/ocishim/ocishim/internal/entry"
	"github.com/ocishim/ocishim/internal/process"
)

// A Record is what we keep of a container from before anything exists until
// delete. It is replaced by rename: a reader sees all of it or the last one.
type Record struct {
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"` // the engine's
	Rootfs      string            `json:"rootfs"` // on this machine
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`

	Boot string `json:"boot"` // boot id of the machine the processes belong to
	// Numbering is the pid namespace that the pids are of, see process.Numbering.
	Numbering uint64     `json:"numbering,omitempty"`
	Creator   process.ID `json:"creator"`         // create
	Anchor    process.ID `json:"anchor,omitzero"` // zero until there is one
	// Phase is how far it has come, as its anchor or create noted it: Creating while the
	// allocation is asked for and the bundle staged, Created when the anchor waits for
	// start, Running when srun was started, Stopped. Status says what that means now.
	Phase  entry.Status `json:"phase"`
	Paused bool         `json:"paused,omitempty"` // its job is suspended
	// Started is set when the task on the node was seen to run.
	Started    bool `json:"started,omitempty"`
	ExitStatus int  `json:"exitStatus,omitempty"` // of the anchor, with Stopped
	// Failure says what ended the job, where it was not the container itself.
	Failure string `json:"failure,omitempty"`

	// Token is in the comment of the job: by it a job is found whose number is not
	// known. Foreign says that the job is one in which create was called.
	Token    string `json:"token"`
	Foreign  bool   `json:"foreign,omitempty"`
	Job      string `json:"job,omitempty"`
	Step     string `json:"step,omitempty"` // JOB.STEP
	Nodes    string `json:"nodes,omitempty"`
	Released bool   `json:"released,omitempty"` // the job was given back

	Host     Host     `json:"host"`
	Allocate []string `json:"allocate,omitempty"` // options of salloc
	Launch   []string `json:"launch"`             // options of srun
	Args     []string `json:"args"`               // the container's command
	// Enter is the command that joins the container on its node, of a process that
	// exec adds in that way.
	Enter    []string `json:"enter,omitempty"`
	Terminal bool     `json:"terminal,omitempty"`
	// OwnTerminal says that the terminal is that of who called run or exec.
	OwnTerminal bool     `json:"ownTerminal,omitempty"`
	Network     bool     `json:"network,omitempty"` // the engine expects a network namespace
	Log         Log      `json:"log,omitzero"`      // of create
	Remote      string   `json:"remote,omitempty"`  // the bundle as the nodes see it
	LocalDir    string   `json:"localDir,omitempty"`
	NodeDir     string   `json:"nodeDir,omitempty"` // a directory of ours on each node
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

// runs reports whether a process of the record runs; of one that cannot be seen from here,
// since it is of another pid namespace, that it does.
func (r *Record) runs(p process.ID) bool {
	if r.Boot != process.BootID() {
		return false
	}
	here, sure := process.Locate(r.Numbering, p)
	return p.Pid != 0 && (!sure || here[0].Alive())
}

// abandoned reports whether nobody will bring the container any further: create was killed
// in the middle of it, or the machine rebooted.
func (r *Record) abandoned() bool {
	return !r.alive() && (r.Boot != process.BootID() || r.Phase == entry.Creating && !r.runs(r.Creator))
}

// Status is the phase as it is now: what has no anchor any more has ended.
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
