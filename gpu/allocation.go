package gpu

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ocishim/ocishim/internal/host"
	"github.com/ocishim/ocishim/internal/text"
)

// A card is a GPU, or a partition of one that is used like a GPU.
type card struct {
	names []string // names other than its index by which it can be requested: UUID, bus address
	nodes []host.Device
	label string // for people

	minor int    // of NVIDIA's device node
	bus   string // PCI address
	model string
	parts []part // of an NVIDIA GPU in MIG mode
}

// denied returns the reason why the task may not use the card, or nil.
func (c card) denied() error {
	for _, n := range c.nodes {
		if n.Denied != nil {
			return n.Denied
		}
	}
	return nil
}

// slurmGPUs returns which variable of Slurm says that the task has GPUs, and its list
// of indices, which count all GPUs of the host. ok is false for a task without GPUs.
//
// A step without GPUs may still inherit SLURM_JOB_GPUS from the batch script that
// started it, so that variable counts only for batch scripts and interactive steps.
func (env environment) slurmGPUs() (variable, list string, ok bool) {
	if list := env["SLURM_STEP_GPUS"]; list != "" {
		return "SLURM_STEP_GPUS", list, true
	}
	const specialSteps = 0xfffffff0 // slurm.h: extern, batch, interactive and pending steps
	step, err := strconv.ParseUint(env["SLURM_STEP_ID"], 10, 32)
	if list := env["SLURM_JOB_GPUS"]; list != "" && (err != nil || step >= specialSteps) {
		return "SLURM_JOB_GPUS", list, true
	}
	for _, name := range []string{"SLURM_SHARDS_ON_NODE", "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "SLURM_GPUS_ON_NODE"} {
		if value := env[name]; value != "" && value != "0" {
			return name, "", true
		}
	}
	return "", "", false
}

// early reports whether Slurm wrote the configuration before it knew the task, as 22.05
// does: then no variable says anything about the task's GPUs.
func (p *plan) early() bool {
	_, _, named := p.env.slurmGPUs()
	return p.Slurm && !named && p.env[taskVariable] == ""
}

// taskVariable is set in every task of Slurm's.
const taskVariable = "SLURM_PROCID"

// A choice is which cards the container gets, and how its variable names them.
type choice struct {
	cards []card
	rule  string

	// visible is the new value of the vendor's variable, when rewrite is set.
	visible string
	rewrite bool

	// counted are the cards that indices in the variable count.
	counted []card
}

// ofTask chooses the cards of a Slurm task: by Slurm's variables, or by the device
// cgroup where Slurm sets none.
func (p *plan) ofTask(cards []card, variable string) (choice, error) {
	if p.early() {
		return p.left(cards), nil
	}
	return p.allocated(cards, variable)
}

// left chooses the cards that the device cgroup allows, if it denies others. If it
// denies none, nothing says whether all of them are the task's.
func (p *plan) left(cards []card) choice {
	var c choice
	denied := 0
	for _, card := range cards {
		switch err := card.denied(); {
		case err == nil:
			c.cards = append(c.cards, card)
		case errors.Is(err, unix.EPERM):
			denied++
		}
	}
	if denied == 0 {
		p.unknown = p.unknown || len(cards) > 0
		return choice{}
	}
	c.rule = fmt.Sprintf("%d of %d GPUs allowed by the device cgroup; Slurm sets no variable for them", len(c.cards), len(cards))
	c.counted = c.cards
	return c
}

// allocated chooses the cards of a Slurm task. cards are all GPUs of the host in
// Slurm's order; variable is the one in which Slurm names them to the vendor's
// libraries.
//
// If the device cgroup denies some cards, the others are the task's, and indices
// already count only those. If it denies none, Slurm's list decides, and its indices
// are rewritten to count the chosen cards.
func (p *plan) allocated(cards []card, variable string) (choice, error) {
	usable, constrained, err := p.usable(cards)
	if err != nil {
		return choice{}, err
	}
	list, named := p.env.list(variable)
	from, global, _ := p.env.slurmGPUs()
	c := choice{cards: usable, counted: usable}
	switch {
	case slices.ContainsFunc(list, isPart):
		// Only the driver knows which instance has which UUID. Slurm constrains
		// instances one by one, and the list stays as it is.
		c.cards = slices.DeleteFunc(slices.Clone(usable), func(c card) bool { return len(c.parts) == 0 })
		c.rule = "the MIG instances that the device cgroup allows"
	case constrained && p.Site.Isolate && named:
		c.rule = fmt.Sprintf("%s among the %d GPUs that the device cgroup allows, isolated", variable, len(usable))
		c.cards, c.visible, err = pick(usable, variable, list)
		c.rewrite = true
	case constrained:
		c.rule = fmt.Sprintf("%d of %d GPUs allowed by the device cgroup", len(usable), len(cards))
		if from != "SLURM_STEP_GPUS" && !among(usable, list) {
			// This is the list of the batch script: 22.05 does not set one for the
			// step.
			c.rewrite, c.visible = true, indices(len(usable))
		}
	case named:
		c.rule = fmt.Sprintf("%s=%s, no GPU denied by a device cgroup", variable, text.Printable(p.env[variable]))
		c.cards, c.visible, err = pick(cards, variable, list)
		c.rewrite = true
	case global != "":
		c.rule = fmt.Sprintf("%s=%s, no GPU denied by a device cgroup", from, text.Printable(global))
		c.cards, _, err = pick(cards, from, strings.Split(global, ","))
	default:
		c.rule = from + ": all GPUs of the host"
	}
	if c.rewrite {
		c.counted = c.cards
	}
	return c, err
}

// among reports whether all entries of a list name cards of cards.
func among(cards []card, list []string) bool {
	return !slices.ContainsFunc(list, func(entry string) bool {
		_, ok := find(cards, entry)
		return !ok
	})
}

// indices counts from 0 to n-1.
func indices(n int) string {
	var all []string
	for i := range n {
		all = append(all, strconv.Itoa(i))
	}
	return strings.Join(all, ",")
}

// isPart reports whether an entry of a list is a MIG instance.
func isPart(entry string) bool { return strings.HasPrefix(entry, "MIG-") }

// usable leaves out the cards that the task may not use; constrained reports whether a
// device cgroup denies any of them. If file permissions leave none, the error names the
// group that would give access.
func (p *plan) usable(cards []card) (usable []card, constrained bool, err error) {
	var reasons []error
	for _, c := range cards {
		denied := c.denied()
		switch {
		case denied == nil:
			usable = append(usable, c)
		case errors.Is(denied, unix.EPERM):
			constrained = true
		default:
			reasons = append(reasons, p.missingGroup(c.nodes))
		}
	}
	if len(reasons) > 0 && len(usable) == 0 {
		return nil, false, reasons[0]
	}
	for _, reason := range reasons {
		p.warn(reason.Error())
	}
	return usable, constrained, nil
}

// pick chooses cards by a list of indices and names. visible is the same list for a
// container that has only those cards: indices are renumbered, names stay.
func pick(cards []card, variable string, list []string) (chosen []card, visible string, err error) {
	var entries []string
	position := map[string]int{} // by label
	for _, entry := range list {
		c, ok := find(cards, entry)
		if !ok {
			// CUDA ignores everything after an entry that is not a GPU.
			if variable == "CUDA_VISIBLE_DEVICES" && (entry == "-1" || entry == "NoDevFiles") {
				break
			}
			return nil, "", fmt.Errorf("choose GPUs: %s names %s, which is not among the %d GPUs here", variable, text.Printable(entry), len(cards))
		}
		if _, ok := position[c.label]; !ok {
			position[c.label] = len(position)
			chosen = append(chosen, c)
		}
		if _, err := strconv.Atoi(entry); err == nil {
			entry = strconv.Itoa(position[c.label])
		}
		entries = append(entries, entry)
	}
	return inOrder(cards, chosen, entries, position)
}

// inOrder sorts the chosen cards by the order of the host, in which libraries will
// count them, and renumbers the indices in entries to match.
func inOrder(cards, chosen []card, entries []string, position map[string]int) ([]card, string, error) {
	var sorted []card
	place := make([]string, len(chosen))
	for _, c := range cards {
		if at, ok := position[c.label]; ok {
			place[at] = strconv.Itoa(len(sorted))
			sorted = append(sorted, c)
		}
	}
	for i, entry := range entries {
		if at, err := strconv.Atoi(entry); err == nil {
			entries[i] = place[at]
		}
	}
	return sorted, strings.Join(entries, ","), nil
}

// find returns the card with that index or name. A UUID may be abbreviated if the
// prefix is unique, as in CUDA.
func find(cards []card, entry string) (card, bool) {
	if i, err := strconv.Atoi(entry); err == nil {
		if i < 0 || i >= len(cards) {
			return card{}, false
		}
		return cards[i], true
	}
	var fitting []card
	for _, c := range cards {
		if slices.ContainsFunc(c.names, func(name string) bool { return strings.EqualFold(name, entry) }) {
			return c, true
		}
		if slices.ContainsFunc(c.names, func(name string) bool {
			return len(entry) > len("GPU-") && strings.HasPrefix(strings.ToLower(name), strings.ToLower(entry))
		}) {
			fitting = append(fitting, c)
		}
	}
	if len(fitting) != 1 {
		return card{}, false
	}
	return fitting[0], true
}

// narrow reduces a choice to the cards in a list. The list can only remove cards: an
// entry outside the allocation is an error. vendor is the variable in which the
// vendor's libraries find the list.
func (p *plan) narrow(c choice, variable string, list []string, vendor string) (choice, error) {
	chosen, _, err := pick(c.cards, variable, list)
	if err != nil {
		return choice{}, err
	}
	if len(chosen) == len(c.cards) {
		return c, nil
	}
	narrowed := choice{cards: chosen, rule: c.rule + ", narrowed by " + variable}
	narrowed.visible, narrowed.rewrite = p.narrowedList(c, chosen, vendor)
	return narrowed, nil
}

// narrowedList returns the vendor's list, reduced to the chosen cards.
func (p *plan) narrowedList(c choice, chosen []card, vendor string) (list string, set bool) {
	before, named := p.env.list(vendor)
	counted := c.counted
	switch {
	case c.rewrite:
		before = strings.Split(c.visible, ",")
	case !named:
		return "", false
	}
	var kept []string
	for _, entry := range before {
		old, ok := find(counted, entry)
		if !ok {
			continue
		}
		at := slices.IndexFunc(chosen, func(n card) bool { return n.label == old.label })
		if at < 0 {
			continue
		}
		if _, err := strconv.Atoi(entry); err == nil {
			entry = strconv.Itoa(at)
		}
		kept = append(kept, entry)
	}
	return strings.Join(kept, ","), true
}
