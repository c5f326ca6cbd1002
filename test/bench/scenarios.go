package main

// A scenario is one thing to measure, a table of the report.
type scenario struct {
	name  string // for -scenario
	title string
	user  bool // as an ordinary user
	// copies run at the same time; samples is the number of samples of each contestant.
	copies, samples int
	// steps returns the commands of one copy. Each is a program, or "wait" to wait for what the
	// programs left behind. It returns nil if the contestant cannot run the scenario.
	steps func(contestant, call) [][]string
}

// scenarios lists them in the order of the report.
var scenarios = []scenario{
	{"run-user", "`run`, as a user", true, 1, 41, runOnce},
	{"engine-user", "`create`, `start`, `delete`, as a user", true, 1, 41, asEngine},
	{"run-root", "`run`, as root", false, 1, 41, runOnce},
	{"engine-root", "`create`, `start`, `delete`, as root", false, 1, 41, asEngine},
	{"run-64-user", "64 times `run` at once, as a user", true, 64, 5, runOnce},
	{"engine-64-root", "64 times `create`, `start`, `delete` at once, as root", false, 64, 3, asEngine},
	{"version", "The program's own start: `--version`, as a user", true, 1, 41, printVersion},
}

func runOnce(c contestant, to call) [][]string {
	return sequence(c, to, c.run)
}

// asEngine makes the calls of an engine, which waits for the container's end before it deletes it.
func asEngine(c contestant, to call) [][]string {
	steps := sequence(c, to, c.create, c.start, c.remove)
	if steps == nil {
		return nil
	}
	return [][]string{steps[0], steps[1], {"wait"}, steps[2]}
}

// printVersion is for the runtimes, all of which have such an option.
func printVersion(c contestant, _ call) [][]string {
	if c.create == nil {
		return nil
	}
	return [][]string{append([]string{c.program}, c.version...)}
}

func sequence(c contestant, to call, verbs ...func(call) []string) [][]string {
	var steps [][]string
	for _, verb := range verbs {
		if verb == nil {
			return nil
		}
		args := verb(to)
		if args == nil {
			return nil
		}
		steps = append(steps, append([]string{c.program}, args...))
	}
	return steps
}
