package runtime

import (
	"fmt"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/internal/process"
)

// A Record is what we keep of a container, from before anything is created
// until delete. It is written by rename: a reader sees all of it or the last
// one.
type Record struct {
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`

	Lifetime Lifetime `json:"lifetime,omitempty"`
	Signals  Signals  `json:"signals,omitempty"`
	Cgroup   Cgroup   `json:"cgroup,omitempty"`
	// Output is the file that takes the output of a container for which the
	// caller of create has no place.
	Output string `json:"output,omitempty"`

	// NotifySocket is where whoever made the container hears that it is ready.
	NotifySocket string `json:"notifySocket,omitempty"`

	// Deleted marks a Slurm task that was deleted while its step goes on: it is
	// there only for a question about all tasks of the step.
	Deleted bool `json:"deleted,omitempty"`

	Boot string `json:"boot"` // boot id of the machine the processes belong to
	// Numbering is the pid namespace that the pids are of, see process.Numbering; 0 in
	// records of earlier versions, which are taken for our own.
	Numbering uint64     `json:"numbering,omitempty"`
	Launcher  process.ID `json:"launcher"`        // our process that creates or supervises
	Daemon    process.ID `json:"daemon,omitzero"` // the slurmstepd of a Slurm step
	Init      process.ID `json:"init"`            // zero until there is one
	// Supervised says that Launcher lives as long as Init.
	Supervised bool `json:"supervised,omitempty"`

	// InPlace says that Init was Launcher: nobody cleans up at its end.
	InPlace bool `json:"inPlace,omitempty"`
	// SharedBy names those with whom it shares a user namespace.
	SharedBy string `json:"sharedBy,omitempty"`

	// Cgroups are the directories that libcontainer makes for the container,
	// by controller, recorded before it does: it keeps no state that early.
	Cgroups map[string]string `json:"cgroups,omitempty"`

	// Poststart are the hooks that start has to run.
	Poststart []specs.Hook `json:"poststart,omitempty"`

	Ended      time.Time `json:"ended,omitzero"`
	ExitStatus int       `json:"exitStatus,omitempty"` // as run returns it, with Ended

	// elsewhere says that the processes cannot be seen from here: they are of a pid
	// namespace that is not below ours. Nobody knows whether they live.
	elsewhere bool
}

// read reads the record and notes how many bytes it has.
func (c *Container) read(limit int64) error {
	f := new(recordOnDisk)
	size, err := c.entry.Read(f, limit)
	if err != nil {
		return err
	}
	c.Record, c.size = *f.record(), size
	return nil
}

// A recordOnDisk is a Record with what earlier versions have in place of policies. They
// are still written: an earlier version may be asked about a container of ours, after a
// downgrade or by a supervisor that outlived an upgrade.
type recordOnDisk struct {
	Record
	Buried bool `json:"step,omitempty"` // of a Slurm task
	Kept   bool `json:"kept,omitempty"` // of `run --keep`
}

// onDisk returns what is written of the record.
func (r *Record) onDisk() *recordOnDisk {
	return &recordOnDisk{
		Record: *r, Buried: r.Lifetime.leavesTombstone(), Kept: r.Lifetime == UntilDelete || r.Lifetime == Tombstone,
	}
}

// record returns what was written, with the policies of an earlier version's.
func (f *recordOnDisk) record() *Record {
	r := f.Record
	if r.Lifetime != UntilEnd {
		return &r
	}
	var p Policies
	switch {
	case f.Buried:
		p = ForSlurmTask(f.Kept)
	case f.Kept:
		p = ForEngine(f.Kept)
	default:
		return &r
	}
	r.Lifetime, r.Signals, r.Cgroup = p.Lifetime, p.Signals, p.Cgroup
	return &r
}

// write replaces the record; see entry.Write.
func (c *Container) write() error {
	if err := c.entry.Write(c.onDisk()); err != nil {
		return fmt.Errorf("write record of %s: %w", c.ID, err)
	}
	return nil
}

// sameBoot tells whether the record's processes can still exist.
func (r *Record) sameBoot() bool { return r.Boot == process.BootID() }

// locate names the record's processes as they are called here.
func (r *Record) locate() {
	if !r.sameBoot() {
		return
	}
	here, sure := process.Locate(r.Numbering, r.Launcher, r.Daemon, r.Init)
	if !sure {
		r.elsewhere = true
		return
	}
	r.Launcher, r.Daemon, r.Init, r.Numbering = here[0], here[1], here[2], process.Numbering()
}

// here is ErrElsewhere where nothing can be done with the processes, nor said of them.
func (r *Record) here() error {
	if r.elsewhere && r.Ended.IsZero() {
		return ErrElsewhere
	}
	return nil
}

// alive reports whether the container's first process runs; of one that cannot be seen
// that it does.
func (r *Record) alive() bool {
	return r.sameBoot() && r.Ended.IsZero() && r.Init.Pid != 0 && (r.elsewhere || r.Init.Alive())
}

// launching reports whether our process that creates the container still works.
func (r *Record) launching() bool {
	return r.sameBoot() && r.Ended.IsZero() && r.Init.Pid == 0 && (r.elsewhere || r.Launcher.Alive())
}

// supervised reports whether the container has a supervisor that is not done with it: it
// may be at its last steps, a poststop hook for example, though the container has ended.
func (r *Record) supervised() bool {
	return r.Supervised && r.Ended.IsZero() && r.sameBoot() && (r.elsewhere || r.Launcher.Alive())
}

// abandoned reports whether nobody will ask for or remove the entry any more:
// its launcher was killed before it could clean up, or the Slurm step that
// would have deleted its tombstone is gone.
func (r *Record) abandoned() bool {
	switch {
	case r.elsewhere, r.launching(), r.supervised():
		return false
	case r.alive():
		// Its supervisor was killed, and it lives on: a program that gains
		// capabilities by execve loses the signal that would end it (prctl(2)).
		return r.Supervised
	}
	switch r.Lifetime {
	case UntilEnd:
		return r.Init.Pid == 0 || r.Supervised || r.InPlace
	case TombstoneOfStep:
		return !r.sameBoot() || !r.Daemon.Alive()
	}
	return false // UntilDelete, Tombstone, and what a later version may add
}
