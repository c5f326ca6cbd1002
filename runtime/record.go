package runtime

import (
	"fmt"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/ocishim/ocishim/bundle"
	"github.com/ocishim/ocishim/internal/process"
)

// A Record is what we keep about a container, from before anything is created until
// delete. It is replaced by rename: a reader sees either the old or the new one.
type Record struct {
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`

	Lifetime Lifetime `json:"lifetime,omitempty"`
	Signals  Signals  `json:"signals,omitempty"`
	Cgroup   Cgroup   `json:"cgroup,omitempty"`
	// Output is the file with the container's output, if create's caller takes none.
	Output string `json:"output,omitempty"`

	// NotifySocket is the socket on which the caller is told that the container is ready.
	NotifySocket string `json:"notifySocket,omitempty"`

	// Deleted marks a Slurm task that was deleted while its step goes on. It is found only
	// if all tasks of the step are asked for.
	Deleted bool `json:"deleted,omitempty"`

	Boot string `json:"boot"` // boot id of the host, to which the processes belong
	// Numbering identifies the pid namespace of the pids, see process.Numbering. It is 0 in
	// records of earlier versions, whose pids are taken to be in our namespace.
	Numbering uint64     `json:"numbering,omitempty"`
	Launcher  process.ID `json:"launcher"`        // our process that creates or supervises
	Daemon    process.ID `json:"daemon,omitzero"` // the slurmstepd of a Slurm step
	Init      process.ID `json:"init"`            // zero until there is one
	// Supervised says that Launcher lives as long as Init.
	Supervised bool `json:"supervised,omitempty"`

	// InPlace says that Launcher became Init: nobody cleans up at its end.
	InPlace bool `json:"inPlace,omitempty"`
	// SharedBy is the Slurm step whose tasks share the container's user namespace.
	SharedBy string `json:"sharedBy,omitempty"`

	// Layer is the directory on disk of what the container changes in its image.
	Layer string `json:"layer,omitempty"`

	// Cgroups are the directories that libcontainer makes for the container, by controller.
	// They are recorded before it makes them: it writes no state that early.
	Cgroups map[string]string `json:"cgroups,omitempty"`

	// Poststart are the hooks that start must run.
	Poststart []specs.Hook `json:"poststart,omitempty"`

	Ended      time.Time `json:"ended,omitzero"`
	ExitStatus int       `json:"exitStatus,omitempty"` // as run returns it, with Ended

	// elsewhere says that the processes are not visible from here: their pid namespace is
	// not below ours. Whether they are alive is unknown.
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

// A recordOnDisk is a Record with the fields that earlier versions have in place of
// policies. They are still written, because an earlier version may read our records: after
// a downgrade, or as a supervisor that outlived an upgrade.
type recordOnDisk struct {
	Record
	Buried bool `json:"step,omitempty"` // a Slurm task's
	Kept   bool `json:"kept,omitempty"` // from `run --keep`
}

// onDisk returns the record as it is written.
func (r *Record) onDisk() *recordOnDisk {
	return &recordOnDisk{
		Record: *r, Buried: r.Lifetime.leavesTombstone(), Kept: r.Lifetime == UntilDelete || r.Lifetime == Tombstone,
	}
}

// MarshalJSON and UnmarshalJSON prepare for no field that the record does not have.
func (f *recordOnDisk) MarshalJSON() ([]byte, error) { return bundle.MarshalFields(f) }

// UnmarshalJSON reads what MarshalJSON, or an earlier version, wrote.
func (f *recordOnDisk) UnmarshalJSON(data []byte) error { return bundle.UnmarshalFields(data, f) }

// record returns the record that was written, with policies even if an earlier version wrote
// it.
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

// sameBoot reports whether the record's processes can still exist.
func (r *Record) sameBoot() bool { return r.Boot == process.BootID() }

// locate translates the record's pids to our pid namespace.
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

// here returns ErrElsewhere if the processes are not visible from here.
func (r *Record) here() error {
	if r.elsewhere && r.Ended.IsZero() {
		return ErrElsewhere
	}
	return nil
}

// alive reports whether the container's first process runs. One that is not visible is
// assumed to run.
func (r *Record) alive() bool {
	return r.sameBoot() && r.Ended.IsZero() && r.Init.Pid != 0 && (r.elsewhere || r.Init.Alive())
}

// launching reports whether our process that creates the container is still at work.
func (r *Record) launching() bool {
	return r.sameBoot() && r.Ended.IsZero() && r.Init.Pid == 0 && (r.elsewhere || r.Launcher.Alive())
}

// supervised reports whether the container has a supervisor that is not done with it. Even
// if the container has ended, the supervisor may still run a poststop hook, for example.
func (r *Record) supervised() bool {
	return r.Supervised && r.Ended.IsZero() && r.sameBoot() && (r.elsewhere || r.Launcher.Alive())
}

// abandoned reports whether nobody will ask for the entry or remove it any more: its
// launcher was killed before it could clean up, or the Slurm step that would have deleted
// the tombstone is over.
func (r *Record) abandoned() bool {
	switch {
	case r.elsewhere, r.launching(), r.supervised():
		return false
	case r.alive():
		// Its supervisor was killed, but not the container: a program that gains
		// capabilities by execve loses its parent-death signal (prctl(2)).
		return r.Supervised
	}
	switch r.Lifetime {
	case UntilEnd:
		return r.Init.Pid == 0 || r.Supervised || r.InPlace
	case TombstoneOfStep:
		return !r.sameBoot() || !r.Daemon.Alive()
	}
	return false // UntilDelete, Tombstone, and any lifetime of a later version
}
