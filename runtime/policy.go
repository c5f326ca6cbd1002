package runtime

// Policies are what callers of a launch want differently. Each is a value of its own, so
// that no code asks who calls: ForEngine and ForSlurmTask say who wants what.
type Policies struct {
	Lifetime    Lifetime
	Signals     Signals
	Cgroup      Cgroup
	Watch       Watch
	Image       Image
	Terminal    Terminal
	Descriptors Descriptors
}

// ForEngine returns what Docker, containerd, Podman and people want: what runc does. With
// keep the container stays after its end, until delete.
func ForEngine(keep bool) Policies {
	if keep {
		return Policies{Lifetime: UntilDelete}
	}
	return Policies{}
}

// ForSlurmTask returns what Slurm wants for a task of a step. With keep the tombstone
// stays when the step is over, until delete.
func ForSlurmTask(keep bool) Policies {
	p := Policies{
		Lifetime:    TombstoneOfStep,
		Signals:     SignalsWithEffect,
		Cgroup:      CallersCgroup,
		Watch:       WatchSlurmstepd,
		Image:       ImageReadOnly,
		Terminal:    TerminalOfCaller,
		Descriptors: DescriptorsAndPMI,
	}
	if keep {
		p.Lifetime = Tombstone
	}
	return p
}

// Lifetime says when a container's entry goes. It is part of the record.
type Lifetime string

// The lifetimes.
const (
	// UntilEnd removes the entry when the container has ended: its supervisor does, or the
	// next sweep where it was launched in place. What Create made has neither, and stays
	// until delete.
	UntilEnd Lifetime = ""
	// UntilDelete keeps all but the processes after the end, the cgroup included.
	UntilDelete Lifetime = "until-delete"
	// TombstoneOfStep keeps the record alone after the end, and after a launch that failed,
	// until delete or until the slurmstepd of the step has ended: Slurm's cleanup asks for
	// the state before it deletes it. A new container of the same id takes its place.
	TombstoneOfStep Lifetime = "tombstone-of-step"
	// Tombstone is TombstoneOfStep that outlives the slurmstepd.
	Tombstone Lifetime = "tombstone"
)

// leavesTombstone reports whether the record alone stays after the end.
func (l Lifetime) leavesTombstone() bool { return l == TombstoneOfStep || l == Tombstone }

// Signals says what a signal does to a container's first process that does not handle it.
// It is part of the record.
type Signals string

// The effects of signals.
const (
	// SignalsAsSent leaves it to the kernel, which drops most signals for the first process
	// of a pid namespace.
	SignalsAsSent Signals = ""
	// SignalsWithEffect does what the signal would have done without a pid namespace.
	SignalsWithEffect Signals = "with-effect"
)

// Cgroup says in which cgroup a container is. It is part of the record.
type Cgroup string

// The cgroups.
const (
	// OwnCgroup makes one for the container where the caller may make one.
	OwnCgroup Cgroup = ""
	// CallersCgroup leaves a user's container in the caller's. No verb reads or changes it.
	CallersCgroup Cgroup = "callers"
)

// Watch says whose end also ends the container.
type Watch int

// Who is watched, beside our own process.
const (
	WatchNobody Watch = iota
	// WatchSlurmstepd watches the slurmstepd that runs the step, and records it.
	WatchSlurmstepd
)

// Image says whether a launch may write to the container's image.
type Image int

// What may be written there.
const (
	// ImageWritable takes missing mount points, where the caller may make them.
	ImageWritable Image = iota
	// ImageReadOnly gets its missing mount points by covers from outside of the image.
	ImageReadOnly
)

// Terminal says which container gets a terminal.
type Terminal int

// Who gets one.
const (
	// TerminalAsAsked gives one to whose process.terminal is set.
	TerminalAsAsked Terminal = iota
	// TerminalOfCaller gives one also where stdin and stdout are a terminal: Slurm 22.05
	// gives the task one and does not say so.
	TerminalOfCaller
)

// Descriptors says which of the caller's descriptors the container gets.
type Descriptors int

// Which ones, beside the standard streams.
const (
	// DescriptorsCounted are those that ListenFDs and PreserveFDs count.
	DescriptorsCounted Descriptors = iota
	// DescriptorsAndPMI adds the one that the environment names for MPI, which is passed on
	// in place in any case.
	DescriptorsAndPMI
)
