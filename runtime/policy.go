package runtime

// Policies are what differs between the callers of a launch. Each is a value of its own, so
// that no code needs to know the caller: ForEngine and ForSlurmTask choose the values.
type Policies struct {
	Lifetime    Lifetime
	Signals     Signals
	Cgroup      Cgroup
	Watch       Watch
	Image       Image
	Terminal    Terminal
	Descriptors Descriptors
}

// ForEngine returns the policies for Docker, containerd, Podman and people: what runc does.
// With keep the container stays after its end, until delete.
func ForEngine(keep bool) Policies {
	if keep {
		return Policies{Lifetime: UntilDelete}
	}
	return Policies{}
}

// ForSlurmTask returns the policies for a task of a Slurm step. With keep the tombstone
// stays until delete, even after the step.
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

// ForCommand returns what a user wants who starts a command in a container, by hand or with
// srun: that it behaves as without a container. Nobody asks for its state or deletes it.
func ForCommand() Policies {
	p := ForSlurmTask(false)
	p.Lifetime, p.Watch = UntilEnd, WatchNobody
	return p
}

// Lifetime says when a container's entry is removed. It is part of the record.
type Lifetime string

// The lifetimes.
const (
	// UntilEnd removes the entry when the container has ended. Its supervisor does so, or
	// the next sweep if it was launched in place. A container from Create has neither, and
	// stays until delete.
	UntilEnd Lifetime = ""
	// UntilDelete keeps everything but the processes after the end, including the cgroup.
	UntilDelete Lifetime = "until-delete"
	// TombstoneOfStep keeps only the record after the end, and after a launch that failed,
	// until delete or the end of the step's slurmstepd: Slurm's cleanup asks for the state
	// before it deletes the container. A new container with the same id replaces it.
	TombstoneOfStep Lifetime = "tombstone-of-step"
	// Tombstone is like TombstoneOfStep, but outlives the slurmstepd.
	Tombstone Lifetime = "tombstone"
)

// leavesTombstone reports whether only the record stays after the end.
func (l Lifetime) leavesTombstone() bool { return l == TombstoneOfStep || l == Tombstone }

// Signals says what happens if a container's first process gets a signal that it does not
// handle. It is part of the record.
type Signals string

// The effects of signals.
const (
	// SignalsAsSent leaves the signal to the kernel, which drops most signals for the first
	// process of a pid namespace.
	SignalsAsSent Signals = ""
	// SignalsWithEffect does what the signal would do without a pid namespace.
	SignalsWithEffect Signals = "with-effect"
)

// Cgroup says in which cgroup a container is. It is part of the record.
type Cgroup string

// The cgroups.
const (
	// OwnCgroup makes a cgroup for the container, if the caller may make one.
	OwnCgroup Cgroup = ""
	// CallersCgroup leaves a user's container in the caller's cgroup, which no verb reads or
	// changes.
	CallersCgroup Cgroup = "callers"
)

// Watch says which process's end also ends the container.
type Watch int

// The processes that can be watched, besides our own.
const (
	WatchNobody Watch = iota
	// WatchSlurmstepd watches the slurmstepd that runs the step, and records it.
	WatchSlurmstepd
)

// Image says whether a launch may write to the container's image.
type Image int

// The ways of treating an image.
const (
	// ImageWritable makes missing mount points in the image, if the caller may write there.
	ImageWritable Image = iota
	// ImageReadOnly makes missing mount points outside of the image, and covers parts of the
	// image with them.
	ImageReadOnly
)

// Terminal says when a container gets a terminal.
type Terminal int

// The conditions for a terminal.
const (
	// TerminalAsAsked gives the container a terminal if process.terminal is set.
	TerminalAsAsked Terminal = iota
	// TerminalOfCaller does so also if stdin and stdout are a terminal: Slurm 22.05 gives
	// the task one without setting process.terminal.
	TerminalOfCaller
)

// Descriptors says which of the caller's descriptors the container gets.
type Descriptors int

// The descriptors that are passed on, besides the standard streams.
const (
	// DescriptorsCounted passes the descriptors that ListenFDs and PreserveFDs count.
	DescriptorsCounted Descriptors = iota
	// DescriptorsAndPMI also passes the one that the environment names for MPI. A launch in
	// place always does.
	DescriptorsAndPMI
)
